package flashd;

/** A handler's second argument, with Lambda's names. A handler may also declare an interface of its own with these methods: Lambda's, for one. */
public interface Context {
  String getAwsRequestId();

  String getFunctionName();

  String getFunctionVersion();

  int getMemoryLimitInMB();

  /** Milliseconds until the invocation is ended. */
  int getRemainingTimeInMillis();
}
