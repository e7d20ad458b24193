/**
 * The one table of error codes: what kind of fault each is, its HTTP status, whether the caller may simply try again, and what is said about it.
 * The kind decides who is to blame: a failing user function ("function") never looks like a failing platform ("internal").
 * src/errors/README.md lists the same codes; a test compares them.
 */
export type ErrorKind = 'client' | 'function' | 'capacity' | 'timeout' | 'internal';

export type ErrorEntry = {
  readonly kind: ErrorKind;
  readonly status: number;
  /** True when the same request may succeed later without any change. */
  readonly retryable: boolean;
  /** Said when the place that throws has nothing more precise to say. */
  readonly message: string;
  readonly hint: string;
};

const entry = (kind: ErrorKind, status: number, message: string, hint: string, retryable = false): ErrorEntry => ({
  kind,
  status,
  retryable,
  message,
  hint,
});

export const ERROR_TABLE = {
  // What a client sent
  bad_request: entry('client', 400, 'the request is malformed', 'send a well-formed HTTP/1.1 request'),
  forbidden: entry('client', 403, 'this user may not manage flashd', 'run as root or as the service user, or with the group of the management socket (sg flashd)'),
  unauthorized: entry('client', 401, 'a valid token or key is missing', 'send it as Authorization: Bearer'),
  function_not_found: entry('client', 404, 'there is no function of this name', 'see `flashd list`; deploy it with `flashd deploy DIR`'),
  not_found: entry('client', 404, 'there is nothing at this address', 'functions answer at /function/NAME'),
  method_not_allowed: entry('client', 405, 'this address does not take this method', 'see the Allow header'),
  request_timeout: entry('client', 408, 'the request did not arrive in time', 'send the whole request without long pauses', true),
  payload_too_large: entry('client', 413, 'the request body is larger than the limit', 'send less, or raise maxBodyBytes in the configuration'),
  uri_too_long: entry('client', 414, 'the request address is too long', 'send long input in the body'),
  headers_too_large: entry('client', 431, 'the request headers are too large', 'send fewer or shorter headers'),
  http_not_supported: entry('client', 505, 'this is not the HTTP that is spoken here', 'send HTTP/1.1, with the path alone as the target'),
  name_invalid: entry('client', 400, 'this is not a valid function name', 'use lower-case letters, digits and hyphens, starting with a letter or digit, at most 63 characters'),

  // What a user's function did
  handler_not_found: entry('function', 502, 'the handler does not exist in the function', 'check "handler" and "symbol" in function.json against the code'),
  function_load_failed: entry('function', 502, 'the function failed while its code was loaded', 'see details.errorMessage and `flashd logs NAME`'),
  function_error: entry('function', 502, 'the function threw an error', 'see details.errorMessage and `flashd logs NAME`'),
  response_invalid: entry('function', 502, 'what the function returned cannot be sent as a response', 'return a JSON value, or {statusCode, headers, body}'),
  secret_missing: entry('function', 502, 'a secret that the function needs is not set', 'set it with `flashd secret set NAME KEY`'),
  response_too_large: entry('function', 502, 'the function returned more than the limit', 'return less, or raise maxResponseBytes in the configuration'),
  function_exited: entry('function', 502, 'the function ended its process before it answered', 'return from the handler instead of exiting'),
  function_crashed: entry('function', 502, 'the function was killed by a signal before it answered', 'see `flashd logs NAME`; a native handler may have a memory error'),
  function_out_of_memory: entry('function', 502, 'the function used more memory than it may', 'raise memoryMb in function.json, or use less'),
  function_out_of_processes: entry('function', 502, 'the function ended after it was refused a process or thread', 'raise pids in function.json, or make fewer at a time; `flashd logs NAME` says what it met'),
  function_out_of_sockets: entry('function', 502, 'the function was ended because it had more sockets than it may', 'close connections, and accept those that wait; or raise descriptors in function.json'),
  function_protocol_error: entry('function', 502, 'the function broke the connection that flashd talks to it over', 'do not touch descriptor 3 in the function'),

  // Too much at once
  rate_limited: entry('capacity', 429, 'requests come faster than they may', 'come again after the seconds in Retry-After', true),
  too_many_requests: entry('capacity', 429, "the function's queue is full", 'retry later; raise maxInstances or queue in function.json', true),
  overloaded: entry('capacity', 503, 'the gateway is at its limit', 'retry later; raise queueMax, maxInstances or memoryBudgetMb in the configuration', true),
  runtime_not_ready: entry('capacity', 503, 'the language runtime of this function is not ready', 'retry in a moment; `flashd doctor` tells the state of each runtime', true),
  sandbox_unavailable: entry('capacity', 503, 'no sandbox can be made at the moment', 'retry in a moment; see `flashd doctor`', true),
  network_unavailable: entry('capacity', 503, 'no sandbox with a network can be made at the moment', 'the message says what the host lacks; see `flashd doctor`, and egressRange in the configuration', true),
  isolation_unavailable: entry('capacity', 503, 'this class of isolation cannot be had on this machine', 'the message says what is missing; see `flashd doctor`, or leave "isolation" out of function.json'),
  shutting_down: entry('capacity', 503, 'flashd is shutting down', 'retry in a moment', true),

  // Too late
  function_timeout: entry('timeout', 504, 'the function did not answer in time', 'raise timeoutMs in function.json, or do less in one call', true),
  queue_timeout: entry('timeout', 503, 'no instance became free in time', 'retry later; raise maxInstances in function.json', true),

  // Deploying
  no_handler: entry('client', 422, 'the directory has no handler', 'add one of the handler files, or name yours in function.json'),
  build_failed: entry('client', 422, 'the function could not be built', 'correct the code: the message has the words of its compiler'),
  manifest_invalid: entry('client', 422, 'function.json is not valid', 'see the schema: src/deploy/function.schema.json'),
  isolation_not_allowed: entry('client', 403, 'the operator does not permit "isolation": "process"', 'leave it out of function.json; or, when you operate flashd and trust the function, set allowProcessIsolation to 1'),
  bundle_too_large: entry('client', 413, 'the function is too large', 'remove what it does not need at run time, or raise bundleMaxMb or bundleMaxFiles in the configuration'),
  bundle_invalid: entry('client', 422, 'the uploaded archive is not acceptable', 'a function consists of plain files, directories and relative links that stay inside'),
  unsupported_runtime: entry('client', 422, 'there is no such runtime', '`flashd doctor` lists the runtimes'),
  no_previous_version: entry('client', 409, 'the function has no earlier version', 'see `flashd list NAME`'),
  version_not_found: entry('client', 404, 'the function has no such version', 'see `flashd list NAME`'),
  too_many_functions: entry('client', 409, 'no further function may be deployed', 'remove one with `flashd remove NAME`, or raise maxFunctions in the configuration'),

  secret_not_found: entry('client', 404, 'the function has no such secret', 'see `flashd secret list NAME`'),
  secret_invalid: entry('client', 400, 'this cannot be a secret', 'a name is that of an environment variable, a value is text of at most 32 KiB'),

  credential_not_found: entry('client', 404, 'there is no such token or key', 'see `flashd token list` or `flashd key list NAME`'),
  credential_invalid: entry('client', 400, 'this cannot be a token or key', 'a name has lower-case letters, digits and hyphens, at most 63'),

  // Operating flashd
  usage: entry('client', 400, 'the command line is not right', 'see `flashd --help`'),
  config_invalid: entry('client', 400, 'the configuration is not valid', 'see `flashd serve --help` for every option'),
  gateway_unreachable: entry('capacity', 503, 'no running flashd can be reached', 'start it with `flashd serve`, or name its state directory with --state-dir', true),
  system_error: entry('internal', 500, 'the operating system refused an operation', 'see `flashd doctor`'),
  registry_failed: entry('internal', 500, 'the registry cannot be read or written', 'check the state directory: free space, permissions, and that no other flashd uses it'),
  secrets_unreadable: entry('internal', 500, "the functions' secrets cannot be read", 'put secrets.key back into the state directory as it was (0600, of the service user), or remove the secrets of all functions with `flashd secret remove NAME KEY` and set them anew'),
  internal_error: entry('internal', 500, 'this is a fault of flashd', 'please report it with the log lines of this request'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERROR_TABLE;
