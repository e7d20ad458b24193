/** The one interface between the benchmark and what it measures. */

/** Row name → samples, in the order in which they were taken. */
export type Samples = ReadonlyMap<string, readonly number[]>;

export type Unit = 'us' | 's' | 'req/s' | 'starts/s' | '%' | 'kB' | 'functions';

/** Series of one group are measured together, interleaved; a group's systems are the only ones that run meanwhile. */
export type GroupName = 'start' | 'concurrency' | 'latency' | 'throughput' | 'memory' | 'resident' | 'noise' | 'network' | 'filter' | 'diverse';

export type Series = {
  /** Of its main row; others that it yields stand below the prefixes in `also`. */
  readonly name: string;
  readonly also?: readonly string[];
  readonly group: GroupName;
  /** How many samples make a row when n are asked for. */
  total(n: number): number;
  /** Takes so many samples, one after the other, and drops none. */
  sample(count: number): Promise<Samples>;
};

/** Something under test. prepare: everything that must not be measured, and a check that it works. cleanup leaves nothing, also after a prepare that failed. */
export interface System {
  readonly name: string;
  readonly series: readonly Series[];
  prepare(): Promise<void>;
  cleanup(): Promise<void>;
}

export const LANGUAGES = ['python', 'c', 'node', 'java', 'ruby', 'php', 'perl'] as const;
export type Language = (typeof LANGUAGES)[number];
/** Those that everything is measured with; the others only where languages differ. */
export const MAIN_LANGUAGES = ['python', 'c'] as const satisfies readonly Language[];
export const isMain = (language: Language): boolean => MAIN_LANGUAGES.some(each => each === language);

/** Arrivals: the next start right after the last, or after a pause, which shows stalls that a tight loop hides. */
export const ARRIVALS = [
  { suffix: '', gapUs: 0 },
  { suffix: '/gap-50ms', gapUs: 50_000 },
] as const;

export function unitOf(row: string): Unit {
  if (row.startsWith('memory/')) return 'kB';
  if (row.endsWith('-seconds')) return 's';
  if (row.includes('/count/')) return 'functions';
  if (row.endsWith('/cpu-busy') || row.endsWith('/warm')) return '%';
  if (row.endsWith('/throughput')) return /^(cold|light)\//.test(row) ? 'starts/s' : 'req/s';
  return row.endsWith('/throughput-per-core') ? 'starts/s' : 'us';
}
