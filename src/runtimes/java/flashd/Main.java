package flashd;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.File;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Pipe;

/**
 * The Java runtime's shim: boots once as a template, warms its own request loop, writes READY and waits in poll() on descriptor 3. Every instance is a fork that wakes up in that call and reads
 * INIT and REQUEST frames (native/include/flashd/frame.h is the protocol).
 * usage: Main FUNCTION_DIRECTORY
 */
final class Main {
  private static final int DATA_FD = 3, WARM_UPS = 60;
  /** So often that the optimizing compiler is done with what every event goes through: it would begin in the forks otherwise, beside their first requests. */
  private static final int CONVERSIONS = 2000;
  private static final byte[] NOTHING = {};
  /** As the gateway makes them, with a value of each kind. */
  private static final String EVENT = "{\"version\":\"2.0\",\"routeKey\":\"$default\",\"rawPath\":\"/\",\"rawQueryString\":\"name=\",\"cookies\":[\"a=\\\"b\\\"\"],\"headers\":{\"host\":\"localhost\",\"accept\":\"*/*\"},"
      + "\"queryStringParameters\":{\"name\":\"\"},\"requestContext\":{\"accountId\":\"anonymous\",\"apiId\":\"warmup\",\"http\":{\"method\":\"GET\",\"path\":\"/\",\"sourceIp\":\"127.0.0.1\"},"
      + "\"requestId\":\"00000000-0000-0000-0000-000000000000\",\"stage\":\"$default\",\"timeEpoch\":1700000000000},\"others\":[1,1.5,true,false,null]}";

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    Renewal.prepare();
    for (int count = 0; count < WARM_UPS; count++) for (String method : new String[] {"handle", "fail", "absent"}) warm(method);
    convert();
    Thread.currentThread().setContextClassLoader(Main.class.getClassLoader());
    System.gc();
    Channel channel = new Channel(DATA_FD, DATA_FD);
    Instance instance = new Instance(channel, arguments[0]);
    Runtime.getRuntime().addShutdownHook(new Thread(instance::abandon));
    channel.send(Channel.READY, 0, 0, NOTHING, NOTHING, 0, 0);
    instance.serve();
    Runtime.getRuntime().halt(0);
  }

  /** Runs a dummy function through the very code that instances run, then forgets it: what is loaded, linked and compiled on the way is there in every fork. */
  private static void warm(String method) throws Exception {
    String home = new File(Main.class.getProtectionDomain().getCodeSource().getLocation().getPath()).getParent();
    String init = "function=warmup\0version=0\0handler=warmup/handler.jar\0symbol=Warmup::" + method + "\0memory_bytes=134217728\0timeout_ms=1000\0concurrency=1\0env.LANG=C.UTF-8\0";
    Pipe requests = Pipe.open(), answers = Pipe.open();
    requests.sink().write(frame(Channel.INIT, 0, init, ""));
    requests.sink().write(frame(Channel.REQUEST, 1, EVENT, ""));
    requests.sink().write(frame(Channel.REQUEST, 2, EVENT, "text"));
    requests.sink().write(frame(Channel.INIT, 0, init, ""));
    requests.sink().write(frame(Channel.PING, 3, EVENT, ""));
    for (int id = 4; id < 4 + 8; id++) requests.sink().write(frame(Channel.REQUEST, id, EVENT, ""));
    requests.sink().close();
    Instance instance = new Instance(new Channel(descriptor(requests.source()), descriptor(answers.sink())), home);
    instance.serve();
    instance.close();
    requests.source().close();
    answers.sink().close();
    answers.source().close();
  }

  private static void convert() throws Exception {
    Channel.Frame request = new Channel.Frame(Channel.REQUEST, 1, 0, 1000, EVENT.getBytes(UTF_8), NOTHING, true);
    for (int count = 0; count < CONVERSIONS; count++) Payload.encode(Payload.decode(request));
  }

  private static ByteBuffer frame(int type, int id, String meta, String body) {
    byte[] first = meta.getBytes(UTF_8), second = body.getBytes(UTF_8);
    ByteBuffer frame = ByteBuffer.allocate(32 + first.length + second.length).order(ByteOrder.LITTLE_ENDIAN);
    frame.putInt(first.length + second.length).putInt(first.length).putInt(id).putInt(type).putInt(1000).putInt(0).putInt(0).putInt(0).put(first).put(second);
    return frame.flip();
  }

  private static int descriptor(Object channel) throws ReflectiveOperationException {
    Method method = channel.getClass().getMethod("getFDVal");
    method.setAccessible(true);
    return (int) method.invoke(channel);
  }
}
