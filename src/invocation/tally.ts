/** What happened to one function's invocations, as plain numbers: counting costs an addition, and whoever renders metrics reads them. */
import type { StartKind } from './invocation.ts';

/** Upper bounds in milliseconds; one more bucket counts what is above the last. */
export const DURATION_BUCKETS_MS = [0.5, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000] as const;

export class Tally {
  readonly starts: Record<StartKind, number> = { warm: 0, standby: 0, 'function-template': 0, 'language-template': 0 };
  /** By error code; "aborted" for results that nobody waited for any more. */
  readonly failures = new Map<string, number>();
  /** Instances that met a limit of their sandbox, however their work ended. */
  readonly limitsMet: Record<'memory' | 'pids' | 'sockets', number> = { memory: 0, pids: 0, sockets: 0 };
  succeeded = 0;
  retries = 0;
  /** Not cumulative. */
  readonly durations: number[] = new Array<number>(DURATION_BUCKETS_MS.length + 1).fill(0);
  durationSumMs = 0;

  duration(ms: number): void {
    let bucket = 0;
    while (bucket < DURATION_BUCKETS_MS.length && ms > DURATION_BUCKETS_MS[bucket]!) bucket++;
    this.durations[bucket]!++;
    this.durationSumMs += ms;
  }

  failed(code: string): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}
