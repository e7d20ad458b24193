/**
 * The instances of one version: which have room (used last in, first out, so that the others can grow old), how many there may be, when an idle one has
 * been kept warm long enough; standbys are the affair of standbys.ts. Draining, it lets what runs finish and disappears with its last instance.
 */
import { closeSync, constants, openSync } from 'node:fs';
import type { EgressPolicy, InstanceEnd, InstanceSpec, InstanceUsage, Interception, Limits, LogLabels, Readiness, Sandbox } from '../sandbox/contract.ts';
import { estimateBytes, mayGoAcross, shouldYield } from './policy.ts';
import { FunctionTemplateMaker, type TemplateHost } from './function-template.ts';
import { Promptness, type Lane } from './lane.ts';
import { PooledInstance, type Work } from './pooled-instance.ts';
import type { PoolCounters, Pools } from './pools.ts';
import { Rewinds, type RewindHost } from './rewinds.ts';
import { Standbys, type StandbyHost } from './standbys.ts';
import { Restlessness } from './unasked.ts';

const RETIRE_AFTER_MS = 2;
/** What sandboxd needs at most to look at an instance's memory. */
const LEARN_MS = 200;

export type PoolSpec = {
  readonly functionName: string;
  readonly version: string;
  readonly runtime: string;
  readonly digest: string;
  readonly bundlePath: string;
  /** Meta of the INIT frame. */
  readonly init: string;
  /** Meta of a PING frame: an event of no consequence. */
  readonly ping: string;
  readonly limits: Limits;
  /** undefined: loopback only. */
  readonly egress: EgressPolicy | undefined;
  readonly isolation?: 'process' | undefined;
  /** undefined: none. */
  readonly interception?: Interception | undefined;
  readonly concurrency: number;
  /** What a request may find of those before it. */
  readonly requestIsolation: 'reuse' | 'fresh' | 'restore';
  readonly maxInstances: number;
  readonly keepWarmMs: number;
  /** Instances made ahead of need, at least. */
  readonly standbys: number;
  /** Whether a function template is made. */
  readonly functionTemplate: boolean;
  /** Meta of the REQUEST that warms it up; undefined: a ping does. */
  readonly warmUp: string | undefined;
};

/** Who has work for the instances of a pool. */
export interface Demand {
  /** An instance has room: give it work with PooledInstance.send. False when there is none. */
  feed(instance: PooledInstance): boolean;
  /** There may be room for another instance now. */
  retry(): void;
  /** Whether anything waits. */
  readonly waiting: boolean;
}

export class VersionPool implements StandbyHost, TemplateHost, RewindHost {
  readonly spec: PoolSpec;
  readonly #pools: Pools;
  readonly #demand: Demand;
  /** Those that may take more work. */
  readonly #available: PooledInstance[] = [];
  readonly #all = new Set<PooledInstance>();
  readonly standbys: Standbys;
  readonly template: FunctionTemplateMaker;
  readonly rewinds: Rewinds;
  /** Its forks of the language template may have been another function's, and become another's. */
  readonly #across: boolean;
  #instanceSpec: InstanceSpec | undefined;
  #releaseBundle: (() => void) | undefined;
  #keepWarm: NodeJS.Timeout | undefined;
  #draining = false;
  /** What it worked on last took long: its instances yield from their beginning. */
  worksLong = false;
  readonly promptness = new Promptness();
  readonly restlessness = new Restlessness();
  #measuredBytes = 0;
  /** Condemned or broken, not over yet. */
  #ending = 0;

  constructor(spec: PoolSpec, pools: Pools, demand: Demand) {
    this.spec = spec;
    this.#pools = pools;
    this.#demand = demand;
    this.#across = pools.acrossFunctions && mayGoAcross(spec);
    this.standbys = new Standbys(this, spec.standbys);
    this.template = new FunctionTemplateMaker(this, { ping: spec.ping, request: spec.warmUp }, spec.standbys > 0);
    this.rewinds = new Rewinds(this);
    this.standbys.tend();
  }

  /** What is made of it does from its beginning. */
  get yields(): boolean {
    return this.worksLong || this.restlessness.restless;
  }

  /** Without those that are ending. */
  get living(): number {
    return this.#all.size - this.#ending;
  }

  get instances(): Iterable<PooledInstance> {
    return this.#all;
  }

  get idle(): number {
    let idle = 0;
    for (const instance of this.#available) if (instance.inFlight === 0) idle++;
    return idle;
  }

  get sandbox(): Sandbox {
    return this.#pools.sandbox;
  }

  get readiness(): Readiness {
    return this.#pools.sandbox.readiness(this.spec.runtime);
  }

  get readinessDetail(): string {
    return this.#pools.sandbox.readinessDetail(this.spec.runtime);
  }

  get estimate(): number {
    return estimateBytes(this.spec.limits.memoryBytes, this.#measuredBytes);
  }

  /** FAST PATH: one with room, or a standby; SLOW PATH: a new one; undefined when there may be none now. Throws what sandbox.create throws. */
  acquire(): PooledInstance | undefined {
    const { next } = this;
    if (next !== undefined) return next;
    if (this.#draining || this.living >= this.spec.maxInstances) return undefined;
    if (this.readiness !== 'ready' || this.rewinds.soon() || !this.#pools.admit(this)) return undefined;
    const instance = this.#create();
    this.#available.push(instance);
    return instance;
  }

  /** The one that acquire would give without making one. */
  get next(): PooledInstance | undefined {
    const instance = this.#available.at(-1) ?? this.standbys.best;
    return instance?.undescribed === true ? undefined : instance;
  }

  /** Goes as a ping to the instance that the next invocation would get; where there is none, sandboxd makes near at hand what will have to be made. False: no instance got it. */
  beat(work: Work, meta: string): boolean {
    const { next } = this;
    if (next === undefined) {
      this.#pools.sandbox.pulse(this.spec.runtime, this.template.origin);
      return false;
    }
    if (next.standby) this.standbys.beaten();
    return next.beat(work, meta);
  }

  /** Makes sure that acquire will find one, where it may. One that is not acquired in this turn is an idle one like others. */
  anticipate(): void {
    if (this.next !== undefined) return;
    const instance = this.acquire();
    if (instance === undefined) return;
    setImmediate(() => {
      if (instance.inFlight === 0 && instance.answered === 0 && !instance.condemned) this.#idle(instance);
    });
  }

  createStandby(): PooledInstance | undefined {
    if (this.#draining || this.living >= this.spec.maxInstances || this.readiness !== 'ready' || !this.#pools.admitStandby(this)) return undefined;
    try {
      const rewound = this.spec.requestIsolation === 'restore' && this.template.origin.template !== 0 && this.rewinds.refusal === undefined;
      const instance = this.#create(true, rewound);
      instance.prepare(this.spec.ping, rewound);
      return instance;
    } catch (error) {
      this.#pools.report(error);
      this.standbys.failed();
      return undefined;
    }
  }

  instanceSpec(): InstanceSpec | undefined {
    if (this.#draining || this.readiness !== 'ready' || !this.#pools.admitTemplate(this)) return undefined;
    try {
      return (this.#instanceSpec ??= this.#openBundle());
    } catch (error) {
      this.#pools.report(error);
      return undefined;
    }
  }

  templateBytes(change: number): void {
    this.#pools.templateBytes(change);
  }

  templateSettled(refusal: string | undefined): void {
    if (refusal === undefined) this.standbys.renew();
    this.#pools.templateSettled(this.spec, refusal);
  }

  giveUp(instance: PooledInstance): void {
    this.evict(instance);
  }

  /** Lets what is in flight finish, then ends. */
  drain(): void {
    this.#draining = true;
    this.standbys.close();
    this.template.close();
    for (const instance of [...this.#all]) if (instance.inFlight === 0) this.evict(instance);
    this.#closeIfDrained();
  }

  /** Ends everything now. */
  destroyAll(): void {
    this.#draining = true;
    this.standbys.close();
    this.template.close();
    for (const instance of [...this.#all]) {
      this.discard(instance);
      instance.destroy();
    }
    this.#closeIfDrained();
  }

  evict(instance: PooledInstance): void {
    if (!instance.condemned) instance.leave();
    this.discard(instance);
    instance.end();
  }

  *idleInstances(): Generator<PooledInstance> {
    for (const instance of this.#available) if (instance.inFlight === 0) yield instance;
  }

  /** There may be room for another instance now. */
  get lane(): Lane {
    return this.#pools.lane;
  }

  retry(): void {
    this.#demand.retry();
  }

  /** All its instances, or those that were there already. */
  measured(usage: ReadonlyMap<number, InstanceUsage>): void {
    let share = 0;
    for (const instance of this.#all) {
      const used = usage.get(instance.id);
      if (used === undefined || instance.condemned) continue;
      this.#pools.grew(used.memoryBytes - instance.memoryBytes);
      share = Math.max(share, instance.measured(used));
      this.#measuredBytes = used.memoryBytes;
    }
    if (this.restlessness.measured(share, performance.now())) this.settle();
  }

  /** sandboxd is told where each belongs. */
  settle(): void {
    for (const instance of this.#all) instance.settle();
  }

  // What a PooledInstance tells its pool about itself.

  bound(instance: PooledInstance): void {
    this.#pools.looks.begin();
    if (!this.yields) this.#pools.lane.ask();
    if (instance.standby) {
      instance.standby = false;
      this.standbys.taken(instance);
      if (instance.inFlight < this.spec.concurrency) this.#available.push(instance);
      return;
    }
    if (instance.inFlight < this.spec.concurrency) return;
    if (this.#available.at(-1) === instance) this.#available.pop();
    else this.#unlist(instance);
  }

  /** FAST PATH: one of its slots is free again. */
  freed(instance: PooledInstance): void {
    if (instance.condemned) {
      if (instance.inFlight === 0) instance.destroy();
      return;
    }
    if (this.#draining) {
      if (instance.inFlight === 0) this.evict(instance);
      return;
    }
    if (this.spec.functionTemplate && instance.answered === 1) this.template.begin();
    const retireMs = instance.fromTemplate && this.template.learn(instance.id) ? LEARN_MS : RETIRE_AFTER_MS;
    if (instance.inFlight === 0 && this.#demand.waiting && this.#pools.starving && shouldYield(this.living, this.#pools.smallestStarving())) {
      this.evict(instance);
      return this.#pools.room();
    }
    if (instance.rewindable) return this.rewinds.rewind(instance);
    if (this.spec.requestIsolation !== 'reuse') return this.#retire(instance, retireMs);
    if (instance.inFlight === this.spec.concurrency - 1) this.#available.push(instance);
    while (this.#demand.waiting && !instance.condemned && instance.inFlight < this.spec.concurrency && this.#demand.feed(instance));
    if (instance.inFlight === 0 && !instance.condemned) this.#idle(instance, retireMs);
  }

  described(): void {
    if (this.#demand.waiting) this.#demand.retry();
  }

  /** It exists, and was told nothing yet. */
  describe(instance: PooledInstance): void {
    this.rewinds.describe(instance);
  }

  /** Its code is loaded and its pages are warm. */
  prepared(instance: PooledInstance): void {
    if (instance.rewinding) return this.rewound(instance);
    instance.idle();
    if (this.spec.functionTemplate) this.template.begin();
    if (instance.fromTemplate) this.template.learnIdle(instance.id);
    this.standbys.ready(instance);
    this.#pools.standbySettled();
  }

  /** It is what it was, and takes the next one. */
  rewound(instance: PooledInstance): void {
    this.rewinds.settled(instance);
    instance.rewinding = false;
    if (instance.condemned) return;
    if (this.#draining) return this.evict(instance);
    this.#available.push(instance);
    if (!this.#demand.waiting || !this.#demand.feed(instance)) this.#idle(instance);
  }

  get waiting(): boolean {
    return this.#demand.waiting;
  }

  get counters(): PoolCounters {
    return this.#pools.counters;
  }

  rewindRefused(reason: string): void {
    this.#pools.rewindRefused(this.spec, reason);
  }

  limitMet(labels: LogLabels, end: InstanceEnd): void {
    this.#pools.limitMet(this.spec, labels, end);
  }

  /** asTold: forked from what it was to be forked from. It may have answered already. */
  created(instance: PooledInstance, asTold: boolean, reused: boolean): void {
    this.#pools.counters.created++;
    if (reused) this.#pools.counters.reused++;
    if (!asTold) this.template.lost();
    else if (instance.fromTemplate && instance.standby && instance.answered > 0) this.template.learnIdle(instance.id);
    else if (instance.fromTemplate && instance.answered > 0) this.template.learn(instance.id);
  }

  condemn(instance: PooledInstance): void {
    this.replace(instance);
    if (instance.inFlight === 0) instance.destroy();
  }

  /** It takes no more work, and what waits need not wait for its end. */
  replace(instance: PooledInstance): void {
    this.discard(instance);
    if (this.#demand.waiting) this.#demand.retry();
  }

  /** It takes no more work. */
  discard(instance: PooledInstance): void {
    if (instance.condemned) return;
    instance.condemned = true;
    this.#unlist(instance);
    this.#unstandby(instance);
    if (!this.#all.has(instance)) return;
    this.#ending++;
    this.#pools.ending(instance);
  }

  /** It is over. */
  gone(instance: PooledInstance): void {
    if (!this.#all.delete(instance)) return;
    this.rewinds.settled(instance);
    this.#unlist(instance);
    this.#unstandby(instance);
    if (instance.condemned) this.#ending--;
    this.#pools.gone(instance);
    instance.condemned = true;
    this.standbys.roomLeft();
    this.#closeIfDrained();
    // Those that starve come first: this pool may have given the instance up for one of them.
    this.#pools.room();
    if (this.#demand.waiting) this.#demand.retry();
  }

  /** ahead: a standby; rewound: it will be rewound. */
  #create(ahead = false, rewound = false): PooledInstance {
    this.#instanceSpec ??= this.#openBundle();
    const instance = new PooledInstance(this, this.estimate);
    const { origin } = this.template;
    const across = this.#across && origin.template === 0;
    const yields = this.yields, aside = this.lane.open;
    this.template.usedAt = performance.now();
    instance.attach(this.#pools.sandbox.create(this.#instanceSpec, instance, { ...origin, ahead, rewound, across, yields, aside }), origin.template !== 0, across, yields, aside);
    this.#all.add(instance);
    this.#pools.added(instance);
    return instance;
  }

  #openBundle(): InstanceSpec {
    const { functionName, version, runtime, limits, egress, isolation, interception, init, digest, bundlePath } = this.spec;
    const bundleFd = openSync(bundlePath, constants.O_RDONLY | constants.O_DIRECTORY);
    this.#releaseBundle = this.#pools.holdBundle(digest);
    return { functionName, version, runtime, limits, egress, isolation, interception, init, bundleFd };
  }

  #unstandby(instance: PooledInstance): void {
    if (this.standbys.lost(instance)) this.#pools.standbySettled();
  }

  #unlist(instance: PooledInstance): void {
    const index = this.#available.lastIndexOf(instance);
    if (index !== -1) this.#available.splice(index, 1);
  }

  #idle(instance: PooledInstance, retireMs = RETIRE_AFTER_MS): void {
    instance.idle();
    if (this.spec.keepWarmMs === 0) return this.#retire(instance, retireMs);
    // One timer for the pool: it is due when the instance that was the first to be idle then has been so long enough, and looks again.
    this.#keepWarm ??= setTimeout(() => this.#expire(), this.spec.keepWarmMs).unref();
    this.#pools.room();
  }

  /** It has served its last request. */
  #retire(instance: PooledInstance, afterMs: number): void {
    instance.leave();
    this.replace(instance);
    // Not in this turn: the client that was just answered wants the processor.
    setTimeout(() => instance.end(), afterMs).unref();
  }

  #expire(): void {
    this.#keepWarm = undefined;
    const now = performance.now();
    let first = Infinity;
    for (const instance of [...this.idleInstances()]) {
      if (now - instance.idleSince >= this.spec.keepWarmMs) {
        this.#pools.counters.expired++;
        this.evict(instance);
      } else {
        first = Math.min(first, instance.idleSince);
      }
    }
    if (first !== Infinity) this.#keepWarm = setTimeout(() => this.#expire(), Math.ceil(first + this.spec.keepWarmMs - now)).unref();
  }

  #closeIfDrained(): void {
    if (!this.#draining || this.#all.size > 0) return;
    clearTimeout(this.#keepWarm);
    this.standbys.close();
    if (this.#instanceSpec !== undefined) closeSync(this.#instanceSpec.bundleFd);
    this.#instanceSpec = undefined;
    this.#releaseBundle?.();
    this.#releaseBundle = undefined;
    this.#pools.closed(this);
  }
}
