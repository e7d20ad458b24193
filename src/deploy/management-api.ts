/**
 * What the management socket speaks, and HTTP below /api with a token: HTTP/1.1 over a unix socket, JSON bodies, errors as {"error": …}.
 *
 *   POST   /functions/NAME/deploy    a tar (or tar.gz) of the directory        → DeployReply
 *   GET    /functions                                                          → FunctionSummary[] with template, program, auth, missingSecrets and url
 *   GET    /functions/NAME/versions                                            → VersionReply[]
 *   POST   /functions/NAME/rollback  {"to"?: VERSION}                          → DeployReply
 *   DELETE /functions/NAME                                                     → {"name"}
 *   GET    /functions/NAME/logs?lines=N&follow=1                               → LogEntry as JSON lines
 *   POST   /functions/NAME/profile   ProfileCall; answered when it is over         → ProfileReply
 *   GET    /functions/NAME/secrets                                             → SecretReply[]
 *   PUT    /functions/NAME/secrets/KEY    the value as it is                   → SecretChange
 *   DELETE /functions/NAME/secrets/KEY                                         → SecretChange
 *   GET    /functions/NAME/keys                                                → CredentialSummary[]
 *   POST   /functions/NAME/keys/KEY                                            → CredentialReply
 *   DELETE /functions/NAME/keys/KEY                                            → {"name"}
 *   the same below /tokens; never over HTTP
 *   POST   /functions/NAME/invoke    InvokeCall                                → InvokeReply
 *   POST   /functions/NAME/verify    {"restores": NUMBER}                      → VerifyReply
 *   GET    /doctor                                                             → GatewayReport
 *   GET    /metrics                                                            → Prometheus text
 */
export type DeployReply = {
  name: string;
  version: string;
  runtime: string;
  url: string;
  /** False: exactly this was live already. */
  changed: boolean;
  previous: string | null;
  /** What it needs and nobody has set: until then its invocations are answered with secret_missing. */
  missingSecrets: string[];
};

/** Until so many requests are answered, or so much time has passed; both: whatever comes first. */
export type ProfileCall = { requests?: number; seconds?: number };

export type ProfileReply = {
  function: string;
  /** What its instances used, but for what no instance can do without. */
  calls: string[];
  /** How many its list permits, with the group `self` and what no policy reaches; how many every function may use. */
  allowed: number;
  base: number;
  requests: number;
  seconds: number;
  /** For its function.json. */
  interception: { enforce: string[] } & Record<string, unknown>;
};

/** Times are null for one that is needed but not set. needed: the live version names it. */
export type SecretReply = { name: string; needed: boolean; createdAt: string | null; updatedAt: string | null };

/** changed: false when it had this value already. */
export type SecretChange = { function: string; name: string; needed: boolean; changed: boolean };

/** The token or key itself, this once. */
export type CredentialReply = { name: string; credential: string };

export type VersionReply = { version: string; live: boolean; runtime: string; digest: string; createdAt: string };

export type InvokeCall = {
  method: string;
  /** Below the function's address, beginning with "/". */
  path: string;
  /** Without the question mark. */
  query: string;
  headers: [name: string, value: string][];
  bodyBase64: string;
};

export type InvokeReply = { requestId: string; status: number; headers: [name: string, value: string][]; bodyBase64: string };

/** restores: those that were compared; failure: the first difference, or why there was no restore. */
export type VerifyReply = { requests: number; restores: number; failure: string | null };

/** What a running gateway says of itself to `flashd doctor`. */
export type GatewayReport = {
  version: string;
  pid: number;
  uptimeSeconds: number;
  listen: string;
  functions: number;
  instances: number;
  instancesMax: number;
  /** Whether they may go from one function to another. */
  acrossFunctions: boolean;
  memoryBytes: number;
  memoryBudgetBytes: number;
  sandboxd: { connected: boolean; cgroups: string; features: Record<string, boolean> };
  /** detail: why it failed; of a ready one the path of its program. */
  runtimes: { name: string; state: string; templates: number; detail: string }[];
};
