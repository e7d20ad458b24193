/**
 * The numbers and layouts of native/include/flashd/protocol.h and frame.h, and the codec for control packets.
 * Every constant here is compared with the headers by test/unit/sandbox/protocol.test.ts, offsets included (the C compiler is asked).
 * sandboxd is trusted more than we are, so decoding checks only what a wrong version would get wrong: magic, version, type, size.
 */
import { FlashdError } from '../errors/index.ts';

export const PROTOCOL = {
  FL_PROTOCOL_VERSION: 1,
  FL_PROTOCOL_MAGIC: 0x464c,
  FL_RUNTIMES_MAX: 32,
  FL_NAME_MAX: 32,
  FL_USAGE_MAX: 64,
  FL_PHASES: 8,
  FL_MESSAGE_MAX: 2048,

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
  FL_MSG_YIELD: 11,
  FL_MSG_HELLO_OK: 129,
  FL_MSG_RUNTIME: 130,
  FL_MSG_CREATED: 131,
  FL_MSG_FAILED: 132,
  FL_MSG_ENDED: 133,
  FL_MSG_STATS_OK: 134,
  FL_MSG_USAGE_OK: 135,
  FL_MSG_FROZEN: 136,

  FL_FEATURE_CGROUP_V2: 1,
  FL_FEATURE_CGROUP_MEMORY: 2,
  FL_FEATURE_CGROUP_PIDS: 4,
  FL_FEATURE_CGROUP_CPU: 8,
  FL_FEATURE_PAGEMAP_SCAN: 16,
  FL_FEATURE_SOFT_DIRTY: 32,
  FL_FEATURE_SECCOMP_NOTIFY: 64,
  FL_FEATURE_LANDLOCK: 128,

  FL_RUNTIME_BOOTING: 1,
  FL_RUNTIME_READY: 2,
  FL_RUNTIME_FAILED: 3,
  FL_RUNTIME_IDLE: 4,

  FL_MEMORY_BYTES_MIN: 16 * 2 ** 20,
  FL_MEMORY_BYTES_MAX: 2 ** 40,
  FL_TMP_BYTES_MIN: 64 * 2 ** 10,
  FL_TMP_BYTES_MAX: 64 * 2 ** 30,
  FL_TMP_INODES_MIN: 16,
  FL_TMP_INODES_MAX: 1_000_000,
  FL_PIDS_MIN: 1,
  FL_PIDS_MAX: 32_768,
  FL_CPU_MILLIS_MIN: 10,
  FL_CPU_MILLIS_MAX: 1_024_000,
  FL_DESCRIPTORS_MIN: 16,
  FL_DESCRIPTORS_MAX: 65_536,

  FL_EGRESS_RULES_MAX: 32,

  FL_NETWORK_NONE: 0,
  FL_NETWORK_EGRESS: 1,
  FL_NETWORK_KINDS: 2,
  FL_EGRESS_PUBLIC: 1,

  FL_CREATE_DESCRIPTORS: 4,
  FL_CREATE_CANDIDATE: 1,
  FL_CREATE_AHEAD: 2,

  FL_PHASE_ACCEPT: 0,
  FL_PHASE_CLONE: 1,
  FL_PHASE_NAMESPACES: 2,
  FL_PHASE_CGROUP: 3,
  FL_PHASE_DESCRIPTORS: 4,
  FL_PHASE_CREDENTIALS: 5,
  FL_PHASE_THREADS: 6,
  FL_PHASE_SEAL: 7,

  FL_DESTROY_EXPECT_EXIT: 1,

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

  FL_REQUEST_BODY_BINARY: 1,

  FL_FAULT_NO_HANDLER: 1,
  FL_FAULT_LOAD: 2,
  FL_FAULT_CALL: 3,
  FL_FAULT_RESPONSE: 4,
  FL_FAULT_EXIT: 5,
} as const;

/** Names of enum fl_phase, in order: entries of Server-Timing. */
export const PHASE_NAMES = ['accept', 'clone', 'namespaces', 'cgroup', 'descriptors', 'credentials', 'threads', 'seal'] as const;

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
  fl_egress_policy: { flags: 0, rules: 4, rule: 8, $size: 264 },
  fl_create: { header: 0, runtime: 16, flags: 20, limits: 24, function: 56, network: 64, reserved: 68, egress: 72, $size: 336 },
  fl_freeze: { header: 0, instance: 16, $size: 24 },
  fl_frozen: { header: 0, function: 16, bytes: 24, $size: 32 },
  fl_forget: { header: 0, function: 16, $size: 24 },
  fl_learn: { header: 0, instance: 16, $size: 24 },
  fl_yield: { header: 0, instance: 16, yields: 24, reserved: 28, $size: 32 },
  fl_pulse: { header: 0, function: 16, runtime: 24, reserved: 28, $size: 32 },
  fl_created: { header: 0, instance: 16, pid: 24, slot: 28, pooled: 32, from_function: 36, phase_ns: 40, $size: 72 },
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
    $size: 56,
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
    $size: 104,
  },
  fl_usage: { header: 0, after: 16, $size: 24 },
  fl_usage_ok: { header: 0, count: 16, more: 20, entry: 24, $size: 1048 },
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
  /** Nanoseconds, by PHASE_NAMES. */
  readonly phases: readonly number[];
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
};
export type Usage = {
  readonly type: 'usage';
  readonly request: number;
  readonly more: boolean;
  readonly entries: readonly { readonly instance: number; readonly memoryBytes: number }[];
};
export type Frozen = { readonly type: 'frozen'; readonly request: number; readonly function: number; readonly bytes: number };
export type Message = HelloOk | Runtime | Created | Failed | Ended | Stats | Usage | Frozen;

function packet(type: number, size: number, request: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_MAGIC, LAYOUT.fl_header.magic);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_VERSION, LAYOUT.fl_header.version);
  bytes.writeUInt16LE(type, LAYOUT.fl_header.type);
  bytes.writeUInt16LE(size, LAYOUT.fl_header.size);
  writeU64(bytes, LAYOUT.fl_header.request, request);
  return bytes;
}

/** Below 2^53, as the protocol promises for every id; byte counts beyond that do not exist. */
function writeU64(bytes: Buffer, offset: number, value: number): void {
  bytes.writeUInt32LE(value % 0x1_0000_0000, offset);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

function readU64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 0x1_0000_0000;
}

function readText(bytes: Buffer, offset: number, size: number): string {
  const end = bytes.indexOf(0, offset);
  return bytes.toString('utf8', offset, end === -1 || end > offset + size ? offset + size : end);
}

export function encodeHello(request: number): Buffer {
  return packet(PROTOCOL.FL_MSG_HELLO, LAYOUT.fl_hello.$size, request);
}

/** from: a function template, 0 for the language template; candidate: it is to be frozen; ahead: no request waits for it. */
export function encodeCreate(request: number, runtime: number, limits: Limits, from = 0, candidate = false, ahead = false, egress?: EgressPolicy): Buffer {
  const at = LAYOUT.fl_create;
  const bytes = packet(PROTOCOL.FL_MSG_CREATE, at.$size, request);
  bytes.writeUInt32LE(runtime, at.runtime);
  bytes.writeUInt32LE((candidate ? PROTOCOL.FL_CREATE_CANDIDATE : 0) | (ahead ? PROTOCOL.FL_CREATE_AHEAD : 0), at.flags);
  if (from !== 0) writeU64(bytes, at.function, from);
  writeU64(bytes, at.limits + LAYOUT.fl_limits.memory_bytes, limits.memoryBytes);
  writeU64(bytes, at.limits + LAYOUT.fl_limits.tmp_bytes, limits.tmpBytes);
  bytes.writeUInt32LE(limits.tmpInodes, at.limits + LAYOUT.fl_limits.tmp_inodes);
  bytes.writeUInt32LE(limits.pids, at.limits + LAYOUT.fl_limits.pids);
  bytes.writeUInt32LE(limits.cpuMillis, at.limits + LAYOUT.fl_limits.cpu_millis);
  bytes.writeUInt32LE(limits.descriptors, at.limits + LAYOUT.fl_limits.descriptors);
  if (egress !== undefined) writeEgress(bytes, egress);
  return bytes;
}

function writeEgress(bytes: Buffer, egress: EgressPolicy): void {
  const at = LAYOUT.fl_egress_policy;
  const { egress: start, network } = LAYOUT.fl_create;
  bytes.writeUInt32LE(PROTOCOL.FL_NETWORK_EGRESS, network);
  bytes.writeUInt32LE(egress.public ? PROTOCOL.FL_EGRESS_PUBLIC : 0, start + at.flags);
  bytes.writeUInt32LE(egress.rules.length, start + at.rules);
  for (const [index, { address, prefix, port }] of egress.rules.entries()) {
    const rule = start + at.rule + index * LAYOUT.fl_egress_rule.$size;
    bytes.writeUInt32LE(address, rule + LAYOUT.fl_egress_rule.address);
    bytes.writeUInt16LE(port, rule + LAYOUT.fl_egress_rule.port);
    bytes.writeUInt8(prefix, rule + LAYOUT.fl_egress_rule.prefix);
  }
}

export function encodeDestroy(request: number, instance: number, expectExit: boolean): Buffer {
  const at = LAYOUT.fl_destroy;
  const bytes = packet(PROTOCOL.FL_MSG_DESTROY, at.$size, request);
  writeU64(bytes, at.instance, instance);
  bytes.writeUInt32LE(expectExit ? PROTOCOL.FL_DESTROY_EXPECT_EXIT : 0, at.flags);
  return bytes;
}

export function encodeBoot(request: number, runtime: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_BOOT, LAYOUT.fl_boot.$size, request);
  bytes.writeUInt32LE(runtime, LAYOUT.fl_boot.runtime);
  return bytes;
}

export function encodeFreeze(request: number, instance: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_FREEZE, LAYOUT.fl_freeze.$size, request);
  writeU64(bytes, LAYOUT.fl_freeze.instance, instance);
  return bytes;
}

export function encodeForget(request: number, template: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_FORGET, LAYOUT.fl_forget.$size, request);
  writeU64(bytes, LAYOUT.fl_forget.function, template);
  return bytes;
}

export function encodeLearn(request: number, instance: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_LEARN, LAYOUT.fl_learn.$size, request);
  writeU64(bytes, LAYOUT.fl_learn.instance, instance);
  return bytes;
}

export function encodeYield(request: number, instance: number, yields: boolean): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_YIELD, LAYOUT.fl_yield.$size, request);
  writeU64(bytes, LAYOUT.fl_yield.instance, instance);
  bytes.writeUInt32LE(yields ? 1 : 0, LAYOUT.fl_yield.yields);
  return bytes;
}

export function encodePulse(request: number, template: number, runtime: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_PULSE, LAYOUT.fl_pulse.$size, request);
  writeU64(bytes, LAYOUT.fl_pulse.function, template);
  bytes.writeUInt32LE(runtime, LAYOUT.fl_pulse.runtime);
  return bytes;
}

export function encodeStats(request: number): Buffer {
  return packet(PROTOCOL.FL_MSG_STATS, LAYOUT.fl_stats.$size, request);
}

export function encodeUsage(request: number, after: number): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_USAGE, LAYOUT.fl_usage.$size, request);
  writeU64(bytes, LAYOUT.fl_usage.after, after);
  return bytes;
}

const DECODERS: Readonly<Record<number, { size: number; decode: (bytes: Buffer, request: number) => Message }>> = {
  [PROTOCOL.FL_MSG_HELLO_OK]: { size: LAYOUT.fl_hello_ok.$size, decode: decodeHelloOk },
  [PROTOCOL.FL_MSG_RUNTIME]: { size: LAYOUT.fl_runtime.$size, decode: decodeRuntime },
  [PROTOCOL.FL_MSG_CREATED]: { size: LAYOUT.fl_created.$size, decode: decodeCreated },
  [PROTOCOL.FL_MSG_FAILED]: { size: LAYOUT.fl_failed.$size, decode: decodeFailed },
  [PROTOCOL.FL_MSG_ENDED]: { size: LAYOUT.fl_ended.$size, decode: decodeEnded },
  [PROTOCOL.FL_MSG_STATS_OK]: { size: LAYOUT.fl_stats_ok.$size, decode: decodeStats },
  [PROTOCOL.FL_MSG_FROZEN]: { size: LAYOUT.fl_frozen.$size, decode: decodeFrozen },
  [PROTOCOL.FL_MSG_USAGE_OK]: { size: LAYOUT.fl_usage_ok.$size, decode: decodeUsage },
};

/** Throws internal_error for a packet that this version does not know: both sides come out of one binary. */
export function decode(received: Uint8Array): Message {
  const bytes = Buffer.from(received.buffer, received.byteOffset, received.byteLength);
  if (bytes.length < LAYOUT.fl_header.$size || bytes.readUInt16LE(LAYOUT.fl_header.magic) !== PROTOCOL.FL_PROTOCOL_MAGIC) {
    throw protocolError(`a packet of ${bytes.length} bytes is not of this protocol`);
  }
  const version = bytes.readUInt16LE(LAYOUT.fl_header.version);
  if (version !== PROTOCOL.FL_PROTOCOL_VERSION) throw protocolError(`sandboxd speaks version ${version}`);
  const type = bytes.readUInt16LE(LAYOUT.fl_header.type);
  const decoder = DECODERS[type];
  if (decoder === undefined) throw protocolError(`unknown message type ${type}`);
  if (bytes.length !== decoder.size || bytes.readUInt16LE(LAYOUT.fl_header.size) !== decoder.size) {
    throw protocolError(`message type ${type} has ${bytes.length} bytes instead of ${decoder.size}`);
  }
  return decoder.decode(bytes, readU64(bytes, LAYOUT.fl_header.request));
}

function protocolError(message: string): FlashdError {
  return new FlashdError('internal_error', { message: `control protocol: ${message}` });
}

function decodeHelloOk(bytes: Buffer): HelloOk {
  const at = LAYOUT.fl_hello_ok;
  return {
    type: 'hello-ok',
    features: bytes.readUInt32LE(at.features),
    runtimes: bytes.readUInt32LE(at.runtimes),
    instancesMax: bytes.readUInt32LE(at.instances_max),
  };
}

const RUNTIME_STATES: Readonly<Record<number, RuntimeState>> = {
  [PROTOCOL.FL_RUNTIME_BOOTING]: 'booting',
  [PROTOCOL.FL_RUNTIME_READY]: 'ready',
  [PROTOCOL.FL_RUNTIME_FAILED]: 'failed',
  [PROTOCOL.FL_RUNTIME_IDLE]: 'idle',
};

function decodeRuntime(bytes: Buffer): Runtime {
  const at = LAYOUT.fl_runtime;
  const state = bytes.readUInt32LE(at.state);
  return {
    type: 'runtime',
    index: bytes.readUInt32LE(at.index),
    state: RUNTIME_STATES[state] ?? 'failed',
    templates: bytes.readUInt32LE(at.templates),
    name: readText(bytes, at.name, PROTOCOL.FL_NAME_MAX),
    detail: readText(bytes, at.detail, at.$size - at.detail),
  };
}

function decodeCreated(bytes: Buffer, request: number): Created {
  const at = LAYOUT.fl_created;
  const phases: number[] = [];
  for (let phase = 0; phase < PROTOCOL.FL_PHASES; phase++) phases.push(bytes.readUInt32LE(at.phase_ns + 4 * phase));
  return {
    type: 'created',
    request,
    instance: readU64(bytes, at.instance),
    pid: bytes.readUInt32LE(at.pid),
    slot: bytes.readUInt32LE(at.slot),
    pooled: bytes.readUInt32LE(at.pooled) === 1,
    fromFunction: bytes.readUInt32LE(at.from_function) === 1,
    phases,
  };
}

function decodeFailed(bytes: Buffer, request: number): Failed {
  const at = LAYOUT.fl_failed;
  return {
    type: 'failed',
    request,
    code: bytes.readUInt32LE(at.code),
    errno: bytes.readInt32LE(at.errno_value),
    op: readText(bytes, at.op, at.detail - at.op),
    detail: readText(bytes, at.detail, at.$size - at.detail),
  };
}

function decodeEnded(bytes: Buffer, request: number): Ended {
  const at = LAYOUT.fl_ended;
  const how = bytes.readUInt32LE(at.how);
  return {
    type: 'ended',
    request,
    instance: readU64(bytes, at.instance),
    how: how === PROTOCOL.FL_END_EXITED ? 'exited' : how === PROTOCOL.FL_END_SIGNALED ? 'signaled' : 'destroyed',
    status: bytes.readInt32LE(at.status),
    oomKills: bytes.readUInt32LE(at.oom_kills),
    pidsRefused: bytes.readUInt32LE(at.pids_refused),
    memoryPeakBytes: readU64(bytes, at.memory_peak_bytes),
    cpuUs: readU64(bytes, at.cpu_us),
  };
}

function decodeStats(bytes: Buffer, request: number): Stats {
  const at = LAYOUT.fl_stats_ok;
  return {
    type: 'stats',
    request,
    instances: bytes.readUInt32LE(at.instances),
    spares: bytes.readUInt32LE(at.spares),
    sandboxesPooled: bytes.readUInt32LE(at.sandboxes_pooled),
    sandboxesBuilding: bytes.readUInt32LE(at.sandboxes_building),
    sandboxesEnding: bytes.readUInt32LE(at.sandboxes_ending),
    templatesReady: bytes.readUInt32LE(at.templates_ready),
    forks: readU64(bytes, at.forks),
    forksFailed: readU64(bytes, at.forks_failed),
    sandboxesBuilt: readU64(bytes, at.sandboxes_built),
    sandboxesOnDemand: readU64(bytes, at.sandboxes_on_demand),
    templateRestarts: readU64(bytes, at.template_restarts),
    templateRotations: readU64(bytes, at.template_rotations),
    layouts: bytes.readUInt32LE(at.layouts),
    functions: bytes.readUInt32LE(at.functions),
    rssBytes: readU64(bytes, at.rss_bytes),
  };
}

function decodeFrozen(bytes: Buffer, request: number): Frozen {
  const at = LAYOUT.fl_frozen;
  return { type: 'frozen', request, function: readU64(bytes, at.function), bytes: readU64(bytes, at.bytes) };
}

function decodeUsage(bytes: Buffer, request: number): Usage {
  const at = LAYOUT.fl_usage_ok;
  const count = Math.min(bytes.readUInt32LE(at.count), PROTOCOL.FL_USAGE_MAX);
  const entries: { instance: number; memoryBytes: number }[] = [];
  for (let index = 0; index < count; index++) {
    const offset = at.entry + 16 * index;
    entries.push({ instance: readU64(bytes, offset), memoryBytes: readU64(bytes, offset + 8) });
  }
  return { type: 'usage', request, more: bytes.readUInt32LE(at.more) === 1, entries };
}
