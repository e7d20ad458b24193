/**
 * The pools' decisions as pure functions: how much an unmeasured instance counts for, which idle instance goes first, when a busy function
 * gives an instance up for one that has none. The mechanism (pools.ts, version-pool.ts) asks and obeys.
 */
const MIB = 1024 * 1024;

/** What a forked instance is taken for until it is measured: it shares its template's pages, so far below the function's limit. */
const UNMEASURED_BYTES = 16 * MIB;

export type Bounds = {
  readonly memoryBudgetBytes: number;
  readonly maxInstances: number;
};

/** Whether an instance of the one function may have been another's, and become another's again: what differs between functions has to be replaceable, and "fresh" says that it is to be new. */
export function mayGoAcross({ egress, isolation, interception, requestIsolation }: { readonly egress?: unknown; readonly isolation?: unknown; readonly interception?: unknown; readonly requestIsolation: string }): boolean {
  return egress === undefined && isolation === undefined && interception === undefined && requestIsolation !== 'fresh';
}

export type Load = {
  /** Instances that count against maxInstances: the ending ones still occupy a sandbox. */
  readonly instances: number;
  readonly ending: number;
  /** Measured or estimated bytes of the living ones. */
  readonly memoryBytes: number;
};

export function estimateBytes(memoryLimitBytes: number, lastMeasuredBytes: number): number {
  return Math.min(memoryLimitBytes, lastMeasuredBytes > 0 ? lastMeasuredBytes : UNMEASURED_BYTES);
}

/**
 * create: there is room. evict: there is after an idle instance has gone. wait: an instance that is ending will make room.
 * The first instance may always be created: a budget below one instance must not stop all service.
 */
export function admit(load: Load, bounds: Bounds, needBytes: number): 'create' | 'evict' | 'wait' {
  if (load.instances + load.ending >= bounds.maxInstances) return load.ending > 0 ? 'wait' : 'evict';
  if (load.instances > 0 && load.memoryBytes + needBytes > bounds.memoryBudgetBytes) return 'evict';
  return 'create';
}

export type Idle = { readonly idleSince: number };

/** Least recently used first. */
export function victim<T extends Idle>(candidates: Iterable<T>): T | undefined {
  let oldest: T | undefined;
  for (const candidate of candidates) {
    if (oldest === undefined || candidate.idleSince < oldest.idleSince) oldest = candidate;
  }
  return oldest;
}

/** Whether a pool that holds `size` instances and has a queue of its own should give one up for a pool that can get none. */
export function shouldYield(size: number, starvingSize: number): boolean {
  return size > starvingSize + 1;
}

/** What flashd does for an instance takes time of a whole processor: how much longer it would have taken with the instance's share. */
export function sharelessMs(phasesUs: readonly number[], cpuMillis: number): number {
  const us = phasesUs.reduce((sum, phase) => sum + phase, 0);
  return cpuMillis >= 1000 ? 0 : us / cpuMillis - us / 1000;
}
