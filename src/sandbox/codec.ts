/** Control packets from and to bytes. sandboxd is trusted more than we are, so decoding checks only what a wrong version would get wrong: magic, version, type, size. */
import { FlashdError } from '../errors/index.ts';
import type { InstanceSpec, Origin, Processors } from './contract.ts';
import { INTERCEPT_LAYOUT, decodeSyscall, writeInterception } from './interception.ts';
import { LAYOUT, PROTOCOL, REWIND_PHASE_NAMES, type Created, type EgressPolicy, type Ended, type Failed, type Frozen, type HelloOk, type InstanceUsage, type Message, type Rewound, type Runtime, type RuntimeState, type Stats, type Usage } from './protocol.ts';

function packet(type: number, size: number, request: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_MAGIC, LAYOUT.fl_header.magic);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_VERSION, LAYOUT.fl_header.version);
  bytes.writeUInt16LE(type, LAYOUT.fl_header.type);
  bytes.writeUInt16LE(size, LAYOUT.fl_header.size);
  return renumber(bytes, request);
}

/** The same packet for another request. */
export function renumber(bytes: Buffer, request: number): Buffer {
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

const CREATE_FLAGS = {
  candidate: PROTOCOL.FL_CREATE_CANDIDATE,
  ahead: PROTOCOL.FL_CREATE_AHEAD,
  rewound: PROTOCOL.FL_CREATE_REWOUND,
  across: PROTOCOL.FL_CREATE_ACROSS,
  yields: PROTOCOL.FL_CREATE_YIELDS,
  aside: PROTOCOL.FL_CREATE_ASIDE,
} as const;

export function encodeCreate(request: number, runtime: number, { limits, egress, isolation, interception }: Pick<InstanceSpec, 'limits' | 'egress' | 'isolation' | 'interception'>, origin: Origin): Buffer {
  const at = LAYOUT.fl_create;
  const bytes = interception === undefined ? packet(PROTOCOL.FL_MSG_CREATE, at.$size, request) : packet(PROTOCOL.FL_MSG_CREATE_INTERCEPTED, INTERCEPT_LAYOUT.fl_create_intercepted.$size, request);
  bytes.writeUInt32LE(runtime, at.runtime);
  let flags = 0;
  for (const [name, flag] of Object.entries(CREATE_FLAGS) as [keyof typeof CREATE_FLAGS, number][]) if (origin[name] === true) flags |= flag;
  bytes.writeUInt32LE(flags, at.flags);
  if (origin.template !== 0) writeU64(bytes, at.function, origin.template);
  writeU64(bytes, at.limits + LAYOUT.fl_limits.memory_bytes, limits.memoryBytes);
  writeU64(bytes, at.limits + LAYOUT.fl_limits.tmp_bytes, limits.tmpBytes);
  bytes.writeUInt32LE(limits.tmpInodes, at.limits + LAYOUT.fl_limits.tmp_inodes);
  bytes.writeUInt32LE(limits.pids, at.limits + LAYOUT.fl_limits.pids);
  bytes.writeUInt32LE(limits.cpuMillis, at.limits + LAYOUT.fl_limits.cpu_millis);
  bytes.writeUInt32LE(limits.descriptors, at.limits + LAYOUT.fl_limits.descriptors);
  if (egress !== undefined) writeEgress(bytes, egress);
  if (isolation === 'process') bytes.writeUInt32LE(PROTOCOL.FL_NETWORK_LIGHT, at.network);
  if (interception !== undefined) writeInterception(bytes, interception);
  return bytes;
}

function writeEgress(bytes: Buffer, egress: EgressPolicy): void {
  const at = LAYOUT.fl_egress_policy;
  const { egress: start, network } = LAYOUT.fl_create;
  bytes.writeUInt32LE(PROTOCOL.FL_NETWORK_EGRESS, network);
  bytes.writeUInt32LE((egress.public ? PROTOCOL.FL_EGRESS_PUBLIC : 0) | (egress.names.length > 0 ? PROTOCOL.FL_EGRESS_NAMES : 0), start + at.flags);
  bytes.writeUInt32LE(egress.rules.length, start + at.rules);
  writeU64(bytes, start + at.bytes_per_second, egress.bytesPerSecond);
  for (const [index, { address, prefix, port }] of egress.rules.entries()) {
    const rule = start + at.rule + index * LAYOUT.fl_egress_rule.$size;
    bytes.writeUInt32LE(address, rule + LAYOUT.fl_egress_rule.address);
    bytes.writeUInt16LE(port, rule + LAYOUT.fl_egress_rule.port);
    bytes.writeUInt8(prefix, rule + LAYOUT.fl_egress_rule.prefix);
  }
}

/** Before the CREATE with the same request id, when its policy has names. */
export function encodeNames(request: number, names: EgressPolicy['names']): Buffer {
  const at = LAYOUT.fl_names;
  const start = LAYOUT.fl_name_list.names;
  const bytes = packet(PROTOCOL.FL_MSG_NAMES, LAYOUT.fl_name_list.$size, request);
  let text = 0;
  for (const [index, { name, wildcard, port }] of names.entries()) {
    const entry = start + at.name + index * LAYOUT.fl_name.$size;
    bytes.writeUInt16LE(port, entry + LAYOUT.fl_name.port);
    bytes.writeUInt8(name.length, entry + LAYOUT.fl_name.length);
    bytes.writeUInt8(wildcard ? 1 : 0, entry + LAYOUT.fl_name.wildcard);
    text += bytes.write(name, start + at.text + text, 'latin1');
  }
  bytes.writeUInt32LE(names.length, start + at.count);
  bytes.writeUInt32LE(text, start + at.text_bytes);
  return bytes;
}

export function encodeDestroy(request: number, instance: number, how: 'kill' | 'expect-exit' | 'rest'): Buffer {
  const at = LAYOUT.fl_destroy;
  const bytes = packet(PROTOCOL.FL_MSG_DESTROY, at.$size, request);
  writeU64(bytes, at.instance, instance);
  bytes.writeUInt32LE(how === 'kill' ? 0 : how === 'rest' ? PROTOCOL.FL_DESTROY_REST : PROTOCOL.FL_DESTROY_EXPECT_EXIT, at.flags);
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

export function encodeLearn(request: number, instance: number, idle: boolean): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_LEARN, LAYOUT.fl_learn.$size, request);
  writeU64(bytes, LAYOUT.fl_learn.instance, instance);
  writeU64(bytes, LAYOUT.fl_learn.idle, Number(idle));
  return bytes;
}

export function encodePlace(request: number, instance: number, yields: boolean, processors: Processors): Buffer {
  const bytes = packet(PROTOCOL.FL_MSG_PLACE, LAYOUT.fl_place.$size, request);
  writeU64(bytes, LAYOUT.fl_place.instance, instance);
  bytes.writeUInt32LE(yields ? 1 : 0, LAYOUT.fl_place.yields);
  bytes.writeUInt32LE(processors, LAYOUT.fl_place.processors);
  return bytes;
}

/** SNAPSHOT, REWIND or VERIFY. */
export function encodeRewind(type: number, request: number, instance: number): Buffer {
  const bytes = packet(type, LAYOUT.fl_rewind.$size, request);
  writeU64(bytes, LAYOUT.fl_rewind.instance, instance);
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
  [PROTOCOL.FL_MSG_SYSCALL]: { size: INTERCEPT_LAYOUT.fl_syscall.$size, decode: decodeSyscall },
  [PROTOCOL.FL_MSG_REWOUND]: { size: LAYOUT.fl_rewound.$size, decode: decodeRewound },
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
  return {
    type: 'created',
    request,
    instance: readU64(bytes, at.instance),
    pid: bytes.readUInt32LE(at.pid),
    slot: bytes.readUInt32LE(at.slot),
    pooled: bytes.readUInt32LE(at.pooled) === 1,
    fromFunction: bytes.readUInt32LE(at.from_function) === 1,
    reused: bytes.readUInt32LE(at.reused) === 1,
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
    sockets: bytes.readUInt32LE(at.sockets),
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
    resting: readU64(bytes, at.resting),
    rests: readU64(bytes, at.rests),
    restsFailed: readU64(bytes, at.rests_failed),
  };
}

function decodeFrozen(bytes: Buffer, request: number): Frozen {
  const at = LAYOUT.fl_frozen;
  return { type: 'frozen', request, function: readU64(bytes, at.function), bytes: readU64(bytes, at.bytes) };
}

function decodeRewound(bytes: Buffer, request: number): Rewound {
  const at = LAYOUT.fl_rewound;
  const phases = REWIND_PHASE_NAMES.map((_, phase) => bytes.readUInt32LE(at.phase_us + 4 * phase));
  return {
    type: 'rewound',
    request,
    ownPages: bytes.readUInt32LE(at.own_pages),
    writtenPages: bytes.readUInt32LE(at.written_pages),
    droppedPages: bytes.readUInt32LE(at.dropped_pages),
    mappings: bytes.readUInt32LE(at.mappings),
    phases,
  };
}

function decodeUsage(bytes: Buffer, request: number): Usage {
  const at = LAYOUT.fl_usage_ok;
  const count = Math.min(bytes.readUInt32LE(at.count), PROTOCOL.FL_USAGE_MAX);
  const entry = LAYOUT.fl_usage_entry;
  const entries = Array.from({ length: count }, (_, index): InstanceUsage => {
    const offset = at.entry + entry.$size * index;
    return { instance: readU64(bytes, offset + entry.instance), memoryBytes: readU64(bytes, offset + entry.memory_bytes), cpuUs: readU64(bytes, offset + entry.cpu_us), atUs: readU64(bytes, offset + entry.at_us) };
  });
  return { type: 'usage', request, more: bytes.readUInt32LE(at.more) === 1, entries };
}
