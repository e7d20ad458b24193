package flashd;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Reads JSON (RFC 8259), because the JDK does not. Objects become LinkedHashMap, arrays ArrayList, numbers Integer, Long, BigInteger or Double. */
final class JsonReader {
  private static final int DEPTH_MAX = 200;

  private final String text;
  private int at;

  private JsonReader(String text) {
    this.text = text;
  }

  static Object parse(String text) {
    JsonReader json = new JsonReader(text);
    Object value = json.value(0);
    json.space();
    if (json.at < text.length()) throw json.error();
    return value;
  }

  private Object value(int depth) {
    if (depth > DEPTH_MAX) throw error();
    space();
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return string();
      case 't': return word("true", Boolean.TRUE);
      case 'f': return word("false", Boolean.FALSE);
      case 'n': return word("null", null);
      default: return number();
    }
  }

  private Map<String, Object> object(int depth) {
    Map<String, Object> members = new LinkedHashMap<>();
    at++;
    space();
    if (taken('}')) return members;
    do {
      space();
      String name = string();
      space();
      if (!taken(':')) throw error();
      members.put(name, value(depth + 1));
      space();
    } while (taken(','));
    if (!taken('}')) throw error();
    return members;
  }

  private List<Object> array(int depth) {
    List<Object> items = new ArrayList<>();
    at++;
    space();
    if (taken(']')) return items;
    do {
      items.add(value(depth + 1));
      space();
    } while (taken(','));
    if (!taken(']')) throw error();
    return items;
  }

  private String string() {
    if (!taken('"')) throw error();
    int start = at;
    while (peek() != '"' && peek() != '\\') at++;
    String plain = text.substring(start, at);
    if (taken('"')) return plain;
    StringBuilder built = new StringBuilder(plain);
    for (char next; (next = take()) != '"';) built.append(next == '\\' ? escape() : next);
    return built.toString();
  }

  private char escape() {
    char kind = take();
    switch (kind) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case 'b': return '\b';
      case 'f': return '\f';
      case 'u':
        at += 4;
        if (at > text.length()) throw error();
        return (char) Integer.parseInt(text, at - 4, at, 16);
      default: return kind;
    }
  }

  private Object number() {
    int start = at;
    boolean whole = true;
    for (; at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0; at++) whole &= text.charAt(at) == '-' || text.charAt(at) >= '0' && text.charAt(at) <= '9';
    String digits = text.substring(start, at);
    if (digits.isEmpty()) throw error();
    if (!whole) return Double.valueOf(digits);
    if (digits.length() > 18) return new BigInteger(digits);
    long value = Long.parseLong(digits);
    return value == (int) value ? (Object) (int) value : (Object) value;
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) throw error();
    at += word.length();
    return value;
  }

  private void space() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
  }

  private boolean taken(char wanted) {
    if (at >= text.length() || text.charAt(at) != wanted) return false;
    at++;
    return true;
  }

  private char peek() {
    if (at >= text.length()) throw error();
    return text.charAt(at);
  }

  private char take() {
    char next = peek();
    at++;
    return next;
  }

  private IllegalArgumentException error() {
    return new IllegalArgumentException("no JSON text: at character " + at);
  }
}
