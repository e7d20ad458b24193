package flashd;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;

/** What a handler may ask about the invocation it is in; also behind the interface of another one's making. */
final class Invocation implements Context, InvocationHandler {
  private final Map<String, String> config;
  private final String requestId;
  private final long deadlineNs;

  Invocation(Map<String, String> config, String requestId, int leftMs) {
    this.config = config;
    this.requestId = requestId;
    deadlineNs = System.nanoTime() + leftMs * 1_000_000L;
  }

  @Override
  public String getAwsRequestId() {
    return requestId;
  }

  @Override
  public String getFunctionName() {
    return config.get("function");
  }

  @Override
  public String getFunctionVersion() {
    return config.get("version");
  }

  @Override
  public int getMemoryLimitInMB() {
    return (int) (Long.parseLong(config.get("memory_bytes")) >> 20);
  }

  @Override
  public int getRemainingTimeInMillis() {
    return (int) Math.max(0, (deadlineNs - System.nanoTime()) / 1_000_000);
  }

  /** A method that we do not have gives null, but for a logger. */
  @Override
  public Object invoke(Object proxy, Method method, Object[] arguments) throws Throwable {
    if (method.getName().equals("getLogger")) return Proxy.newProxyInstance(method.getReturnType().getClassLoader(), new Class<?>[] {method.getReturnType()}, Invocation::log);
    try {
      return Context.class.getMethod(method.getName()).invoke(this);
    } catch (NoSuchMethodException absent) {
      return method.getName().equals("toString") ? "Context of " + requestId : null;
    } catch (InvocationTargetException error) {
      throw error.getCause();
    }
  }

  private static Object log(Object proxy, Method method, Object[] arguments) {
    if (arguments != null) System.out.println(arguments[0] instanceof byte[] ? new String((byte[]) arguments[0]) : arguments[0]);
    return null;
  }
}
