import flashd.Context;
import java.util.Map;

/** The start of functions/hello-java as a program of its own: what the peers of a cold start run. */
public class Main {
  public static void main(String[] arguments) {
    System.out.println(new Handler().handle(Map.of("rawPath", "/"), new Nobody()));
  }

  private static class Nobody implements Context {
    public String getAwsRequestId() { return "1"; }
    public String getFunctionName() { return "hello"; }
    public String getFunctionVersion() { return "1"; }
    public int getMemoryLimitInMB() { return 128; }
    public int getRemainingTimeInMillis() { return 1000; }
  }
}
