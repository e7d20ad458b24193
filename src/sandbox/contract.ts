/**
 * What the pool may expect of the sandbox layer, and what the layer expects of whoever owns an instance.
 *
 *   create ──▶ creating ──CREATED──▶ running ──destroy, end of the data socket, ENDED──▶ ending ──▶ over
 *                 └──FAILED──▶ over        └──sandboxd lost──▶ over
 *
 * Frames may be sent from the first moment: they wait in the socket for the fork. Nothing here waits or allocates on a response's path.
 */
import type { ResponseBody } from './addon.ts';
import type { Interception, SyscallEvent } from './interception.ts';
import { PROTOCOL, type Created, type EgressPolicy, type Failed, type InstanceUsage, type Limits, type Rewound, type RuntimeState, type Stats } from './protocol.ts';

export type { Interception, SyscallEvent } from './interception.ts';
export type { Created, EgressPolicy, Failed, InstanceUsage, Limits, Rewound, RuntimeState, Stats } from './protocol.ts';

export type InstanceSpec = {
  readonly runtime: string;
  readonly limits: Limits;
  /** undefined: loopback only. */
  readonly egress?: EgressPolicy | undefined;
  /** undefined: all namespaces. */
  readonly isolation?: 'process' | undefined;
  /** undefined: its system calls are nobody's business. */
  readonly interception?: Interception | undefined;
  /** The largest response; undefined: as large as any function's may be. */
  readonly responseBodyMax?: number;
  /** Directory of the bundle; stays open and belongs to the caller. */
  readonly bundleFd: number;
  /** Meta of the INIT frame. */
  readonly init: string;
  readonly functionName: string;
  readonly version: string;
};

/** Why an instance is over. "unknown": sandboxd did not say within the time that is waited for it. */
export type InstanceEnd = {
  readonly how: 'exited' | 'signaled' | 'destroyed' | 'unknown';
  /** Exit status or signal number. */
  readonly status: number;
  readonly oomKills: number;
  readonly pidsRefused: number;
  /** It had more than it may, and was ended for that; else 0. */
  readonly sockets: number;
  readonly memoryPeakBytes: number;
  readonly cpuUs: number;
  /** What its data socket did first, if it did. */
  readonly broken: Broken | undefined;
};
export type { ResponseBody };
export type Broken = { readonly reason: string; readonly detail: string };

/** Where an instance runs: enum fl_processors, native/base/lane.h. */
export const PROCESSORS = { all: PROTOCOL.FL_PROCESSORS_ALL, lane: PROTOCOL.FL_PROCESSORS_LANE, others: PROTOCOL.FL_PROCESSORS_OTHERS } as const;
export type Processors = (typeof PROCESSORS)[keyof typeof PROCESSORS];

/** Hears of one instance. Calls come one at a time, never after a terminal one (onFailed, onEnded, onLost), of which there is exactly one. */
export interface InstanceOwner {
  onCreated(created: Created): void;
  /** Terminal. The instance never came into being: no byte that was sent to it reached user code. */
  onFailed(failed: Failed): void;
  onResponse(id: number, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void;
  onFault(id: number, fault: number, text: string, loadUs: number, handlerUs: number): void;
  /** Nothing more comes from it. It is being destroyed; onEnded follows, at the latest when the wait is over. */
  onBroken(broken: Broken): void;
  /** Terminal. */
  onEnded(end: InstanceEnd): void;
  /** Terminal: sandboxd is gone, and with it every instance. */
  onLost(): void;
}

export interface Instance {
  /** sandboxd's number of it; 0 until it is created. */
  readonly id: number;
  readonly created: Created | undefined;
  readonly labels: LogLabels;
  /** How it came about, as Addon.startTiming tells it. */
  startTiming(): string;
  /** False: nothing was sent, because the instance has broken; it is being destroyed. Chunks are copied. */
  send(id: number, flags: number, millisecondsLeft: number, meta: string, body: readonly Uint8Array[]): boolean;
  /** The INIT frame, of an instance that is rewound: before anything else, and again after each restore. It goes with what is sent next. */
  init(meta: string): void;
  /** A request that is answered without calling the handler. */
  ping(id: number, meta: string): void;
  /** A ping before which the function's own hooks run: it is about to be frozen. */
  pingToFreeze(id: number, meta: string): void;
  /** yields: whether the instances of others run before it wherever both want to. It must be created; that it ends meanwhile is fine. False: sandboxd could not be told now. */
  place(yields: boolean, processors: Processors): boolean;
  /** Idempotent. expectExit: it is ending by itself, wait a moment for its exit status. */
  destroy(expectExit?: boolean): void;
  /** As destroy, of one that works on nothing: what is left of it may become another function's, if it goes from function to function. */
  rest(): void;
}

/** Where the output of instances goes. An empty chunk ends that stream; a chunk may be reused afterwards. */
export interface LogSink {
  /** False: some of it was dropped, so that more may wait. */
  write(labels: LogLabels, stream: 1 | 2, chunk: Uint8Array): boolean;
}
/** Hears of system calls that a function's policy tells of. */
export interface SyscallSink {
  syscall(labels: LogLabels, event: SyscallEvent): void;
}
/** Of one instance: the same object for its whole life, changed as it is numbered and gets invocations ("" when several share it). */
export type LogLabels = { readonly function: string; readonly version: string; instance: number; invocation: string };

export interface SandboxListener {
  /** sandboxd has answered, or a runtime's state has changed. */
  onSandboxChange(): void;
  /** After every instance's onLost. */
  onSandboxLost(): void;
}

/** What an instance is forked from: a function template (one that is gone stands for none), or the language template. A candidate is to be frozen; ahead: no request waits for it; rewound: it is to
 * be rewound, and is told nothing, INIT included, before Instance.init is called; across: it may have been another function's, and become another's; yields, aside (on the other processors): from its start, as Instance.place has it. */
export type Origin = { readonly template: number; readonly candidate?: boolean; readonly ahead?: boolean; readonly rewound?: boolean; readonly across?: boolean; readonly yields?: boolean; readonly aside?: boolean };
/** bytes: memory that it has of its own. */
export type FunctionTemplate = { readonly template: number; readonly bytes: number };

export type Readiness = 'unavailable' | Exclude<RuntimeState, 'idle'>;

export interface Sandbox {
  /** A function needs the runtime: it is booted, now or as soon as there is a sandboxd. */
  want(runtime: string): void;
  /** "unavailable" while sandboxd is not connected; "failed" also for a runtime that it does not have. */
  readiness(runtime: string): Readiness;
  /** Why a runtime failed; of a ready one the path of its program; or "". */
  readinessDetail(runtime: string): string;
  /** Throws FlashdError (runtime_not_ready, sandbox_unavailable) when it cannot even be asked for. */
  create(spec: InstanceSpec, owner: InstanceOwner, origin?: Origin): Instance;
  /** Makes a function template of a candidate that waits; it is of no use afterwards. Rejects with a FlashdError that says what in it cannot be carried. */
  freeze(instance: Instance): Promise<FunctionTemplate>;
  forget(template: number): void;
  /** snapshot: what the instance is now; rewind: it becomes that again; verify: that is proven byte for byte. Rejects when it cannot be done; the instance ends then. */
  rewind(what: 'snapshot' | 'rewind' | 'verify', instance: number): Promise<Rewound>;
  /** A fork of a function template has served a request, or idle: stands by. The next ones are given what it wrote to ahead of need, standbys little more than they had written to before. */
  learn(instance: number, idle: boolean): void;
  /** An instance may soon be asked for: what makes it is kept in the processor's caches. */
  pulse(runtime: string, origin: Origin): void;
  /** How many instances sandboxd allows at once. */
  readonly instancesMax: number;
  /** Addon.keepLane. */
  keepLane(open: boolean): boolean;
  stats(): Promise<Stats>;
  /** By instance. */
  usage(): Promise<Map<number, InstanceUsage>>;
}

/** The bytes of a result's body. */
export function bodyBytes(body: ResponseBody): Buffer {
  return typeof body === 'string' ? Buffer.from(body, 'latin1') : Buffer.from(body ?? new ArrayBuffer(0));
}

/** Bytes of a result's body: text is latin1 here. */
export function bodyLength(body: ResponseBody): number {
  return typeof body === 'string' ? body.length : (body?.byteLength ?? 0);
}
