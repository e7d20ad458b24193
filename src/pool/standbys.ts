/**
 * The standbys of one version: instances made ahead of need, with the function's code loaded and one internal ping behind them, so that their pages are warm. One is
 * replaced a moment after it was taken; while they are in demand there are more; one that is lost without having been taken (its code does not load, it ends, it was
 * evicted) is replaced after a pause, which grows until one is taken again. When there is a function template those that were made before are replaced one by one, each when its successor
 * is ready: forks of it have a fraction of their memory. So are those that the pulse has beaten, when no more requests come: they have megabytes where others have hundreds of kilobytes.
 *
 *   create ─▶ warming ─pong─▶ ready ─▶ taken (it is an ordinary instance from then on)
 *               └─ load error, end, READY_MS over, eviction ─▶ pause, then again
 */
import type { PooledInstance } from './pooled-instance.ts';

/** After one was taken: the request that took it has the processor to itself. */
const REFILL_MS = 3;
const READY_MS = 30_000;
const PAUSE_FIRST_MS = 1000;
const PAUSE_LAST_MS = 60_000;
/** Above the number wanted at least: one more for each so many taken in the last second, up to this many. */
const DEMAND_SHARE = 8;
const DEMAND_MAX = 16;
const DEMAND_WINDOW_MS = 1000;
/** Without one being taken or beaten, after which those beyond the least go. */
const IDLE_MS = 5000;

export interface StandbyHost {
  /** A new one, its ping on its way; undefined when there is no room now: tend is called again when there may be. */
  createStandby(): PooledInstance | undefined;
  /** It loaded nothing in time, or there are more than enough. */
  giveUp(instance: PooledInstance): void;
}

export class Standbys {
  readonly #host: StandbyHost;
  readonly #least: number;
  /** The warming ones first, the ready ones last. */
  readonly #list: PooledInstance[] = [];
  readonly #deadlines = new Map<PooledInstance, NodeJS.Timeout>();
  /** Those to be replaced. */
  readonly #outdated = new Set<PooledInstance>();
  #refill: NodeJS.Timeout | undefined;
  #failures = 0;
  #pausedUntil = 0;
  #taken = 0;
  #takenSince = 0;
  #usedLast = 0;
  #trim: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(host: StandbyHost, least: number) {
    this.#host = host;
    this.#least = least;
  }

  /** Without those that are being replaced. */
  get count(): number {
    return this.#list.length - this.#outdated.size;
  }

  get warming(): number {
    return this.#deadlines.size;
  }

  /** The one to take next. */
  get best(): PooledInstance | undefined {
    return this.#list.at(-1);
  }

  [Symbol.iterator](): Iterator<PooledInstance> {
    return this.#list[Symbol.iterator]();
  }

  /** Makes what is missing. */
  tend(): void {
    if (this.#closed || this.#least === 0) return;
    const now = performance.now();
    if (now < this.#pausedUntil) return this.#later(this.#pausedUntil - now);
    while (this.count < this.#wanted(now)) {
      const instance = this.#host.createStandby();
      if (instance === undefined) return;
      this.#list.unshift(instance);
      this.#deadlines.set(instance, setTimeout(() => this.#host.giveUp(instance), READY_MS).unref());
    }
  }

  /** An instance of the version is over: there may be room for one that could not be made. */
  roomLeft(): void {
    if (this.count < this.#least) this.#later(REFILL_MS);
  }

  ready(instance: PooledInstance): void {
    this.#settle(instance);
    const index = this.#list.indexOf(instance);
    if (index === -1) return;
    this.#list.splice(index, 1);
    this.#list.push(instance);
    const [outdated] = this.#outdated;
    if (outdated !== undefined && !this.#outdated.has(instance)) this.#end(outdated);
  }

  /** From now on there are better ones to be had. */
  renew(): void {
    for (const instance of this.#list) this.#outdated.add(instance);
    this.tend();
  }

  /** A request got it. */
  taken(instance: PooledInstance): void {
    const now = performance.now();
    this.#failures = 0;
    this.#taken = now - this.#takenSince > DEMAND_WINDOW_MS ? 1 : this.#taken + 1;
    if (this.#taken === 1) this.#takenSince = now;
    this.#remove(instance);
    this.#later(REFILL_MS);
    this.#trimLater(now);
  }

  /** The pulse went to one. */
  beaten(): void {
    this.#trimLater(performance.now());
  }

  /** It will not be one any more; false when it was none. */
  lost(instance: PooledInstance): boolean {
    if (!this.#remove(instance)) return false;
    this.failed();
    return true;
  }

  /** One is lost, or could not be made: it is tried again after a pause. */
  failed(): void {
    this.#pausedUntil = performance.now() + Math.min(PAUSE_LAST_MS, PAUSE_FIRST_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#later(REFILL_MS);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#refill);
    clearTimeout(this.#trim);
    for (const deadline of this.#deadlines.values()) clearTimeout(deadline);
    this.#deadlines.clear();
  }

  #wanted(now: number): number {
    const demand = now - this.#takenSince > DEMAND_WINDOW_MS ? 0 : Math.floor(this.#taken / DEMAND_SHARE);
    return this.#least + Math.min(demand, DEMAND_MAX);
  }

  #trimLater(now: number): void {
    this.#usedLast = now;
    this.#trim ??= setTimeout(() => this.#trimIdle(), IDLE_MS).unref();
  }

  #trimIdle(): void {
    this.#trim = undefined;
    const left = this.#usedLast + IDLE_MS - performance.now();
    if (left > 0) {
      this.#trim = setTimeout(() => this.#trimIdle(), left).unref();
      return;
    }
    while (this.#list.length > this.#least) this.#end(this.#list[0]!);
    for (const instance of this.#list) if (instance.beaten && instance.fromTemplate) this.#outdated.add(instance);
    this.tend();
  }

  #end(instance: PooledInstance): void {
    this.#remove(instance);
    this.#host.giveUp(instance);
  }

  #settle(instance: PooledInstance): void {
    clearTimeout(this.#deadlines.get(instance));
    this.#deadlines.delete(instance);
  }

  #remove(instance: PooledInstance): boolean {
    this.#settle(instance);
    this.#outdated.delete(instance);
    const index = this.#list.indexOf(instance);
    if (index === -1) return false;
    this.#list.splice(index, 1);
    return true;
  }

  #later(ms: number): void {
    if (this.#closed) return;
    this.#refill ??= setTimeout(() => {
      this.#refill = undefined;
      this.tend();
    }, ms).unref();
  }
}
