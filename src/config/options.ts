/**
 * Every option of flashd, once: from this table follow the configuration's type, its JSON schema, the FLASHD_* environment variables,
 * the flags of `flashd serve`, its --help and src/config/README.md. Names are derived: maxBodyBytes, FLASHD_MAX_BODY_BYTES,
 * --max-body-bytes. An option of FUNCTION_DEFAULTS stands under "functionDefaults" in the file and is called FLASHD_FUNCTION_… and
 * --function-… elsewhere.
 */
import { availableParallelism, totalmem } from 'node:os';

type Common = {
  readonly description: string;
  /** Said in place of the value when the default depends on the machine. */
  readonly defaultText?: string;
};
export type NumberOption = Common & {
  readonly type: 'integer' | 'number';
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
};
export type TextOption = Common & {
  readonly type: 'string';
  readonly default: string;
  readonly pattern?: string;
  readonly values?: readonly string[];
  /** What the pattern means, for people. */
  readonly format?: string;
};
export type Option = NumberOption | TextOption;

const MIB = 1024 * 1024;
const integer = (value: number, minimum: number, maximum: number, description: string, defaultText?: string): NumberOption => ({
  type: 'integer',
  default: value,
  minimum,
  maximum,
  description,
  ...(defaultText === undefined ? {} : { defaultText }),
});
const number = (value: number, minimum: number, maximum: number, description: string): NumberOption => ({ type: 'number', default: value, minimum, maximum, description });
const text = (value: string, description: string, rest: Partial<TextOption> = {}): TextOption => ({
  type: 'string',
  default: value,
  description,
  ...rest,
});

export const OPTIONS = {
  listen: text('127.0.0.1:8080', 'address and port that function URLs are served on; port 0 takes a free one', {
    pattern: '^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9.-]+):[0-9]{1,5}$',
    format: 'HOST:PORT or [IPV6]:PORT',
  }),
  stateDir: text('/var/lib/flashd', 'directory of the registry, the bundles, the logs and the management socket', {
    pattern: '^/[^\\u0000]*$',
    format: 'an absolute path',
  }),
  user: text('flashd', 'user that the gateway runs as: a name, or UID:GID; without the user flashd it is 64999:64999', {
    pattern: '^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}:[0-9]{1,10})$',
    format: 'a user name or UID:GID',
  }),
  domain: text('', 'when set, NAME.<domain> in the Host header addresses the function NAME', {
    pattern: '^([a-z0-9-]+(\\.[a-z0-9-]+)*)?$',
    format: 'a lower-case domain name',
  }),
  tlsCert: text('', 'file with the certificate (PEM, its chain after it) for HTTPS in place of HTTP; read by the service user, and again when it changes', { pattern: '^(/[^\\u0000]*)?$', format: 'an absolute path' }),
  tlsKey: text('', "file with the certificate's private key (PEM)", { pattern: '^(/[^\\u0000]*)?$', format: 'an absolute path' }),

  maxBodyBytes: integer(6 * MIB, 0, 64 * MIB, 'largest request body'),
  maxResponseBytes: integer(6 * MIB, 1024, 64 * MIB, 'largest response body of a function'),
  maxFunctions: integer(1000, 1, 100_000, 'functions that may be deployed at once'),
  maxInstances: integer(1200, 1, 16_384, 'instances of all functions together'),
  maxConnections: integer(8192, 16, 1_000_000, 'connections of all clients together, as far as there are descriptors for them: more are closed at once, and from half of it on a client gets new ones slowly'),
  clientRequestsPerSecond: number(0, 0, 1_000_000, 'requests a second of one client (IPv4 address or IPv6 /64) to functions, twice as many in a burst; 0: any number'),
  queueMax: integer(2048, 0, 1_000_000, 'requests of all functions together that may wait for an instance'),
  memoryBudgetMb: integer(
    Math.max(64, Math.floor(totalmem() / MIB / 2)),
    64,
    16_777_216,
    'memory that all instances together may use before idle ones are evicted',
    "half of the machine's memory",
  ),
  drainSeconds: integer(20, 0, 3600, 'how long running requests may still take when flashd stops'),

  pulseMs: integer(2, 0, 1000, "milliseconds between the beats that keep a request's path in the processor's caches while requests come now and then; 0: none"),

  allowProcessIsolation: integer(0, 0, 1, '1: a function may ask for "isolation": "process", which is weaker: for functions that you trust more than others'),

  reuseAcrossFunctions: integer(0, 0, 1, '1: an instance that its function is done with may become one of another function of the same runtime and limits, after it was proven to be what it was before it had any'),

  interpreters: text('host', "programs of the runtimes: host, flashd itself only where it can stand in for one that is not installed; own, flashd itself wherever it can", { values: ['host', 'own'] }),
  spares: integer(4, 0, 1024, 'forks of each language template kept parked at least, complete but for the function; 0: none ever'),
  templates: integer(availableParallelism() > 1 ? 2 : 1, 1, 64, 'replicas of each language template', '2, or 1 on a machine with one core'),
  templateForks: integer(10_000, 1, 4_294_967_295, 'forks after which a language template is replaced, so that address-space layouts change'),
  templateSeconds: integer(3600, 1, 4_294_967_295, 'seconds after which it is'),
  poolFloor: integer(8, 1, 4096, 'sandboxes kept ready at least'),
  poolCeiling: integer(64, 1, 4096, 'sandboxes kept ready at most'),
  slots: integer(2048, 1, 16_384, 'sandboxes that may exist at once, the ready ones included'),
  uidBase: integer(1_879_048_192, 65_536, 4_294_836_224, 'first host uid of the sandboxes, a multiple of 65536; each slot takes 65536 ids, the light class one more after the last'),

  egressRange: text('10.224.0.0/12', 'private addresses, out of which a block for sandboxes with a network is taken that is clear of the routes of this machine', {
    pattern: '^[0-9.]{7,15}/([89]|1[0-9]|2[0-9]|3[0-2])$',
    format: 'ADDRESS/PREFIX, the prefix from 8 to 32',
  }),
  egressDns: text('', "name server that sandboxes with a network are sent to; else this machine's first one", {
    pattern: '^([0-9]{1,3}(\\.[0-9]{1,3}){3})?$',
    format: 'an IPv4 address',
  }),
  egressMbit: number(200, 0.1, 10_000, 'megabits a second that a sandbox with a network may send, and receive, when its function.json says nothing'),
  egressMbitMax: number(1000, 0.1, 10_000, 'megabits a second at most, whatever function.json says'),
  buildEgress: text('public', 'what a build that needs packages may reach: none, or a list, with commas between, of public, ADDRESS[/PREFIX][:PORT], NAME:PORT and *.NAME:PORT', {
    pattern: '^(none|[^,]+(,[^,]+)*)$',
    format: 'none, or a list of public, ADDRESS[/PREFIX][:PORT] and NAME:PORT',
  }),

  bundleMaxMb: integer(256, 1, 16_384, 'largest function, unpacked'),
  bundleMaxFiles: integer(20_000, 1, 1_000_000, 'files and directories in a function at most'),
  keepVersions: integer(10, 1, 1000, 'versions kept of each function, the live one included'),

  logLevel: text('info', "level of flashd's own log", { values: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] }),
  logLinesPerSecond: integer(1000, 1, 1_000_000, 'log lines a second kept of each function; ten times as many in a burst'),
  logBytesPerSecond: integer(MIB, 1024, 1024 * MIB, 'log bytes a second kept of each function; ten times as many in a burst'),
  logLineBytes: integer(16_384, 64, MIB, 'longest log line of a function; the rest of a longer one is cut off'),
  logFileMb: integer(8, 1, 1024, "size at which a function's log file is rotated; one old file is kept"),
} as const satisfies Record<string, Option>;

/** What a function.json leaves out. Names and ranges are those of src/deploy/function.schema.json; a test compares them. */
export const FUNCTION_DEFAULTS = {
  timeoutMs: integer(30_000, 1, 3_600_000, 'wall-clock time of one invocation, waiting included'),
  memoryMb: integer(128, 16, 1_048_576, 'memory of one instance'),
  cpu: { type: 'number', default: 1, minimum: 0.01, maximum: 1024, description: 'CPUs of one instance, e.g. 0.5' } as NumberOption,
  pids: integer(64, 1, 32_768, 'processes and threads of one instance'),
  tmpMb: integer(64, 1, 65_536, 'writable files of one instance: /tmp, /var/tmp, /dev/shm and $HOME together'),
  descriptors: integer(1024, 16, 65_536, 'open descriptors of one process'),
  concurrency: integer(1, 1, 1000, 'requests that one instance works on at a time'),
  maxInstances: integer(64, 1, 16_384, 'instances of one function'),
  queue: integer(256, 0, 1_000_000, 'requests of one function that may wait for an instance'),
  requestsPerSecond: number(0, 0, 1_000_000, 'requests a second over HTTP, twice as many in a burst; 0: any number'),
  keepWarmSeconds: integer(60, 0, 86_400, 'how long an idle instance is kept'),
  standby: integer(1, 0, 64, 'instances kept ready ahead of need'),
  functionTemplate: integer(1, 0, 1, 'templates that have loaded the function, from which instances are forked'),
} as const satisfies Record<string, Option>;

type ValueOf<T extends Option> = T extends NumberOption ? number : string;
export type FunctionDefaults = { readonly [K in keyof typeof FUNCTION_DEFAULTS]: ValueOf<(typeof FUNCTION_DEFAULTS)[K]> };
export type Config = { readonly [K in keyof typeof OPTIONS]: ValueOf<(typeof OPTIONS)[K]> } & {
  readonly functionDefaults: FunctionDefaults;
};

export type NamedOption = {
  readonly option: Option;
  /** Path in the configuration: ["listen"] or ["functionDefaults", "timeoutMs"]. */
  readonly path: readonly string[];
  readonly environment: string;
  readonly flag: string;
};

const words = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const named = (path: readonly string[], flag: string, option: Option): NamedOption => ({
  option,
  path,
  flag: `--${flag}`,
  environment: `FLASHD_${flag.replaceAll('-', '_').toUpperCase()}`,
});

/** The two tables as one list, in the order of the documentation. */
export const NAMED_OPTIONS: readonly NamedOption[] = [
  ...Object.entries(OPTIONS).map(([name, option]) => named([name], words(name), option)),
  ...Object.entries(FUNCTION_DEFAULTS).map(([name, option]) => named(['functionDefaults', name], `function-${words(name)}`, option)),
];
