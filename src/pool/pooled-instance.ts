/**
 * One instance in its pool: what it works on, since when it is idle, whether it may take more. It answers the sandbox layer's calls,
 * hands results to the work they belong to, and leaves every decision about itself to its pool.
 */
import { bodyLength, PROCESSORS, type Created, type Failed, type Instance, type InstanceEnd, type InstanceOwner, type InstanceUsage, type Processors, type ResponseBody, type Rewound } from '../sandbox/contract.ts';
import { Idleness } from './unasked.ts';
import type { VersionPool } from './version-pool.ts';
import { Effort } from './yielding.ts';

/** Something that an instance works on. Exactly one of onResponse, onFault and onInstanceEnd is called, unless it was abandoned. */
export interface Work {
  readonly label: string;
  onResponse(from: PooledInstance, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void;
  onFault(from: PooledInstance, fault: number, text: string, loadUs: number, handlerUs: number): void;
  onInstanceEnd(from: PooledInstance, end: WorkEnd): void;
}
export type WorkEnd = { readonly kind: 'failed'; readonly failed: Failed } | { readonly kind: 'ended'; readonly end: InstanceEnd } | { readonly kind: 'lost' };

/** Of the answer to a ping: a well-meaning instance echoes a small event. */
const PONG_BYTES_MAX = 65_536;

type Slot = { readonly id: number; readonly work: Work };

export class PooledInstance implements InstanceOwner {
  readonly #pool: VersionPool;
  /** Almost always none or one: searched in order. */
  readonly #slots: Slot[] = [];
  #instance: Instance | undefined;
  #lastId = 0;
  /** It was asked for as a fork of the function's template. */
  #fromTemplate = false;
  /** It may become another function's. */
  #across = false;
  /** It is nobody's already, as far as the shared bounds go: like sandboxd's spares. */
  resting = false;
  /** Results that it has given so far: 0 while its first one is still to come. */
  answered = 0;
  /** Monotonic milliseconds; valid while nothing is in flight. */
  idleSince = 0;
  readonly #idleness = new Idleness();
  /** Made ahead of need, and never given any work yet. */
  standby = false;
  /** It was described and can be rewound. */
  rewindable = false;
  /** How the last rewind went, for the response that comes after it. */
  lastRewind: Rewound | undefined;
  /** It is told nothing before it was described. */
  undescribed = false;
  /** It has served a request, and is not yet what it was before. */
  rewinding = false;
  #pingId = 0;
  readonly #effort = new Effort();
  /** Monotonic milliseconds: when it was sent what it works on, if that is to be judged; else 0. */
  #since = 0;
  /** It works on something long, or did last. */
  #long = false;
  /** What sandboxd was told of its place. */
  #toldYields = false;
  #toldProcessors: Processors = PROCESSORS.all;
  /** What the ping that it is answering was sent for, when not to prepare it. */
  #beat: Work | undefined;
  #beatenAt = 0;
  /** Runtimes take memory for each beat. */
  beaten = false;
  /** Takes no more work and is destroyed when what it works on is over. */
  condemned = false;
  memoryBytes: number;

  constructor(pool: VersionPool, memoryBytes: number) {
    this.#pool = pool;
    this.memoryBytes = memoryBytes;
  }

  get pool(): VersionPool {
    return this.#pool;
  }

  get id(): number {
    return this.#instance === undefined ? 0 : this.#instance.id;
  }

  get created(): Created | undefined {
    return this.#instance?.created;
  }

  get yields(): boolean {
    return this.#long || this.#pool.restlessness.restless;
  }

  /** How it came about, for Server-Timing. */
  startTiming(): string {
    return this.#instance === undefined ? '' : this.#instance.startTiming();
  }

  get inFlight(): number {
    return this.#slots.length;
  }

  /** It is a fork of the function's template, as far as is known: what was to be one may turn out not to be. */
  get fromTemplate(): boolean {
    return this.#instance?.created?.fromFunction ?? this.#fromTemplate;
  }

  /** Once, by the pool. */
  attach(instance: Instance, fromTemplate: boolean, across: boolean, yields: boolean, aside: boolean): void {
    this.#instance = instance;
    this.#fromTemplate = fromTemplate;
    this.#across = across;
    this.#long = this.#pool.worksLong;
    this.#toldYields = yields;
    this.#toldProcessors = aside ? PROCESSORS.others : PROCESSORS.all;
  }

  /** It becomes a standby: it loads the function's code and answers a ping without calling the handler. rewound: when it was described. */
  prepare(ping: string, rewound: boolean): void {
    this.standby = true;
    if (rewound) this.undescribed = true;
    else this.#ping(ping);
  }

  /** It is rewound, or it was described: it renews what it must not repeat, and answers a ping. */
  begin(init: string, ping: string | undefined): void {
    this.undescribed = false;
    this.#instance!.init(init);
    if (ping !== undefined) this.#ping(ping);
  }

  #ping(meta: string): void {
    this.#pingId = this.#nextId();
    this.#instance!.ping(this.#pingId, meta);
  }

  /** A ping that only walks the way of a request. False: nothing was sent. */
  beat(work: Work, meta: string): boolean {
    if (this.#pingId !== 0 || this.#slots.length > 0) return false;
    this.beaten = true;
    this.#beatenAt = performance.now();
    this.#pingId = this.#nextId();
    this.#beat = work;
    this.#instance!.ping(this.#pingId, meta);
    return true;
  }

  /** How the next work would find it. */
  get start(): 'warm' | 'standby' | 'function-template' | 'language-template' {
    if (this.standby || this.answered > 0) return this.standby ? 'standby' : 'warm';
    return this.#fromTemplate ? 'function-template' : 'language-template';
  }

  /** FAST PATH. False: nothing was sent, the instance is broken and no longer in the pool. */
  send(work: Work, flags: number, millisecondsLeft: number, meta: string, body: readonly Uint8Array[]): boolean {
    const id = this.#nextId();
    if (!this.#instance!.send(id, flags, millisecondsLeft, meta, body)) {
      this.#pool.discard(this);
      return false;
    }
    // Output that follows is this work's, unless several share the instance.
    this.#instance!.labels.invocation = this.#pool.spec.concurrency === 1 ? work.label : '';
    this.#slots.push({ id, work });
    this.#pool.bound(this);
    const now = performance.now();
    this.#idleness.end(now);
    this.#since = this.#pool.lane.open && this.answered > 0 ? now : 0;
    if (this.#pool.lane.open || this.#toldProcessors !== PROCESSORS.all) this.settle();
    return true;
  }

  /** What it works on is looked at now and then; whether it works on anything. */
  look(): boolean {
    const oldest = this.#slots[0]?.id ?? 0;
    if (this.#effort.look(oldest)) {
      this.#pool.worksLong = true;
      this.#isLong(true);
    }
    return oldest !== 0;
  }

  #isLong(long: boolean): void {
    this.#long = long;
    this.settle();
  }

  /** It is asked for nothing from now on. */
  idle(): void {
    this.idleSince = performance.now();
    this.#idleness.begin(this.idleSince);
  }

  /** It is to do something that is no request. */
  busy(): void {
    this.#idleness.end(performance.now());
  }

  /** Of one processor: what it took unasked since the last time. */
  measured(usage: InstanceUsage): number {
    this.memoryBytes = usage.memoryBytes;
    return this.#idleness.measured(usage, this.#pool.spec.limits.cpuMillis / 1000, performance.now());
  }

  /** sandboxd is told where it belongs, unless it knows. */
  settle(): void {
    const processors = !this.#pool.lane.open ? PROCESSORS.all : this.#pool.promptness.isShort && this.answered > 0 && !this.yields ? PROCESSORS.lane : PROCESSORS.others;
    if (this.created === undefined || (this.yields === this.#toldYields && processors === this.#toldProcessors) || !this.#instance!.place(this.yields, processors)) return;
    this.#toldYields = this.yields;
    this.#toldProcessors = processors;
  }

  /** The work is given up; the instance is destroyed: at once when nothing else is in flight, else when the rest is over. */
  abandon(work: Work): void {
    const index = this.#slots.findIndex((slot) => slot.work === work);
    if (index !== -1) this.#slots.splice(index, 1);
    this.#pool.condemn(this);
  }

  destroy(expectExit = false): void {
    this.#instance?.destroy(expectExit);
  }

  /** It is done with what it was for, and end will be called. */
  leave(): void {
    this.resting = this.#across && this.#slots.length === 0 && this.created?.reused !== false;
  }

  end(): void {
    if (this.resting) this.#instance?.rest();
    else this.destroy();
  }

  onCreated(created: Created): void {
    this.#pool.created(this, created.fromFunction === this.#fromTemplate, created.reused);
    this.#isLong(this.#pool.worksLong);
    if (this.undescribed) this.#pool.describe(this);
  }

  onFailed(failed: Failed): void {
    this.#over({ kind: 'failed', failed });
  }

  onResponse(id: number, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void {
    if (id === this.#pingId) {
      if (headers.length + bodyLength(body) > PONG_BYTES_MAX) return this.#confused(`a pong of more than ${PONG_BYTES_MAX} bytes`);
      return this.#pong(status, headers, body, loadUs, handlerUs);
    }
    const slot = this.#take(id);
    if (slot === undefined) return this.#unasked(id);
    this.answered++;
    if (this.#long && !this.#effort.isLong(id)) {
      this.#pool.worksLong = false;
      this.#isLong(false);
    }
    if (this.#since > 0) this.#pool.promptness.took(performance.now() - this.#since);
    if (this.#pool.lane.open) this.settle();
    try {
      slot.work.onResponse(this, status, headers, body, loadUs, handlerUs);
    } finally {
      this.#pool.freed(this);
    }
  }

  onFault(id: number, fault: number, text: string, loadUs: number, handlerUs: number): void {
    if (id !== 0 && id === this.#pingId) {
      this.#pingId = 0;
      // What has taken it meanwhile is told the same by the instance.
      if (this.#slots.length === 0) this.#pool.condemn(this);
      return;
    }
    // A load failure may come before the first request was read: it concerns all of them then.
    const slot = id === 0 ? this.#slots.shift() : this.#take(id);
    if (slot === undefined && id !== 0) return this.#unasked(id);
    this.#pool.condemn(this);
    slot?.work.onFault(this, fault, text, loadUs, handlerUs);
  }

  onBroken(): void {
    this.#pool.replace(this);
  }

  onEnded(end: InstanceEnd): void {
    if (end.oomKills > 0 || end.pidsRefused > 0 || end.sockets > 0) this.#pool.limitMet(this.#instance!.labels, end);
    this.#over({ kind: 'ended', end });
  }

  onLost(): void {
    this.#over({ kind: 'lost' });
  }

  /** A condemned one may be answering what was abandoned. */
  #unasked(id: number): void {
    if (!this.condemned) this.#confused(`an answer to ${id}, which is not in flight`);
  }

  /** Nothing that it says can be trusted any more. */
  #confused(detail: string): void {
    this.#pool.discard(this);
    this.destroy();
    this.#over({
      kind: 'ended',
      end: { how: 'destroyed', status: 0, oomKills: 0, pidsRefused: 0, sockets: 0, memoryPeakBytes: 0, cpuUs: 0, broken: { reason: 'garbage', detail } },
    });
  }

  #pong(status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void {
    const beat = this.#beat;
    this.#pingId = 0;
    this.#beat = undefined;
    if (beat !== undefined) {
      this.#idleness.beat(performance.now() - this.#beatenAt);
      return beat.onResponse(this, status, headers, body, loadUs, handlerUs);
    }
    this.answered++;
    if (this.#pool.lane.open) this.settle();
    this.#pool.prepared(this);
  }

  /** Never 0 and never that of another one in flight: 2^32 invocations lie between two equal ones. */
  #nextId(): number {
    return (this.#lastId = this.#lastId === 0xffff_ffff ? 1 : this.#lastId + 1);
  }

  #take(id: number): Slot | undefined {
    for (let index = 0; index < this.#slots.length; index++) {
      if (this.#slots[index]!.id === id) return this.#slots.splice(index, 1)[0];
    }
    return undefined;
  }

  #over(end: WorkEnd): void {
    const slots = this.#slots.splice(0);
    this.#pool.gone(this);
    for (const slot of slots) slot.work.onInstanceEnd(this, end);
    this.#beat?.onInstanceEnd(this, end);
    this.#beat = undefined;
  }
}
