/**
 * All pools together: the bounds that they share (memory, instances), eviction of idle instances of one function in favour of another,
 * and the measuring of what instances really use. The creator disposes: destroyAll, then wait for `drained`.
 */
import type { InstanceEnd, InstanceUsage, LogLabels, Sandbox } from '../sandbox/contract.ts';
import { REWIND_PHASE_NAMES } from '../sandbox/protocol.ts';
import { Lane } from './lane.ts';
import { admit, victim, type Bounds } from './policy.ts';
import type { PooledInstance } from './pooled-instance.ts';
import { Looks } from './yielding.ts';
import { VersionPool, type Demand, type PoolSpec } from './version-pool.ts';

/** Of the shared bounds: what standbys may fill. */
const STANDBY_SHARE = 0.9;
/** What function templates may fill. */
const TEMPLATE_SHARE = 0.5;
/** Standbys that load their code at one time. */
const WARMING_MAX = 4;

export type PoolCounters = { created: number; reused: number; evicted: number; expired: number; rewinds: number; rewindsFailed: number; pagesRewound: number; rewindPhaseUs: number[] };

export type PoolsOptions = {
  readonly sandbox: Sandbox;
  readonly bounds: Bounds;
  readonly usageIntervalMs: number;
  /** Whether the operator permits that instances go from one function to another. */
  readonly acrossFunctions?: boolean;
  /** Keeps a bundle's files where they are until the returned function is called: instances have them mounted. */
  readonly holdBundle: (digest: string) => () => void;
  readonly report: (error: unknown) => void;
  /** A version's function template is ready, or why it will have none. */
  readonly onTemplate: (spec: PoolSpec, refusal: string | undefined) => void;
  /** Why a version's instances cannot be rewound, and serve one request each. */
  readonly onRewindRefused: (spec: PoolSpec, reason: string) => void;
  /** An instance has ended that had met a limit of its sandbox. */
  readonly onLimitMet: (spec: PoolSpec, labels: LogLabels, end: InstanceEnd) => void;
};

export class Pools {
  readonly sandbox: Sandbox;
  readonly counters: PoolCounters = { created: 0, reused: 0, evicted: 0, expired: 0, rewinds: 0, rewindsFailed: 0, pagesRewound: 0, rewindPhaseUs: REWIND_PHASE_NAMES.map(() => 0) };
  readonly looks = new Looks(() => this.#look());
  readonly lane: Lane;
  readonly #options: PoolsOptions;
  readonly #pools = new Set<VersionPool>();
  /** Those whose demand could not be met because of the shared bounds. */
  readonly #starving = new Set<VersionPool>();
  /** Those that wait with their standbys. */
  readonly #lacking = new Set<VersionPool>();
  #instances = 0;
  #ending = 0;
  #memoryBytes = 0;
  /** Of it, what function templates use. */
  #templateBytes = 0;
  #measuring: NodeJS.Timeout | undefined;
  #helping = false;
  #drained: (() => void) | undefined;

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.sandbox = options.sandbox;
    this.lane = new Lane((open) => this.#keepLane(open));
  }

  /** Living instances, the ending ones not counted. */
  get instances(): number {
    return this.#instances;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  get idle(): number {
    let idle = 0;
    for (const pool of this.#pools) idle += pool.idle;
    return idle;
  }

  get acrossFunctions(): boolean {
    return this.#options.acrossFunctions === true;
  }

  get starving(): boolean {
    return this.#starving.size > 0;
  }

  /** Living instances of the pool that has the fewest of those. */
  smallestStarving(): number {
    let smallest = Infinity;
    for (const pool of this.#starving) smallest = Math.min(smallest, pool.living);
    return smallest;
  }

  holdBundle(digest: string): () => void {
    return this.#options.holdBundle(digest);
  }

  open(spec: PoolSpec, demand: Demand): VersionPool {
    const pool = new VersionPool(spec, this, demand);
    this.#pools.add(pool);
    return pool;
  }

  destroyAll(): void {
    for (const pool of [...this.#pools]) pool.destroyAll();
  }

  /** Resolves when no instance is left. One caller at a time. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.#tellDrained();
    });
  }

  /** Whether the pool may create an instance; evicts idle ones of others for it. When not, the pool is told later through its demand's retry. */
  admit(pool: VersionPool): boolean {
    const maxInstances = Math.min(this.#options.bounds.maxInstances, this.sandbox.instancesMax);
    const bounds = { ...this.#options.bounds, maxInstances };
    for (;;) {
      const verdict = admit({ instances: this.#instances, ending: this.#ending, memoryBytes: this.#memoryBytes }, bounds, pool.estimate);
      if (verdict === 'create') {
        this.#starving.delete(pool);
        return true;
      }
      if (verdict === 'wait' || !this.#evictOne()) {
        this.#starving.add(pool);
        return false;
      }
    }
  }

  /**
   * Whether the pool may make a standby now: only where there is room without evicting anybody and something is left for demand, and a few at a time. When not, it
   * is asked again.
   */
  admitStandby(pool: VersionPool): boolean {
    let warming = 0;
    for (const each of this.#pools) warming += each.standbys.warming;
    if (this.#hasRoomAhead(pool) && warming < WARMING_MAX) {
      this.#lacking.delete(pool);
      return true;
    }
    this.#lacking.add(pool);
    return false;
  }

  /** Whether the pool may make its function template now: as a standby may be made. */
  admitTemplate(pool: VersionPool): boolean {
    return this.#hasRoomAhead(pool) && this.#templateBytes < this.#options.bounds.memoryBudgetBytes * TEMPLATE_SHARE;
  }

  templateBytes(change: number): void {
    this.#templateBytes += change;
    this.#memoryBytes += change;
  }

  rewindRefused(spec: PoolSpec, reason: string): void {
    this.#options.onRewindRefused(spec, reason);
  }

  limitMet(spec: PoolSpec, labels: LogLabels, end: InstanceEnd): void {
    this.#options.onLimitMet(spec, labels, end);
  }

  templateSettled(spec: PoolSpec, refusal: string | undefined): void {
    this.#options.onTemplate(spec, refusal);
  }

  /** A standby is ready or gone, or sandboxd's state has changed: those that wait with theirs may try again. */
  standbySettled(): void {
    for (const pool of [...this.#lacking]) {
      this.#lacking.delete(pool);
      pool.standbys.tend();
      if (this.#lacking.has(pool)) return;
    }
  }

  /** A runtime may have become ready. */
  tend(): void {
    for (const pool of this.#pools) pool.standbys.tend();
  }

  /** sandboxd is gone, and with it every function template. */
  lostTemplates(): void {
    for (const pool of this.#pools) pool.template.lost();
  }

  get standbys(): number {
    let count = 0;
    for (const pool of this.#pools) count += pool.standbys.count;
    return count;
  }

  report(error: unknown): void {
    this.#options.report(error);
  }

  // What a VersionPool tells about its instances.

  added(instance: PooledInstance): void {
    this.#instances++;
    this.#memoryBytes += instance.memoryBytes;
    this.#measuring ??= setTimeout(() => void this.#measure(), this.#options.usageIntervalMs).unref();
  }

  grew(bytes: number): void {
    this.#memoryBytes += bytes;
  }

  ending(instance: PooledInstance): void {
    this.#instances--;
    if (!instance.resting) this.#ending++;
    this.#memoryBytes -= instance.memoryBytes;
  }

  gone(instance: PooledInstance): void {
    if (instance.condemned) {
      if (!instance.resting) this.#ending--;
    } else {
      this.#instances--;
      this.#memoryBytes -= instance.memoryBytes;
    }
    this.#tellDrained();
    if (this.#lacking.size > 0) this.standbySettled();
  }

  closed(pool: VersionPool): void {
    this.#pools.delete(pool);
    this.#starving.delete(pool);
    this.#lacking.delete(pool);
  }

  /** Something has become idle or is over: whoever could get no instance may try again. */
  room(): void {
    if (this.#starving.size === 0 || this.#helping) return;
    this.#helping = true;
    try {
      for (const pool of [...this.#starving].sort((one, other) => one.living - other.living)) {
        this.#starving.delete(pool);
        pool.retry();
        if (this.#starving.has(pool)) break;
      }
    } finally {
      this.#helping = false;
    }
  }

  #hasRoomAhead(pool: VersionPool): boolean {
    const { memoryBudgetBytes, maxInstances } = this.#options.bounds;
    const room =
      this.#instances + this.#ending < Math.floor(Math.min(maxInstances, this.sandbox.instancesMax) * STANDBY_SHARE) &&
      this.#memoryBytes + pool.estimate < memoryBudgetBytes * STANDBY_SHARE;
    return room && this.#starving.size === 0;
  }

  #evictOne(): boolean {
    const oldest = victim(this.#allStandbys()) ?? victim(this.#idleInstances());
    if (oldest === undefined) return this.#evictTemplate();
    this.counters.evicted++;
    oldest.pool.evict(oldest);
    return true;
  }

  /** The one that was used longest ago. */
  #evictTemplate(): boolean {
    let oldest: VersionPool | undefined;
    for (const pool of this.#pools) if (pool.template.origin.template !== 0 && (oldest === undefined || pool.template.usedAt < oldest.template.usedAt)) oldest = pool;
    if (oldest === undefined) return false;
    this.counters.evicted++;
    oldest.template.evict();
    return true;
  }

  *#allStandbys(): Generator<PooledInstance> {
    for (const pool of this.#pools) yield* pool.standbys;
  }

  *#idleInstances(): Generator<PooledInstance> {
    for (const pool of this.#pools) yield* pool.idleInstances();
  }

  async #measure(): Promise<void> {
    try {
      if (this.#instances > 0) this.#apply(await this.sandbox.usage());
    } catch (error) {
      // sandboxd may be away; the estimates stand until it answers again.
      this.#options.report(error);
    }
    this.#measuring = this.#instances > 0 ? setTimeout(() => void this.#measure(), this.#options.usageIntervalMs).unref() : undefined;
  }

  #apply(usage: ReadonlyMap<number, InstanceUsage>): void {
    for (const pool of this.#pools) pool.measured(usage);
    while (this.#memoryBytes > this.#options.bounds.memoryBudgetBytes && this.#evictOne());
  }

  #look(): boolean {
    let busy = 0, short = 0, long = 0;
    for (const pool of this.#pools) {
      for (const instance of pool.instances) {
        if (!instance.look()) continue;
        busy++;
        if (instance.yields) long++;
        else if (pool.promptness.isShort) short++;
      }
      long += Number(pool.restlessness.restless);
    }
    if (this.lane.look(short, long, performance.now())) for (const pool of this.#pools) pool.settle();
    return busy > 0 || this.lane.open;
  }

  #keepLane(open: boolean): boolean {
    try {
      return this.sandbox.keepLane(open);
    } catch (error) {
      this.report(error);
      return false;
    }
  }

  #tellDrained(): void {
    if (this.#instances + this.#ending > 0) return;
    this.#drained?.();
    this.#drained = undefined;
  }
}
