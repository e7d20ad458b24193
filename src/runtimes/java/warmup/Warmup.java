import flashd.Context;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;

/** What a template runs before it is frozen. */
public class Warmup {
  record Answer(String text, int left) {}

  public Object handle(Map<String, Object> event, Context context) {
    String text = List.of("a", "b").stream().map(each -> each + event.get("body")).collect(Collectors.joining(","));
    return Map.of("statusCode", 200, "headers", Map.of("x-warm", UUID.randomUUID().toString()), "body", new Answer(text, context.getRemainingTimeInMillis()));
  }

  public Object fail(Map<String, Object> event) {
    throw new IllegalStateException("warm");
  }
}
