package flashd;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.jar.JarFile;

/**
 * The user's method, "package.Class::method", static or of an object that is made once. By their types its parameters are the event (a Map or Object; its JSON text as a String or an
 * InputStream), the context, and an OutputStream that takes the result's JSON text.
 */
final class Handler {
  private final URLClassLoader loader;
  private final Object owner;
  private final Method method;

  private Handler(URLClassLoader loader, Object owner, Method method) {
    this.loader = loader;
    this.owner = owner;
    this.method = method;
  }

  /** Throws ClassNotFoundException or NoSuchMethodException when there is no such thing, and what the user's code throws. */
  static Handler load(String root, String file, String symbol) throws Throwable {
    int colons = symbol.indexOf("::");
    String className = colons < 0 ? "Handler" : symbol.substring(0, colons), methodName = colons < 0 ? symbol : symbol.substring(colons + 2);
    URLClassLoader loader = new URLClassLoader(classPath(root, file), Handler.class.getClassLoader());
    Thread.currentThread().setContextClassLoader(loader);
    Class<?> type;
    try {
      type = Class.forName(className, true, loader);
    } catch (ClassNotFoundException absent) {
      if (file.endsWith(".jar")) new JarFile(root + "/" + file).close();  // a class path leaves out what is no jar
      throw absent;
    }
    Method method = find(type, methodName);
    method.setAccessible(true);
    try {
      return new Handler(loader, Modifier.isStatic(method.getModifiers()) ? null : type.getDeclaredConstructor().newInstance(), method);
    } catch (InvocationTargetException error) {
      throw error.getCause();
    }
  }

  /** The directory, the handler if it is a jar, and the jars in the directory and in lib. */
  private static URL[] classPath(String root, String file) throws IOException {
    List<URL> path = new ArrayList<>();
    path.add(new URL("file", null, root + "/"));
    if (file.endsWith(".jar")) path.add(new URL("file", null, root + "/" + file));
    for (String folder : new String[] {root, root + "/lib"}) {
      String[] names = new File(folder).list();
      if (names == null) continue;
      Arrays.sort(names);
      for (String name : names) if (name.endsWith(".jar") && !name.equals(file)) path.add(new URL("file", null, folder + "/" + name));
    }
    return path.toArray(new URL[0]);
  }

  /** Overloads and a compiler's bridges: the one with most parameters that can be given. */
  private static Method find(Class<?> type, String name) throws NoSuchMethodException {
    Method found = null;
    for (Method method : type.getMethods()) {
      if (!method.getName().equals(name) || method.isBridge() || !Arrays.stream(method.getParameterTypes()).allMatch(Handler::canBeGiven)) continue;
      if (found == null || method.getParameterCount() > found.getParameterCount()) found = method;
    }
    if (found == null) throw new NoSuchMethodException(type.getName() + " has no public method " + name + " that takes a Map<String, Object> (or a String or an InputStream) and a Context");
    return found;
  }

  private static boolean canBeGiven(Class<?> type) {
    return type.isAssignableFrom(Map.class) || type == String.class || type == InputStream.class || type == OutputStream.class || isContext(type);
  }

  private static boolean isContext(Class<?> type) {
    return type.isInterface() && type.getSimpleName().equals("Context");
  }

  /** Ahead of a first call. */
  void link() {
    for (Class<?> type : method.getDeclaringClass().getNestMembers()) Linking.resolve(type);
  }

  void close() throws IOException {
    loader.close();
  }

  Object call(Map<String, Object> event, Invocation context) throws Throwable {
    Class<?>[] types = method.getParameterTypes();
    Object[] arguments = new Object[types.length];
    ByteArrayOutputStream written = null;
    for (int index = 0; index < types.length; index++) {
      if (types[index] == String.class) arguments[index] = JsonWriter.write(event);
      else if (types[index] == InputStream.class) arguments[index] = new ByteArrayInputStream(JsonWriter.write(event).getBytes(UTF_8));
      else if (types[index] == OutputStream.class) arguments[index] = written = new ByteArrayOutputStream();
      else if (types[index] == Context.class) arguments[index] = context;
      else if (isContext(types[index])) arguments[index] = Proxy.newProxyInstance(types[index].getClassLoader(), new Class<?>[] {types[index]}, context);
      else arguments[index] = event;
    }
    try {
      Object result = method.invoke(owner, arguments);
      return written == null || written.size() == 0 ? result : JsonReader.parse(written.toString(UTF_8));
    } catch (InvocationTargetException error) {
      throw error.getCause();
    }
  }
}
