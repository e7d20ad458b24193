package flashd;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.crac.Core;

/** One instance's life on its channel: INIT, then requests. */
final class Instance {
  private static final byte[] NOTHING = {};

  private final Channel channel;
  private final String root;
  private final Map<String, String> config = new HashMap<>();
  private final Set<Integer> unanswered = ConcurrentHashMap.newKeySet();
  private Handler handler;
  private ExecutorService workers;
  private int fault;
  private byte[] failure;
  private int loadUs;

  Instance(Channel channel, String root) {
    this.channel = channel;
    this.root = root;
  }

  void serve() {
    for (Channel.Frame frame; (frame = channel.receive()) != null;) {
      if (frame.type() == Channel.INIT) {
        start(frame);
        continue;
      }
      Channel.Frame request = frame;
      unanswered.add(frame.id());
      if (workers == null) answer(request);
      else workers.execute(() -> answer(request));
    }
  }

  /** The end of the process that a handler asked for: every request gets an answer. */
  void abandon() {
    byte[] meta = Payload.describe(new IllegalStateException("the process was asked to exit"));
    for (int id : unanswered) fail(id, Channel.EXIT, meta, System.nanoTime());
  }

  /** Of a template's warm-up: nothing of it stays. */
  void close() throws IOException {
    if (handler != null) handler.close();
  }

  private void start(Channel.Frame init) {
    long started = System.nanoTime();
    Renewal.generators();
    if (handler != null || failure != null) {  // in a fork of a function template it is loaded, and the rest is as this INIT says
      Renewal.processId();
      restored();
      loadUs = Math.max(1, microseconds(started));
      return;
    }
    for (String entry : new String(init.meta(), UTF_8).split("\0")) {
      int equals = entry.indexOf('=');
      String key = entry.substring(0, equals), value = entry.substring(equals + 1);
      if (key.startsWith("env.")) Renewal.setEnvironment(key.substring(4), value);
      else config.put(key, value);
    }
    if (!"1".equals(config.getOrDefault("concurrency", "1"))) workers = Executors.newFixedThreadPool(Integer.parseInt(config.get("concurrency")));
    try {
      handler = Handler.load(root, config.get("handler"), config.get("symbol"));
    } catch (Throwable error) {
      boolean ours = error.getStackTrace().length == 0 || !(error instanceof ClassNotFoundException) || error.getMessage().equals(config.get("symbol").replaceAll("::.*", ""));
      fault = error instanceof NoSuchMethodException || error instanceof ClassNotFoundException && ours ? Channel.NO_HANDLER : Channel.LOAD;
      failure = Payload.describe(error instanceof ExceptionInInitializerError && error.getCause() != null ? error.getCause() : error);
    }
    loadUs = Math.max(1, microseconds(started));
    if (failure != null && init.last()) channel.send(Channel.ERROR, 0, fault, failure, NOTHING, told(), 0);  // nobody to answer yet; a request that comes nevertheless is told the same
  }

  private void restored() {
    try {
      Core.getGlobalContext().afterRestore(null);
    } catch (Throwable error) {
      fault = Channel.LOAD;
      failure = Payload.describe(error);
    }
  }

  private void answer(Channel.Frame request) {
    long started = System.nanoTime();
    if (failure != null) {
      fail(request.id(), fault, failure, started);
      return;
    }
    int stage = Channel.CALL;
    Payload.Response response;
    int handlerUs;
    try {
      Map<String, Object> event = Payload.decode(request);
      Invocation context = new Invocation(config, String.valueOf(((Map<?, ?>) event.get("requestContext")).get("requestId")), request.aux());
      started = System.nanoTime();
      if (request.type() == Channel.FREEZE) {
        handler.link();
        Core.getGlobalContext().beforeCheckpoint(null);
      }
      Object result = request.type() == Channel.REQUEST ? handler.call(event, context) : event;  // a ping goes all the way but through the handler
      handlerUs = microseconds(started);
      stage = Channel.BAD_RESPONSE;
      response = Payload.encode(result);
    } catch (Throwable error) {
      fail(request.id(), stage, Payload.describe(error), started);
      return;
    }
    System.out.flush();
    if (unanswered.remove(request.id())) channel.send(Channel.RESPONSE, request.id(), response.status(), response.meta(), response.body(), told(), handlerUs);
  }

  private void fail(int id, int fault, byte[] meta, long started) {
    System.out.flush();
    if (unanswered.remove(id)) channel.send(Channel.ERROR, id, fault, meta, NOTHING, told(), microseconds(started));
  }

  /** The time of loading is told once. */
  private synchronized int told() {
    int told = loadUs;
    loadUs = 0;
    return told;
  }

  private static int microseconds(long startedNs) {
    return (int) ((System.nanoTime() - startedNs) / 1000);
  }
}
