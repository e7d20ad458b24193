/** From samples to rows, to the rows that follow from others, to ratios. */
import { ARRIVALS, LANGUAGES, unitOf, type Samples, type Unit } from './series.ts';
import { HEAVY_LANGUAGES } from './programs/heavy.ts';
import { WARM_INSTANCES } from './systems/flashd.ts';
import { LATENCY_TURN } from './systems/warm.ts';

export type Row = {
  readonly name: string;
  readonly unit: Unit;
  readonly n: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
};

/** Nearest rank. */
export function percentile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)]!;
}

export function makeRow(name: string, samples: readonly number[]): Row {
  const rounded = samples.map(sample => Math.round(sample * 100) / 100);
  const sorted = rounded.toSorted((a, b) => a - b);
  const at = (fraction: number) => percentile(sorted, fraction);
  return { name, unit: unitOf(name), n: samples.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), min: sorted[0]!, max: sorted.at(-1)!, samples: rounded };
}

export function makeRows(samples: Samples): Row[] {
  const rows = [...samples].map(([name, values]) => makeRow(name, values));
  return [...rows, ...addedRows(samples)];
}

/** What the gateway adds to a bare server: the difference of the medians of turns that were taken one after the other. */
function addedRows(samples: Samples): Row[] {
  const bare = samples.get('warm/uws-bare/latency');
  return LANGUAGES.flatMap(language => {
    const own = samples.get(`warm/${language}/latency`);
    if (own === undefined || bare === undefined) return [];
    const bareMedians = turnMedians(bare);
    return [makeRow(`warm/${language}/added`, turnMedians(own).map((median, turn) => median - bareMedians[turn]!))];
  });
}

function turnMedians(samples: readonly number[]): number[] {
  const medians: number[] = [];
  for (let start = 0; start < samples.length; start += LATENCY_TURN) {
    medians.push(percentile(samples.slice(start, start + LATENCY_TURN).sort((a, b) => a - b), 0.5));
  }
  return medians;
}

export type Rows = ReadonlyMap<string, Row>;

/** Of medians: how many times longer the other system takes, or how many times more flashd does. */
export function makeRatios(rows: Rows): Record<string, number> {
  const ratios: Record<string, number> = {};
  const add = (name: string, over: string, under: string): void => {
    const [a, b] = [rows.get(over), rows.get(under)];
    if (a !== undefined && b !== undefined) ratios[name] = Math.round((a.p50 / b.p50) * 100) / 100;
  };
  for (const { suffix } of ARRIVALS) {
    const dashed = suffix.replace('/', '-');
    for (const language of LANGUAGES) {
      for (const system of ['docker', 'runc', 'bwrap', 'exec']) {
        add(`${system}-${language}${dashed}/cold-${language}${dashed}`, `${system}/${language}${suffix}`, `cold/${language}/language-template${suffix}`);
      }
    }
  }
  for (const language of LANGUAGES) {
    for (const row of ['language-template', 'language-template/gap-50ms', 'function-template', 'standby', 'concurrency-32']) add(`full-${language}/light-${language}/${row}`, `cold/${language}/${row}`, `light/${language}/${row}`);
  }
  add('full/light/sandbox-build', 'sandbox/full/build', 'sandbox/process/build');
  for (const instances of WARM_INSTANCES) {
    for (const peer of ['workerd', 'functions-framework', 'uws-bare']) {
      add(`warm-c-${instances}-throughput/${peer}-throughput`, `warm/c/instances-${instances}/throughput`, `warm/${peer}/throughput`);
    }
  }
  for (const language of HEAVY_LANGUAGES) add(`heavy-${language}-exec/function-template`, `heavy/${language}/exec`, `heavy/${language}/function-template`);
  return ratios;
}
