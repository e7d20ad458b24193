import java.io.File;
import java.io.FileOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class Handler {
  private static String kept;
  private static byte[][] much;
  private static Object open;
  private static final ThreadLocal<String> LOCAL = new ThreadLocal<>();

  public Object handle(Map<String, Object> event) throws Exception {
    String[] path = ((String) event.get("rawPath")).split("/");
    if (path[1].equals("list")) return List.of("variable", "property", "thread local", "memory", "file", "descriptor", "thread", "code", "shared");
    Map<String, Object> answer = new HashMap<>();
    answer.put("pid", ProcessHandle.current().pid());
    answer.put("found", path[1].equals("hide") ? hide(path[2].replace("%20", " ")) : find(path[2].replace("%20", " ")));
    return answer;
  }

  private static String hide(String place) throws Exception {
    switch (place) {
      case "variable" -> kept = "kept";
      case "property" -> System.setProperty("kept", "kept");
      case "thread local" -> LOCAL.set("kept");
      case "memory" -> much = new byte[24][1 << 20];
      case "file" -> Files.writeString(Path.of("/tmp/kept"), "kept");
      case "shared" -> Files.writeString(Path.of("/dev/shm/kept"), "kept");
      case "descriptor" -> open = new FileOutputStream("/tmp/open");
      case "thread" -> new Thread(() -> sleep(20_000)).start();
      default -> kept = String.valueOf(busy());
    }
    return null;
  }

  private static String find(String place) {
    return switch (place) {
      case "property" -> System.getProperty("kept");
      case "thread local" -> LOCAL.get();
      case "memory" -> much == null ? null : "kept";
      case "file" -> new File("/tmp/kept").exists() ? "kept" : null;
      case "shared" -> new File("/dev/shm/kept").exists() ? "kept" : null;
      case "descriptor" -> open != null || new File("/tmp/open").exists() ? "kept" : null;
      case "thread" -> Thread.getAllStackTraces().keySet().stream().anyMatch(each -> each.getName().equals("Thread-0")) ? "kept" : null;
      default -> kept;
    };
  }

  private static void sleep(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static long busy() {
    long sum = 0;
    for (int i = 0; i < 3_000_000; i++) sum += i ^ sum;
    return sum;
  }
}
