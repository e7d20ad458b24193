package flashd;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/**
 * How events, responses and errors look to a Java function: Lambda's function URLs, payload 2.0. A map (or an object with such a getter) that has statusCode is the whole
 * response: headers (a list repeats one), cookies, body: text, or base64 with isBase64Encoded, or JSON. Anything else is 200 with its JSON text.
 */
final class Payload {
  private static final String JSON_TYPE = "content-type\0application/json\0";
  private static final int TEXT_MAX = Channel.META_MAX / 8;
  private static final String TOKEN_MARKS = "!#$%&'*+-.^_`|~";

  record Response(int status, byte[] meta, byte[] body) {}

  private Payload() {}

  @SuppressWarnings("unchecked")
  static Map<String, Object> decode(Channel.Frame frame) {
    boolean binary = (frame.flags() & Channel.BODY_BINARY) != 0;
    Map<String, Object> event = (Map<String, Object>) JsonReader.parse(new String(frame.meta(), UTF_8));
    event.put("isBase64Encoded", binary);
    if (frame.body().length > 0) event.put("body", binary ? Base64.getEncoder().encodeToString(frame.body()) : new String(frame.body(), UTF_8));
    return event;
  }

  /** Throws when the result breaks the rules. */
  static Response encode(Object result) {
    Map<?, ?> whole = result instanceof Map ? (Map<?, ?>) result : hasStatus(result) ? JsonWriter.properties(result) : null;
    if (whole == null || !whole.containsKey("statusCode")) return checked(200, JSON_TYPE, JsonWriter.write(result).getBytes(UTF_8));
    int status = new java.math.BigDecimal(String.valueOf(whole.get("statusCode"))).intValueExact();
    if (status < 200 || status > 599) throw new IllegalArgumentException("statusCode " + status + " is not between 200 and 599");
    Object body = whole.get("body");
    String text = body == null ? "" : body instanceof CharSequence ? body.toString() : JsonWriter.write(body);
    return checked(status, headers(whole), Boolean.TRUE.equals(whole.get("isBase64Encoded")) ? Base64.getDecoder().decode(text) : text.getBytes(UTF_8));
  }

  private static boolean hasStatus(Object result) {
    if (result == null || result.getClass().getName().startsWith("java.")) return false;
    return Arrays.stream(result.getClass().getMethods()).anyMatch(method -> method.getParameterCount() == 0 && (method.getName().equals("getStatusCode") || method.getName().equals("statusCode")));
  }

  private static Response checked(int status, String headers, byte[] body) {
    byte[] meta = headers.getBytes(UTF_8);
    if (meta.length > Channel.META_MAX || body.length > Channel.BODY_MAX) throw new IllegalArgumentException("the response is too large");
    return new Response(status, meta, body);
  }

  private static String headers(Map<?, ?> response) {
    StringBuilder meta = new StringBuilder();
    boolean typed = false;
    Object headers = response.get("headers"), cookies = response.get("cookies");
    if (headers instanceof Map) {
      for (Map.Entry<?, ?> header : ((Map<?, ?>) headers).entrySet()) {
        typed |= String.valueOf(header.getKey()).equalsIgnoreCase("content-type");
        for (Object value : listOf(header.getValue())) add(meta, header.getKey(), value instanceof CharSequence ? value : JsonWriter.write(value));
      }
    }
    if (cookies != null) for (Object cookie : listOf(cookies)) add(meta, "set-cookie", cookie);
    return typed ? meta.toString() : meta.append(JSON_TYPE).toString();
  }

  private static void add(StringBuilder meta, Object name, Object value) {
    String token = String.valueOf(name), text = String.valueOf(value);
    boolean good = !token.isEmpty();
    for (int index = 0; index < token.length(); index++) good &= token.charAt(index) < 128 && (Character.isLetterOrDigit(token.charAt(index)) || TOKEN_MARKS.indexOf(token.charAt(index)) >= 0);
    for (int index = 0; index < text.length(); index++) good &= text.charAt(index) >= ' ' && text.charAt(index) != 127 || text.charAt(index) == '\t';
    if (!good) throw new IllegalArgumentException("a header or a cookie has characters that HTTP does not allow");
    meta.append(token).append('\0').append(text).append('\0');
  }

  private static Iterable<?> listOf(Object value) {
    if (value instanceof Iterable) return (Iterable<?>) value;
    if (value != null && value.getClass().isArray() && !value.getClass().getComponentType().isPrimitive()) return List.of((Object[]) value);
    return Arrays.asList(value);
  }

  /** ERROR meta: type, message, and the stack down to the shim. */
  static byte[] describe(Throwable error) {
    StringBuilder stack = new StringBuilder();
    String message;
    try {
      message = String.valueOf(error.getMessage());
      for (Throwable each = error; each != null && stack.length() < TEXT_MAX; each = each.getCause()) {
        if (each != error) stack.append("Caused by: ").append(each).append('\n');
        for (StackTraceElement frame : each.getStackTrace()) {
          if (frame.getClassName().startsWith("flashd.") || frame.getClassName().startsWith("jdk.internal.reflect.")) break;
          stack.append("\tat ").append(frame).append('\n');
        }
      }
    } catch (Throwable broken) {
      message = "its text could not be made";
    }
    StringBuilder meta = new StringBuilder();
    for (String part : List.of(error.getClass().getName(), message, stack.toString())) meta.append(part.substring(0, Math.min(part.length(), TEXT_MAX)).replace('\0', ' ')).append('\0');
    return meta.toString().getBytes(UTF_8);
  }
}
