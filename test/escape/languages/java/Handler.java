import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

public class Handler {
  public Object handle(Map<String, Object> event) {
    return ((String) event.getOrDefault("body", "")).lines().map(line -> line.split("\t")).map(words -> attempt(words[0], words[1])).toList();
  }

  private static String attempt(String way, String target) {
    try {
      return switch (way) {
        case "read" -> done(Files.newInputStream(Path.of(target)));
        case "list" -> {
          try (var names = Files.list(Path.of(target))) {
            yield names.map(path -> path.getFileName().toString()).sorted().collect(Collectors.joining(" "));
          }
        }
        case "write" -> done(Files.newOutputStream(Path.of(target), StandardOpenOption.CREATE, StandardOpenOption.APPEND));
        case "unix" -> {
          try (var channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            channel.connect(UnixDomainSocketAddress.of(target));
            yield "done";
          }
        }
        case "tcp" -> done(SocketChannel.open(new InetSocketAddress("127.0.0.1", Integer.parseInt(target))));
        case "kill" -> ProcessHandle.of(Long.parseLong(target)).map(process -> process.destroyForcibly() ? "done" : "EPERM").orElse("ESRCH");
        case "run" -> {
          Process process = new ProcessBuilder(List.of("sh", "-c", target)).start();
          yield new String(process.getInputStream().readAllBytes()).strip();
        }
        default -> "?";
      };
    } catch (NoSuchFileException error) {
      return "ENOENT";
    } catch (AccessDeniedException error) {
      return "EACCES";
    } catch (IOException error) {
      return error.getMessage().replaceFirst("^.*: ", "");
    }
  }

  private static String done(AutoCloseable opened) throws IOException {
    try {
      opened.close();
    } catch (Exception error) {
      throw new IOException(error);
    }
    return "done";
  }
}
