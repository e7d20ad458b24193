/**
 * Rewinding the instances of one version. A fork of the function template is described before it is told anything (sandboxd keeps the snapshot); after each response it is made into that again,
 * off the request's path, and gets an INIT, on which it renews what a fork would. What cannot be rewound is over: the next request gets another instance.
 *
 *   created ─▶ described ─INIT, ping─▶ standby ─▶ serves ─▶ rewinding ─▶ pays ─INIT, ping─▶ available ─▶ serves …
 *                 └─ refused ─▶ over: later ones are not described, and serve one request each
 */
import { availableParallelism } from 'node:os';
import type { Rewound, Sandbox } from '../sandbox/contract.ts';
import { toFlashdError } from '../errors/index.ts';
import { sharelessMs } from './policy.ts';
import type { PooledInstance } from './pooled-instance.ts';
import type { PoolCounters } from './pools.ts';

/** In a row, after which instances of this version are no longer described. */
const REFUSALS_MAX = 3;
/** Of one version: with more than there are processors each takes longer, and what they do all together becomes less. */
export const REWINDS_AT_ONCE = availableParallelism();
/** None was finished for so long: who waits is not served soon. */
const LATE_MS = 20;
/** For one that was rewound to renew itself and to answer a ping: as long as a standby has. */
const READY_MS = 30_000;
/** What an instance owes is paid once it is as much as a timer can tell. */
const PAYABLE_MS = 1;

export interface RewindHost {
  readonly spec: { readonly init: string; readonly ping: string; readonly limits: { readonly cpuMillis: number } };
  readonly sandbox: Sandbox;
  readonly counters: PoolCounters;
  /** Whether a request waits for an instance. */
  readonly waiting: boolean;
  /** It may be taken. */
  described(): void;
  rewound(instance: PooledInstance): void;
  /** What waits may fare better now. */
  retry(): void;
  rewindRefused(reason: string): void;
  /** It takes no more work, and what waits need not wait for its end. */
  replace(instance: PooledInstance): void;
}

/** Rewinds that are proven byte for byte: how many were, and the first difference. */
export type Proof = { proven: number; failure: string | undefined };

export class Rewinds {
  readonly #host: RewindHost;
  #refusals = 0;
  readonly #timers = new Map<PooledInstance, NodeJS.Timeout>();
  /** Milliseconds that an instance has to wait, since its rewinds took time of a processor of which it has but a part. */
  readonly #owed = new WeakMap<PooledInstance, number>();
  #underWay = 0;
  /** The last one comes first: what it needs is still in the processors' caches. */
  readonly #waiting: PooledInstance[] = [];
  #finishedAt = -Infinity;
  #late: NodeJS.Timeout | undefined;
  /** Why instances of this version cannot be described. */
  refusal: string | undefined;
  /** While there is one, every rewind is proven. */
  #proof: Proof | undefined;

  constructor(host: RewindHost) {
    this.#host = host;
  }

  /** Until trust is called every rewind is proven. */
  prove(): Proof {
    return (this.#proof = { proven: 0, failure: undefined });
  }

  trust(): void {
    this.#proof = undefined;
  }

  describe(instance: PooledInstance): void {
    const { sandbox, spec } = this.#host;
    sandbox.rewind('snapshot', instance.id).then(
      () => {
        this.#refusals = 0;
        if (instance.condemned) return;
        instance.rewindable = true;
        instance.begin(spec.init, spec.ping);
        this.#host.described();
      },
      (error: unknown) => {
        if (instance.condemned) return;
        this.#end(instance);
        if (++this.#refusals < REFUSALS_MAX) return;
        this.refusal = toFlashdError(error).message;
        this.#host.rewindRefused(this.refusal);
      },
    );
  }

  rewind(instance: PooledInstance): void {
    instance.rewinding = true;
    instance.idle();
    this.#waiting.push(instance);
    this.#next();
  }

  /** An instance will be available before another one could be made, which would only take from all those the processors. Who waits for that is not forgotten. */
  soon(): boolean {
    if (this.#underWay < REWINDS_AT_ONCE || performance.now() - this.#finishedAt > LATE_MS) return false;
    this.#late ??= setTimeout(() => {
      this.#late = undefined;
      this.#host.retry();
    }, LATE_MS).unref();
    return true;
  }

  #next(): void {
    for (let instance; this.#underWay < REWINDS_AT_ONCE && (instance = this.#waiting.pop()) !== undefined;) {
      if (instance.condemned) continue;
      instance.busy();
      this.#underWay++;
      void this.#begin(instance).finally(() => {
        this.#underWay--;
        this.#next();
      });
    }
  }

  #begin(instance: PooledInstance): Promise<void> {
    const proof = this.#proof;
    return this.#host.sandbox.rewind(proof === undefined ? 'rewind' : 'verify', instance.id).then(
      (rewound) => {
        if (proof !== undefined) proof.proven++;
        this.#rewound(instance, rewound);
      },
      (error: unknown) => {
        if (instance.condemned) return;
        this.#host.counters.rewindsFailed++;
        if (proof !== undefined) proof.failure ??= toFlashdError(error).message;
        this.#end(instance);
      },
    );
  }

  #rewound(instance: PooledInstance, rewound: Rewound): void {
    const { counters, spec } = this.#host;
    this.#finishedAt = performance.now();
    counters.rewinds++;
    counters.pagesRewound += rewound.writtenPages + rewound.droppedPages;
    for (const [phase, us] of rewound.phases.entries()) counters.rewindPhaseUs[phase]! += us;
    if (instance.condemned) return;
    instance.lastRewind = rewound;
    const owedMs = (this.#owed.get(instance) ?? 0) + sharelessMs(rewound.phases, spec.limits.cpuMillis), pays = owedMs >= PAYABLE_MS;
    this.#owed.set(instance, pays ? 0 : owedMs);
    if (pays) this.#timers.set(instance, setTimeout(() => this.#renew(instance), owedMs).unref());
    else this.#renew(instance);
  }

  #renew(instance: PooledInstance): void {
    const { spec, waiting } = this.#host;
    instance.begin(spec.init, waiting ? undefined : spec.ping);
    if (waiting) this.#host.rewound(instance);
    else this.#timers.set(instance, setTimeout(() => this.#end(instance), READY_MS).unref());
  }

  /** It has answered its ping, or is over. */
  settled(instance: PooledInstance): void {
    clearTimeout(this.#timers.get(instance));
    this.#timers.delete(instance);
    const index = this.#waiting.indexOf(instance);
    if (index !== -1) this.#waiting.splice(index, 1);
  }

  #end(instance: PooledInstance): void {
    this.#host.replace(instance);
    instance.destroy();
  }
}
