package flashd;

import java.lang.reflect.Array;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes JSON: what JsonReader makes, and every Map, Iterable, array, CharSequence, Enum and Number, records by their components, other objects by their getters. */
final class JsonWriter {
  private static final int DEPTH_MAX = 200;

  private final StringBuilder out = new StringBuilder();
  private int depth;

  private JsonWriter() {}

  /** Throws IllegalArgumentException for what has no JSON form. */
  static String write(Object value) {
    JsonWriter writer = new JsonWriter();
    writer.value(value);
    return writer.out.toString();
  }

  private void value(Object value) {
    if (++depth > DEPTH_MAX) throw new IllegalArgumentException("more than " + DEPTH_MAX + " levels, or a circle, have no JSON form");
    if (value == null || value instanceof Boolean) out.append(value);
    else if (value instanceof CharSequence || value instanceof Character || value instanceof Enum) quote(value.toString());
    else if (value instanceof Number) number((Number) value);
    else if (value instanceof Map) members((Map<?, ?>) value);
    else if (value instanceof Iterable) items((Iterable<?>) value);
    else if (value.getClass().isArray()) items(listOf(value));
    else members(properties(value));
    depth--;
  }

  private void number(Number value) {
    double number = value.doubleValue();
    if ((value instanceof Double || value instanceof Float) && (Double.isNaN(number) || Double.isInfinite(number))) throw new IllegalArgumentException(number + " has no JSON form");
    out.append(value);
  }

  private void members(Map<?, ?> members) {
    out.append('{');
    String before = "";
    for (Map.Entry<?, ?> member : members.entrySet()) {
      out.append(before);
      quote(String.valueOf(member.getKey()));
      out.append(':');
      value(member.getValue());
      before = ",";
    }
    out.append('}');
  }

  private void items(Iterable<?> items) {
    out.append('[');
    String before = "";
    for (Object item : items) {
      out.append(before);
      value(item);
      before = ",";
    }
    out.append(']');
  }

  private static List<Object> listOf(Object array) {
    List<Object> items = new ArrayList<>();
    for (int index = 0; index < Array.getLength(array); index++) items.add(Array.get(array, index));
    return items;
  }

  static Map<String, Object> properties(Object bean) {
    Map<String, Object> properties = new LinkedHashMap<>();
    Class<?> type = bean.getClass();
    try {
      if (type.isRecord()) for (RecordComponent component : type.getRecordComponents()) properties.put(component.getName(), call(component.getAccessor(), bean));
      else for (Method method : type.getMethods()) if (propertyName(method) != null) properties.put(propertyName(method), call(method, bean));
    } catch (ReflectiveOperationException | RuntimeException error) {
      throw new IllegalArgumentException("an object of class " + type.getName() + " has no JSON form", error);
    }
    if (properties.isEmpty() && !type.isRecord()) throw new IllegalArgumentException("an object of class " + type.getName() + " has no JSON form");
    return properties;
  }

  private static Object call(Method getter, Object bean) throws ReflectiveOperationException {
    getter.setAccessible(true);
    return getter.invoke(bean);
  }

  private static String propertyName(Method method) {
    String name = method.getName();
    int prefix = name.startsWith("get") ? 3 : name.startsWith("is") && method.getReturnType() == boolean.class ? 2 : 0;
    if (prefix == 0 || name.length() == prefix || method.getParameterCount() > 0 || Modifier.isStatic(method.getModifiers()) || method.getDeclaringClass() == Object.class) return null;
    return Character.toLowerCase(name.charAt(prefix)) + name.substring(prefix + 1);
  }

  private void quote(String text) {
    out.append('"');
    for (int index = 0; index < text.length(); index++) {
      char next = text.charAt(index);
      if (next == '"' || next == '\\') out.append('\\').append(next);
      else if (next >= ' ') out.append(next);
      else out.append("\\u00").append(next < 16 ? '0' : '1').append(Character.forDigit(next & 15, 16));
    }
    out.append('"');
  }
}
