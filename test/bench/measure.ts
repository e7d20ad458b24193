/** Takes the samples of one group: its systems prepared, its series interleaved in turns so that a drift of the machine meets all alike, everything cleaned up. */
import type { GroupName, Samples, Series, System } from './series.ts';

type Group = {
  readonly name: GroupName;
  readonly title: string;
  /** Into how many turns each series is divided. */
  turns(n: number): number;
};
export const GROUPS: readonly Group[] = [
  { name: 'start', title: 'first responses of fresh instances', turns: n => Math.ceil(n / 20) },
  { name: 'concurrency', title: 'starts at once', turns: () => 3 },
  { name: 'latency', title: 'warm latency', turns: n => n },
  { name: 'throughput', title: 'warm throughput', turns: n => Math.ceil(n / 10) },
  { name: 'memory', title: 'memory', turns: () => 1 },
  { name: 'filter', title: 'what the filters cost', turns: n => Math.ceil(n / 100) },
  { name: 'network', title: 'starts at once, in networks from the pool and in new ones', turns: () => 1 },
  { name: 'diverse', title: 'more functions than there is room for', turns: () => 3 },
  { name: 'noise', title: 'one function beside noisy ones', turns: () => 3 },
  { name: 'resident', title: 'a thousand functions at once', turns: () => 24 },
];

export type Chosen = { readonly system: System; readonly series: readonly Series[] };

export async function measure(group: Group, chosen: readonly Chosen[], n: number, signal: AbortSignal): Promise<Samples> {
  const prepared: System[] = [];
  const taken = new Map<string, number[]>();
  try {
    for (const { system } of chosen) {
      signal.throwIfAborted();
      prepared.push(system);
      await system.prepare();
    }
    const all = chosen.flatMap(({ series }) => series.map(each => new Progress(each, n, group.turns(n))));
    while (all.some(progress => progress.left > 0)) {
      for (const progress of all) {
        signal.throwIfAborted();
        await progress.turn(taken);
      }
    }
    return taken;
  } finally {
    for (const system of prepared.reverse()) await system.cleanup();
  }
}

class Progress {
  readonly #series: Series;
  readonly #perTurn: number;
  left: number;

  constructor(series: Series, n: number, turns: number) {
    this.#series = series;
    this.left = series.total(n);
    this.#perTurn = Math.ceil(this.left / turns);
  }

  async turn(taken: Map<string, number[]>): Promise<void> {
    const count = Math.min(this.#perTurn, this.left);
    if (count === 0) return;
    for (const [row, samples] of await this.#series.sample(count)) {
      const known = taken.get(row);
      if (known === undefined) taken.set(row, [...samples]);
      else known.push(...samples);
    }
    this.left -= count;
  }
}
