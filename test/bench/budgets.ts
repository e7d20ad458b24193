/** What flashd promises, measured against this run. */
import { CONCURRENCIES, WARM_INSTANCES } from './systems/flashd.ts';
import { HEAVY_LANGUAGES } from './programs/heavy.ts';
import { RESIDENTS } from './systems/residents.ts';
import { HELLO_CONNECTIONS } from './systems/rewind.ts';
import type { Rows } from './rows.ts';
import { LANGUAGES, MAIN_LANGUAGES } from './series.ts';

const COLD_US = { c: 800, python: 1800 } as const;
/** From the language template, and from a standby. */
const OTHERS_US: Readonly<Record<string, number>> = { node: 3000, java: 5000, ruby: 2000, php: 2000 };
const STANDBY_US: Readonly<Record<string, number>> = { c: 300, python: 400, node: 900, java: 600 };
const FROZEN_US: Readonly<Record<string, number>> = { c: 500, python: 1000, node: 1800, java: 2200 };
const HEAVY_TIMES = 50;
/** kB that only the process itself has. */
const STANDBY_KB = (language: string): number => (language === 'node' ? 1500 : 700);
const FROZEN_KB = 2500;
const SNAPSHOT_KB = 1024;
const STARTS_PER_CORE = 500;
const DOCKER_TIMES = 150;
const RUNC_TIMES = 20;
const ADDED_US = 60;
/** The first request to any of many functions, from its standby, beside that to one of a few. */
const RESIDENT_TIMES = 2;
/** A function's requests beside others that take whatever they can get, beside those while they are silent. */
const NOISY_TIMES = 3;
/** Where processors are not yet the bound. */
const FLAT_AT = 4;
const FLAT_TIMES = 2;
/** Of a start with a network from the pool, beside one without egress, however many at once: what is not flat then is the processors'. */
const POOLED_TIMES = 1.5;
const FILTER_PERCENT = 3;
const FILTERED = [
  ['files/', 'without', 'none at all, in C that keeps files'],
  ['python-files/', 'without', 'none at all, in Python that keeps files'],
  ['python/', 'without', 'none at all, in Python that makes short calls without end'],
  ['', 'without', 'none at all, in C that makes short calls without end'],
  ['', 'smallest', 'one that permits everything, in C that makes short calls without end'],
] as const;
/** What interception adds to a start, and what one call costs that the monitor answers. */
const INTERCEPTED_START_US = 150;
const NOTIFIED_US = 12;
/** One restore after a hello. */
const REWIND_US: Readonly<Record<string, number>> = { python: 400, ruby: 600, php: 600, node: 3000, java: 6000, 'python-numpy': 2000 };
const HEAP_ADDS_US = 1000;
const REWOUND_SHARE = 0.7;
const WARM_PER_SECOND = 40_000;
/** Cores this busy are the bound of concurrent starts; less would mean that they wait for something else. */
const BUSY_PERCENT = 85;

export type Verdict = { readonly budget: string; readonly measured: string; readonly met: boolean };

/** Those whose rows this run has. */
export function verdicts(rows: Rows, ratios: Readonly<Record<string, number>>): Verdict[] {
  const list: Verdict[] = [];
  const p50 = (name: string) => rows.get(name)?.p50;
  const check = (budget: string, value: number | undefined, met: (value: number) => boolean, show: (value: number) => string): void => {
    if (value !== undefined) list.push({ budget, measured: show(value), met: met(value) });
  };
  const ms = (us: number) => `${(us / 1000).toFixed(2)} ms`;
  const times = (ratio: number) => `${ratio.toFixed(1)} ×`;
  const perSecond = (value: number) => `${Math.round(value)} req/s`;

  for (const [suffix, dashed, words] of [['', '', 'back to back'], ['/gap-50ms', '-gap-50ms', '50 ms apart']] as const) {
    for (const language of MAIN_LANGUAGES) {
      const limit = COLD_US[language];
      for (const [path, note] of [['language-template', ''], ['spares-0', ', spares 0']] as const) {
        check(`cold ${language}${note}, ${words}: p50 ≤ ${limit / 1000} ms`, p50(`cold/${language}/${path}${suffix}`), us => us <= limit, ms);
      }
    }
    for (const [system, least] of [['docker', DOCKER_TIMES], ['runc', RUNC_TIMES]] as const) {
      check(`cold python, ${words}: ≥ ${least} times faster than ${system} run`, ratios[`${system}-python${dashed}/cold-python${dashed}`], ratio => ratio >= least, times);
    }
  }
  for (const [language, limit] of Object.entries(OTHERS_US)) check(`cold ${language}, 50 ms apart: p50 ≤ ${limit / 1000} ms`, p50(`cold/${language}/language-template/gap-50ms`), us => us <= limit, ms);
  for (const [language, limit] of Object.entries(STANDBY_US)) check(`standby ${language}, 100 ms apart: p50 ≤ ${limit / 1000} ms`, p50(`cold/${language}/standby`), us => us <= limit, ms);
  for (const [language, limit] of Object.entries(FROZEN_US)) check(`function template ${language}, 100 ms apart: p50 ≤ ${limit / 1000} ms`, p50(`cold/${language}/function-template`), us => us <= limit, ms);
  for (const language of HEAVY_LANGUAGES) check(`heavy ${language}: ≥ ${HEAVY_TIMES} times faster than from nothing`, ratios[`heavy-${language}-exec/function-template`], ratio => ratio >= HEAVY_TIMES, times);
  for (const language of LANGUAGES) {
    const kilobytes = (value: number) => `${value} kB`;
    check(`idle standby ${language}: USS ≤ ${STANDBY_KB(language)} kB`, p50(`memory/${language}/standby/uss`), value => value <= STANDBY_KB(language), kilobytes);
    check(`function template ${language}: USS ≤ ${FROZEN_KB} kB`, p50(`memory/${language}/function-template/uss`), value => value <= FROZEN_KB, kilobytes);
    check(`snapshot of each instance, ${language}: USS ≤ ${SNAPSHOT_KB} kB`, rows.get(`memory/${language}/snapshot/uss`)?.max, value => value <= SNAPSHOT_KB, kilobytes);
  }
  for (const language of LANGUAGES) {
    const [many, few] = [rows.get(`resident/${RESIDENTS}/${language}/first`), rows.get(`resident/${LANGUAGES.length}/${language}/first`)];
    if (many === undefined || few === undefined) continue;
    for (const at of ['p50', 'p99'] as const) {
      check(`first request to one of ${RESIDENTS} functions, ${language}: ${at} ≤ ${RESIDENT_TIMES} × that of one alone`, many[at] / few[at], ratio => ratio <= RESIDENT_TIMES, times);
    }
  }
  check(`${RESIDENTS} functions: a standby of each`, p50(`resident/${RESIDENTS}/count/standbys`), value => value >= RESIDENTS, String);
  for (const [below, other, words] of FILTERED) {
    const [filtered, compared] = [p50(`filter/${below}with`), p50(`filter/${below}${other}`)];
    if (filtered === undefined || compared === undefined) continue;
    check(`filters: ≤ ${FILTER_PERCENT} % more than ${words}`, (filtered / compared - 1) * 100, percent => percent <= FILTER_PERCENT, percent => `${percent.toFixed(1)} %`);
  }
  const started = p50('intercept/start/none');
  for (const kind of ['audit', 'enforce']) {
    const intercepted = p50(`intercept/start/${kind}`);
    if (started !== undefined && intercepted !== undefined) check(`interception, ${kind}: ≤ ${INTERCEPTED_START_US} µs more for a start`, intercepted - started, us => us <= INTERCEPTED_START_US, us => `${us.toFixed(0)} µs`);
  }
  check(`a notified call: p50 ≤ ${NOTIFIED_US} µs`, p50('intercept/call/notified'), us => us <= NOTIFIED_US, us => `${us.toFixed(1)} µs`);
  for (const [kind, limit] of Object.entries(REWIND_US)) check(`restore ${kind}: p50 ≤ ${limit / 1000} ms`, p50(`rewind/${kind}/restore`), us => us <= limit, ms);
  const [grown, hello] = [p50('rewind/python-heap/restore'), p50('rewind/python/restore')];
  if (grown !== undefined && hello !== undefined) check(`restore python: 150 MB of heap add ≤ ${HEAP_ADDS_US / 1000} ms`, grown - hello, us => us <= HEAP_ADDS_US, ms);
  const [restored, reused] = [p50('rewind/restore/throughput'), p50('rewind/reuse/throughput')];
  if (restored !== undefined && reused !== undefined) check(`restored after each of 5 ms: ≥ ${REWOUND_SHARE * 100} % of the throughput of reuse`, (restored / reused) * 100, percent => percent >= REWOUND_SHARE * 100, percent => `${percent.toFixed(0)} %`);
  const [one, many] = HELLO_CONNECTIONS.map(connections => p50(`rewind/python/connections-${connections}/throughput`));
  if (one !== undefined && many !== undefined) check(`restored after each hello: at ${HELLO_CONNECTIONS[1]} connections no fewer than at one`, many / one, ratio => ratio >= 1, times);
  const [alone, several] = [1, FLAT_AT].map(connections => p50(`network/pooled/concurrency-${connections}`));
  if (alone !== undefined && several !== undefined) check(`networks from the pool: p50 of ${FLAT_AT} at once ≤ ${FLAT_TIMES} × that of one`, several / alone, ratio => ratio <= FLAT_TIMES, times);
  for (const connections of CONCURRENCIES) {
    const [pooled, loopback] = ['pooled', 'loopback'].map(kind => rows.get(`network/${kind}/concurrency-${connections}`));
    if (pooled === undefined || loopback === undefined) continue;
    for (const at of ['p50', 'p90'] as const) {
      check(`networks from the pool, ${connections} at once: ${at} ≤ ${POOLED_TIMES} × that without egress`, pooled[at] / loopback[at], ratio => ratio <= POOLED_TIMES, times);
    }
  }
  const [loud, quiet] = [rows.get('noisy/loud'), rows.get('noisy/quiet')];
  if (loud !== undefined && quiet !== undefined) check(`beside noisy neighbours: p99 ≤ ${NOISY_TIMES} × the quiet one`, loud.p99 / quiet.p99, ratio => ratio <= NOISY_TIMES, times);
  const busiest = Math.max(...CONCURRENCIES.filter(connections => connections <= 32));
  check(`cold python, ${busiest} at once: bound by the CPU (≥ ${BUSY_PERCENT} % busy)`, p50(`cold/python/concurrency-${busiest}/cpu-busy`), busy => busy >= BUSY_PERCENT, busy => `${busy.toFixed(0)} %`);
  check(
    `cold python, ${busiest} at once: ≥ ${STARTS_PER_CORE} starts a second and core`, p50(`cold/python/concurrency-${busiest}/throughput-per-core`),
    value => value >= STARTS_PER_CORE, value => `${Math.round(value)} a second`,
  );
  check(`warm c: the gateway adds ≤ ${ADDED_US} µs p50 to a bare server`, p50('warm/c/added'), us => us <= ADDED_US, us => `${us.toFixed(0)} µs`);
  const throughputs = WARM_INSTANCES.flatMap(instances => p50(`warm/c/instances-${instances}/throughput`) ?? []);
  const best = throughputs.length > 0 ? Math.max(...throughputs) : undefined;
  check(`warm c: ≥ ${WARM_PER_SECOND} req/s`, best, value => value >= WARM_PER_SECOND, perSecond);
  const workerd = p50('warm/workerd/throughput');
  if (workerd !== undefined) check(`warm c: above workerd (${perSecond(workerd)})`, best, value => value > workerd, perSecond);
  return list;
}
