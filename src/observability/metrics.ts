/**
 * /metrics. Whoever counts, counts plain numbers in objects of its own; what is registered here is how to read them when somebody asks.
 * prom-client renders and adds the process's own metrics; nothing of it stands in a request's path.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;
export type Sample = { readonly labels: Labels; readonly value: number };
/** counts: one for each upper bound and one above the last, not cumulative. */
export type HistogramSample = { readonly labels: Labels; readonly counts: readonly number[]; readonly sum: number };

type Value = { metricName?: string; labels: Record<string, string | number>; value: number };

/** What prom-client's registry asks of a metric; its own classes keep values of their own, which ours need not. */
class ReadMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator = 'sum';
  readonly #read: () => Value[];

  constructor(name: string, help: string, type: ReadMetric['type'], read: () => Value[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#read = read;
  }

  async get() {
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values: this.#read() };
  }

  reset(): void {
    // The numbers belong to whoever counts them.
  }
}

/** How often Node samples the lag of its event loop: at its default an idle flashd would wake up a hundred times a second. */
const LOOP_SAMPLE_MS = 1000;

export class Metrics {
  readonly #registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_MS });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  counter(name: string, help: string, read: () => Iterable<Sample> | number): void {
    this.#add(new ReadMetric(name, help, 'counter', () => samples(read())));
  }

  gauge(name: string, help: string, read: () => Iterable<Sample> | number): void {
    this.#add(new ReadMetric(name, help, 'gauge', () => samples(read())));
  }

  histogram(name: string, help: string, upperBounds: readonly number[], read: () => Iterable<HistogramSample>): void {
    this.#add(
      new ReadMetric(name, help, 'histogram', () => {
        const values: Value[] = [];
        for (const sample of read()) values.push(...histogramValues(name, upperBounds, sample));
        return values;
      }),
    );
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #add(metric: ReadMetric): void {
    this.#registry.registerMetric(metric as never);
  }
}

function samples(read: Iterable<Sample> | number): Value[] {
  if (typeof read === 'number') return [{ labels: {}, value: read }];
  return Array.from(read, ({ labels, value }) => ({ labels: { ...labels }, value }));
}

function histogramValues(name: string, upperBounds: readonly number[], { labels, counts, sum }: HistogramSample): Value[] {
  let below = 0;
  const buckets = [...upperBounds.map(String), '+Inf'].map((le, index) => {
    below += counts[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: { ...labels }, value: sum },
    { metricName: `${name}_count`, labels: { ...labels }, value: below },
  ];
}
