import flashd.Context;
import java.util.LinkedHashMap;
import java.util.Map;

/** Answers any request with a greeting: the smallest function there is. */
public class Handler {
  public Object handle(Map<String, Object> event, Context context) {
    Map<?, ?> query = (Map<?, ?>) event.get("queryStringParameters");
    Object name = query == null ? null : query.get("name");
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("message", "Hello, " + (name == null ? "world" : name) + "!");
    answer.put("path", event.get("rawPath"));
    answer.put("requestId", context.getAwsRequestId());
    return answer;
  }
}
