/**
 * The numbers and layouts of native/include/flashd/protocol.h and frame.h, and what control packets are to us; codec.ts turns one into the other.
 * Every constant here is compared with the headers by test/unit/sandbox/protocol.test.ts, offsets included (the C compiler is asked).
 */

import type { SyscallEvent } from './interception.ts';

export const PROTOCOL = {
  FL_PROTOCOL_VERSION: 1,
  FL_PROTOCOL_MAGIC: 0x464c,
  FL_RUNTIMES_MAX: 32,
  FL_NAME_MAX: 32,
  FL_USAGE_MAX: 64,
  FL_MESSAGE_MAX: 4096,

  FL_MSG_HELLO: 1,
  FL_MSG_CREATE: 2,
  FL_MSG_DESTROY: 3,
  FL_MSG_STATS: 4,
  FL_MSG_USAGE: 5,
  FL_MSG_BOOT: 6,
  FL_MSG_FREEZE: 7,
  FL_MSG_FORGET: 8,
  FL_MSG_PULSE: 9,
  FL_MSG_LEARN: 10,
  FL_MSG_PLACE: 11,
  FL_MSG_CREATE_INTERCEPTED: 12,
  FL_MSG_SNAPSHOT: 13,
  FL_MSG_REWIND: 14,
  FL_MSG_VERIFY: 15,
  FL_MSG_NAMES: 16,
  FL_MSG_HELLO_OK: 129,
  FL_MSG_RUNTIME: 130,
  FL_MSG_CREATED: 131,
  FL_MSG_FAILED: 132,
  FL_MSG_ENDED: 133,
  FL_MSG_STATS_OK: 134,
  FL_MSG_USAGE_OK: 135,
  FL_MSG_FROZEN: 136,
  FL_MSG_SYSCALL: 137,
  FL_MSG_REWOUND: 138,

  FL_FEATURE_CGROUP_V2: 1,
  FL_FEATURE_CGROUP_MEMORY: 2,
  FL_FEATURE_CGROUP_PIDS: 4,
  FL_FEATURE_CGROUP_CPU: 8,
  FL_FEATURE_PAGEMAP_SCAN: 16,
  FL_FEATURE_SOFT_DIRTY: 32,
  FL_FEATURE_SECCOMP_NOTIFY: 64,
  FL_FEATURE_LANDLOCK: 128,
  FL_FEATURE_PROCESS_ISOLATION: 256,
  FL_FEATURE_WRITE_WATCH: 512,

  FL_RUNTIME_BOOTING: 1,
  FL_RUNTIME_READY: 2,
  FL_RUNTIME_FAILED: 3,
  FL_RUNTIME_IDLE: 4,

  FL_MEMORY_BYTES_MIN: 16 * 2 ** 20,
  FL_MEMORY_BYTES_MAX: 2 ** 40,
  FL_TMP_BYTES_MIN: 64 * 2 ** 10,
  FL_TMP_BYTES_MAX: 64 * 2 ** 30,
  FL_EGRESS_RATE_MIN: 12_500,
  FL_EGRESS_RATE_MAX: 1_250_000_000,
  FL_TMP_INODES_MIN: 16,
  FL_TMP_INODES_MAX: 1_000_000,
  FL_PIDS_MIN: 1,
  FL_PIDS_MAX: 32_768,
  FL_CPU_MILLIS_MIN: 10,
  FL_CPU_MILLIS_MAX: 1_024_000,
  FL_DESCRIPTORS_MIN: 16,
  FL_DESCRIPTORS_MAX: 65_536,

  FL_EGRESS_RULES_MAX: 32,
  FL_NAMES_MAX: 32,
  FL_NAMES_TEXT_BYTES: 2048,
  FL_NAMES_PORTS_MAX: 8,

  FL_NETWORK_NONE: 0,
  FL_NETWORK_EGRESS: 1,
  FL_NETWORK_LIGHT: 2,
  FL_NETWORK_KINDS: 3,
  FL_EGRESS_PUBLIC: 1,
  FL_EGRESS_NAMES: 2,

  FL_CREATE_DESCRIPTORS: 4,
  FL_CREATE_CANDIDATE: 1,
  FL_CREATE_AHEAD: 2,
  FL_CREATE_REWOUND: 4,
  FL_CREATE_ACROSS: 8,
  FL_CREATE_YIELDS: 16,
  FL_CREATE_ASIDE: 32,

  FL_PROCESSORS_ALL: 0,
  FL_PROCESSORS_LANE: 1,
  FL_PROCESSORS_OTHERS: 2,
  FL_PROCESSORS_COUNT: 3,

  FL_REWIND_PHASES: 5,
  FL_REWIND_STOP: 0,
  FL_REWIND_STATE: 1,
  FL_REWIND_LAYOUT: 2,
  FL_REWIND_FACTS: 3,
  FL_REWIND_MEMORY: 4,

  FL_DESTROY_EXPECT_EXIT: 1,
  FL_DESTROY_REST: 2,

  FL_END_EXITED: 1,
  FL_END_SIGNALED: 2,
  FL_END_DESTROYED: 3,
} as const;

export const FRAME = {
  FL_DATA_FD: 3,
  FL_FRAME_HEADER_BYTES: 32,
  FL_FRAME_META_MAX: 1 << 20,
  FL_FRAME_BODY_MAX: 64 << 20,

  FL_FRAME_INIT: 1,
  FL_FRAME_REQUEST: 2,
  FL_FRAME_PING: 3,
  FL_FRAME_FREEZE: 4,
  FL_FRAME_READY: 129,
  FL_FRAME_RESPONSE: 130,
  FL_FRAME_ERROR: 131,
  FL_FRAME_STARTED: 132,

  FL_REQUEST_BODY_BINARY: 1,

  FL_FAULT_NO_HANDLER: 1,
  FL_FAULT_LOAD: 2,
  FL_FAULT_CALL: 3,
  FL_FAULT_RESPONSE: 4,
  FL_FAULT_EXIT: 5,
} as const;

/** Names of enum fl_rewind_phase, in order. */
export const REWIND_PHASE_NAMES = ['stop', 'state', 'layout', 'facts', 'memory'] as const;

/** Names of the bits of HELLO_OK.features, lowest first. */
export const FEATURE_NAMES = [
  'cgroup-v2',
  'cgroup-memory',
  'cgroup-pids',
  'cgroup-cpu',
  'pagemap-scan',
  'soft-dirty',
  'seccomp-notify',
  'landlock',
  'process-isolation',
  'write-watch',
] as const;

/** Byte offsets of every field, by struct; `$size` is the struct's. */
export const LAYOUT = {
  fl_header: { magic: 0, version: 2, type: 4, size: 6, request: 8, $size: 16 },
  fl_hello: { header: 0, $size: 16 },
  fl_hello_ok: { header: 0, features: 16, runtimes: 20, instances_max: 24, reserved: 28, $size: 32 },
  fl_boot: { header: 0, runtime: 16, reserved: 20, $size: 24 },
  fl_runtime: { header: 0, index: 16, state: 20, templates: 24, reserved: 28, name: 32, detail: 64, $size: 320 },
  fl_limits: { memory_bytes: 0, tmp_bytes: 8, tmp_inodes: 16, pids: 20, cpu_millis: 24, descriptors: 28, $size: 32 },
  fl_egress_rule: { address: 0, port: 4, prefix: 6, reserved: 7, $size: 8 },
  fl_egress_policy: { flags: 0, rules: 4, bytes_per_second: 8, rule: 16, $size: 272 },
  fl_name: { port: 0, length: 2, wildcard: 3, $size: 4 },
  fl_names: { count: 0, text_bytes: 4, name: 8, text: 136, $size: 2184 },
  fl_name_list: { header: 0, names: 16, $size: 2200 },
  fl_create: { header: 0, runtime: 16, flags: 20, limits: 24, function: 56, network: 64, reserved: 68, egress: 72, $size: 344 },
  fl_freeze: { header: 0, instance: 16, $size: 24 },
  fl_frozen: { header: 0, function: 16, bytes: 24, $size: 32 },
  fl_forget: { header: 0, function: 16, $size: 24 },
  fl_learn: { header: 0, instance: 16, idle: 24, $size: 32 },
  fl_place: { header: 0, instance: 16, yields: 24, processors: 28, $size: 32 },
  fl_rewind: { header: 0, instance: 16, $size: 24 },
  fl_rewound: { header: 0, instance: 16, own_pages: 24, written_pages: 28, dropped_pages: 32, mappings: 36, phase_us: 40, reserved: 60, $size: 64 },
  fl_pulse: { header: 0, function: 16, runtime: 24, reserved: 28, $size: 32 },
  fl_created: { header: 0, instance: 16, pid: 24, slot: 28, pooled: 32, from_function: 36, reused: 40, reserved: 44, $size: 48 },
  fl_failed: { header: 0, code: 16, errno_value: 20, op: 24, detail: 56, $size: 184 },
  fl_destroy: { header: 0, instance: 16, flags: 24, reserved: 28, $size: 32 },
  fl_ended: {
    header: 0,
    instance: 16,
    how: 24,
    status: 28,
    oom_kills: 32,
    pids_refused: 36,
    memory_peak_bytes: 40,
    cpu_us: 48,
    sockets: 56,
    $size: 64,
  },
  fl_stats: { header: 0, $size: 16 },
  fl_stats_ok: {
    header: 0,
    instances: 16,
    sandboxes_pooled: 20,
    sandboxes_building: 24,
    sandboxes_ending: 28,
    templates_ready: 32,
    spares: 36,
    layouts: 40,
    functions: 44,
    forks: 48,
    forks_failed: 56,
    sandboxes_built: 64,
    sandboxes_on_demand: 72,
    template_restarts: 80,
    template_rotations: 88,
    rss_bytes: 96,
    resting: 104,
    rests: 112,
    rests_failed: 120,
    $size: 128,
  },
  fl_usage: { header: 0, after: 16, $size: 24 },
  fl_usage_entry: { instance: 0, memory_bytes: 8, cpu_us: 16, at_us: 24, $size: 32 },
  fl_usage_ok: { header: 0, count: 16, more: 20, entry: 24, $size: 2072 },
} as const;

export type Limits = {
  readonly memoryBytes: number;
  readonly tmpBytes: number;
  readonly tmpInodes: number;
  readonly pids: number;
  readonly cpuMillis: number;
  readonly descriptors: number;
};

/** What a sandbox may reach; undefined where one is wanted: nothing, it has loopback only. */
export type EgressPolicy = {
  readonly public: boolean;
  /** Addresses as numbers; port 0: each. */
  readonly rules: readonly { readonly address: number; readonly prefix: number; readonly port: number }[];
  /** Lower case; what they stand for is opened when the sandbox asks for it. */
  readonly names: readonly { readonly name: string; readonly wildcard: boolean; readonly port: number }[];
  /** In each direction. */
  readonly bytesPerSecond: number;
};

export type HelloOk = { readonly type: 'hello-ok'; readonly features: number; readonly runtimes: number; readonly instancesMax: number };
/** idle: no function has needed it yet. */
export type RuntimeState = 'idle' | 'booting' | 'ready' | 'failed';
export type Runtime = {
  readonly type: 'runtime';
  readonly index: number;
  readonly state: RuntimeState;
  readonly templates: number;
  readonly name: string;
  readonly detail: string;
};
export type Created = {
  readonly type: 'created';
  readonly request: number;
  readonly instance: number;
  readonly pid: number;
  readonly slot: number;
  readonly pooled: boolean;
  /** Forked from its function's template. */
  readonly fromFunction: boolean;
  /** It goes from function to function, and was rewound since it was another one's. */
  readonly reused: boolean;
};
export type Failed = {
  readonly type: 'failed';
  readonly request: number;
  /** enum fl_error_code */
  readonly code: number;
  readonly errno: number;
  readonly op: string;
  readonly detail: string;
};
export type Ended = {
  readonly type: 'ended';
  readonly request: number;
  readonly instance: number;
  readonly how: 'exited' | 'signaled' | 'destroyed';
  /** Exit status or signal number. */
  readonly status: number;
  readonly oomKills: number;
  readonly pidsRefused: number;
  readonly sockets: number;
  readonly memoryPeakBytes: number;
  readonly cpuUs: number;
};
export type Stats = {
  readonly type: 'stats';
  readonly request: number;
  readonly instances: number;
  /** Forks parked ahead of need, of all runtimes. */
  readonly spares: number;
  readonly sandboxesPooled: number;
  readonly sandboxesBuilding: number;
  readonly sandboxesEnding: number;
  readonly templatesReady: number;
  readonly forks: number;
  readonly forksFailed: number;
  readonly sandboxesBuilt: number;
  readonly sandboxesOnDemand: number;
  readonly templateRestarts: number;
  readonly templateRotations: number;
  /** Distinct address-space layouts among the instances. */
  readonly layouts: number;
  /** Function templates. */
  readonly functions: number;
  readonly rssBytes: number;
  /** Instances that go from function to function: how many are nobody's; how often one was given back, or could not be. */
  readonly resting: number;
  readonly rests: number;
  readonly restsFailed: number;
};
/** cpuUs: of processor time, since whenever: only what is added to it counts; atUs: when that was read, by a clock that nobody sets; 0: not this time. */
export type InstanceUsage = { readonly instance: number; readonly memoryBytes: number; readonly cpuUs: number; readonly atUs: number };
export type Usage = {
  readonly type: 'usage';
  readonly request: number;
  readonly more: boolean;
  readonly entries: readonly InstanceUsage[];
};
export type Frozen = { readonly type: 'frozen'; readonly request: number; readonly function: number; readonly bytes: number };
/** Pages that were not its template's, of those written back, and given back to the kernel; mappings that had changed; microseconds by REWIND_PHASE_NAMES. */
export type Rewound = { readonly type: 'rewound'; readonly request: number; readonly ownPages: number; readonly writtenPages: number; readonly droppedPages: number; readonly mappings: number; readonly phases: readonly number[] };
export type Message = HelloOk | Runtime | Created | Failed | Ended | Stats | Usage | Frozen | SyscallEvent | Rewound;
