/**
 * The packaged flashd with the example functions: as it is shipped, and with no spares kept ahead of demand. A function that is kept warm for no time meets each request without an instance: every cold
 * sample must say that it came from the language template, every warm one that it did not, or the run fails.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { prepareFunctions } from '../../../build/functions.ts';
import { root } from '../../../build/steps.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { HEAVY_LANGUAGES, writeHeavy, type HeavyLanguage } from '../programs/heavy.ts';
import { ARRIVALS, LANGUAGES, MAIN_LANGUAGES, type Language, type Samples, type Series, type System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { requests, type HttpSample } from './http-client.ts';
import { latencySeries, throughputSeries, warmUp, type HttpTarget } from './warm.ts';

const COLD = 'language-template';
const FROZEN = 'function-template';
/** Language → its hello's handler. */
export const HANDLERS: Readonly<Record<Language, string>> = { python: 'handler.py', c: 'handler.so', node: 'index.mjs', java: 'Handler.java', ruby: 'handler.rb', php: 'handler.php', perl: 'handler.pl' };
/** Only spares that demand calls for, and the host ids beyond those of the flashd beside it. */
const NO_SPARES = { FLASHD_SPARES: '0', FLASHD_UID_BASE: String(2_013_265_920) };
/** Connections that each have one start outstanding. */
export const CONCURRENCIES = [1, 2, 4, 8, 16, 32, 64] as const;
/** How many instances a warm function in C may have; the last is one for each connection, as it would be without a limit. */
export const WARM_INSTANCES = [4, 16, 32] as const;
/** More than the highest concurrency, so that nothing waits for an instance. */
const COLD_INSTANCES = 256;
const KEEP_WARM_SECONDS = 3600;
export const SPARSE_GAP_US = 100_000;
/** What sandboxd does between the request for an instance and its first instruction; the rest of Server-Timing is the gateway's and the language's. */
const ASSEMBLY = ['accept', 'clone', 'namespaces', 'cgroup', 'descriptors', 'credentials', 'threads', 'seal'];

const WARM_UP = { version: '2.0', rawPath: '/', rawQueryString: '', headers: {}, requestContext: { http: { method: 'GET', path: '/' }, requestId: 'warm-up' } };

export type BenchFunction = { readonly name: string; readonly language: Language; readonly manifest: object; readonly heavy?: HeavyLanguage };
const cold = (language: Language): BenchFunction => ({ name: `cold-${language}`, language, manifest: { keepWarmSeconds: 0, standby: 0, functionTemplate: 0, maxInstances: COLD_INSTANCES } });
const frozen = (language: Language): BenchFunction => ({ name: `frozen-${language}`, language, manifest: { keepWarmSeconds: 0, standby: 0 } });
const heavy = (language: HeavyLanguage): BenchFunction[] => [0, 1].map(functionTemplate => (
  { name: `heavy-${language}-${functionTemplate}`, language, heavy: language, manifest: { keepWarmSeconds: 0, standby: 0, functionTemplate, memoryMb: 512 } }
));
const standby = (language: Language): BenchFunction => ({ name: `standby-${language}`, language, manifest: { keepWarmSeconds: 0 } });
/** Its function template was made after a call of the handler, too. */
const warmedStandby = (language: Language): BenchFunction => ({ name: `warmed-${language}`, language, manifest: { keepWarmSeconds: 0, warmup: WARM_UP } });
const warm = (language: Language, instances: number): BenchFunction => (
  { name: `warm-${language}-${instances}`, language, manifest: { keepWarmSeconds: KEEP_WARM_SECONDS, standby: 0, maxInstances: instances } }
);
export const benchFunction = (kind: 'cold' | 'standby' | 'frozen', language: Language): BenchFunction => ({ cold, standby, frozen })[kind](language);
const FUNCTIONS: readonly BenchFunction[] = [
  ...LANGUAGES.map(cold), ...LANGUAGES.map(standby), ...LANGUAGES.map(warmedStandby), ...LANGUAGES.map(frozen), ...HEAVY_LANGUAGES.flatMap(heavy), warm('python', 4), ...WARM_INSTANCES.map(instances => warm('c', instances)),
];

export function flashdSystem(workspace: Workspace): System {
  const server = new Server(workspace, {}, FUNCTIONS);
  const allWarm = (starts: readonly string[]) => expectStart(starts, 'warm');
  return {
    name: 'flashd',
    series: [
      ...allColdSeries(server, LANGUAGES, COLD, ''),
      ...LANGUAGES.map(language => sparseSeries(server.target(`standby-${language}`), `cold/${language}/standby`, 'standby')),
      ...LANGUAGES.map(language => sparseSeries(server.target(`warmed-${language}`), `cold/${language}/standby-warmed`, 'standby')),
      ...LANGUAGES.map(language => sparseSeries(server.target(`frozen-${language}`), `cold/${language}/function-template`, FROZEN)),
      ...HEAVY_LANGUAGES.flatMap(language => [COLD, FROZEN].map((start, kind) => sparseSeries(server.target(`heavy-${language}-${kind}`), `heavy/${language}/${start}`, start))),
      ...MAIN_LANGUAGES.flatMap(language => CONCURRENCIES.map(connections => concurrencySeries(server.target(`cold-${language}`), language, connections))),
      latencySeries('warm/c/latency', server.target('warm-c-4'), allWarm),
      latencySeries('warm/python/latency', server.target('warm-python-4'), allWarm),
      ...WARM_INSTANCES.map(instances => throughputSeries(`warm/c/instances-${instances}/throughput`, server.target(`warm-c-${instances}`))),
      throughputSeries('warm/python/instances-4/throughput', server.target('warm-python-4')),
    ],
    prepare: () => server.start(),
    cleanup: () => server.stop(),
  };
}

export function flashdWithoutSparesSystem(workspace: Workspace): System {
  const server = new Server(workspace, NO_SPARES, FUNCTIONS.filter(({ name, language }) => name.startsWith('cold-') && MAIN_LANGUAGES.some(each => each === language)));
  return { name: 'flashd without spares', series: allColdSeries(server, MAIN_LANGUAGES, 'spares-0', 'spares-0/'), prepare: () => server.start(), cleanup: () => server.stop() };
}

export class Server {
  readonly #workspace: Workspace;
  readonly #environment: Record<string, string>;
  readonly #functions: readonly BenchFunction[];
  /** Of the directory that they are made in: systems are prepared beside each other. */
  readonly #folder: string;
  #flashd: Flashd | undefined;

  constructor(workspace: Workspace, environment: Record<string, string>, functions: readonly BenchFunction[], folder = 'functions') {
    this.#workspace = workspace;
    this.#environment = environment;
    this.#functions = functions;
    this.#folder = folder;
  }

  target(name: string): HttpTarget {
    return { port: () => this.#flashd!.port, path: `/function/${name}` };
  }

  async start(): Promise<void> {
    await prepareFunctions();
    this.#flashd = await Flashd.start(this.#environment);
    await this.#flashd.cli('deploy', ...this.#functions.map(each => makeFunction(this.#workspace, each, this.#folder)));
    for (const { name } of this.#functions) {
      if (name.startsWith('warm-')) await warmUp(this.target(name));
      if (name.startsWith('frozen-') || /^heavy-.*-1$/.test(name)) await this.#flashd.frozen(name);
    }
  }

  async stop(): Promise<void> {
    const flashd = this.#flashd;
    this.#flashd = undefined;
    await flashd?.stop();
  }
}

export function allColdSeries(server: Server, languages: readonly string[], row: string, phasePath: string, family = 'cold'): Series[] {
  return languages.flatMap(language => ARRIVALS.map(({ suffix, gapUs }) => coldSeries(server.target(`cold-${language}`), `${family}/${language}/${row}${suffix}`, language, phasePath, suffix, gapUs)));
}

export function makeFunction(workspace: Workspace, { name, language, manifest, heavy }: BenchFunction, folder = 'functions'): string {
  const directory = join(workspace.directory, folder, name);
  const handler = HANDLERS[language];
  mkdirSync(directory, { recursive: true });
  if (heavy === undefined) cpSync(join(root, `functions/hello-${language}`, handler), join(directory, handler));
  else writeHeavy(heavy, directory);
  writeFileSync(join(directory, 'function.json'), JSON.stringify(manifest));
  return directory;
}

function expectStart(starts: readonly string[], wanted: string): void {
  const other = starts.find(start => start !== wanted);
  if (other !== undefined) throw new Error(`a start was "${other}" instead of "${wanted}"`);
}

function coldSeries(target: HttpTarget, name: string, language: string, phasePath: string, suffix: string, gapUs: number): Series {
  return {
    name,
    also: [`phase/${language}/${phasePath}`, `assembly/${language}/${phasePath}`],
    group: 'start',
    total: n => n,
    async sample(count): Promise<Samples> {
      const { samples } = await requests(target.port(), target.path, 1, count, gapUs);
      expectStart(samples.map(({ start }) => start), COLD);
      return new Map([[name, samples.map(({ us }) => us)], ...phaseRows(samples, language, phasePath, suffix)]);
    },
  };
}

/** Far enough apart for a standby or a parked fork that was taken to be replaced well before the next request. */
export function sparseSeries(target: HttpTarget, name: string, start: string): Series {
  return {
    name,
    group: 'start',
    total: n => n,
    async sample(count): Promise<Samples> {
      const { samples } = await requests(target.port(), target.path, 1, count, SPARSE_GAP_US);
      expectStart(samples.map(each => each.start), start);
      return new Map([[name, samples.map(({ us }) => us)]]);
    },
  };
}

/**
 * A row for each entry of Server-Timing. "http" is what the client saw beyond the gateway's total, "rest" what no phase covers of that total: wake-ups and first touches
 * of pages. An instance may answer before sandboxd has told of its assembly: such a response says nothing about it, and those rows have fewer samples.
 */
function phaseRows(samples: readonly HttpSample[], language: string, phasePath: string, suffix: string): Map<string, number[]> {
  const rows = new Map<string, number[]>();
  const add = (kind: string, phase: string, value: number): void => {
    const name = `${kind}/${language}/${phasePath}${phase}${suffix}`;
    const row = rows.get(name);
    if (row === undefined) rows.set(name, [value]);
    else row.push(value);
  };
  for (const { us, timing } of samples) {
    const phases = new Map(timing.split(', ').map(entry => {
      const [phase, milliseconds] = entry.split(';dur=');
      return [phase!, Number(milliseconds) * 1000] as const;
    }));
    const total = phases.get('total')!;
    add('phase', 'http', us - total);
    for (const [phase, value] of phases) add('phase', phase, value);
    if (!phases.has('accept')) continue;
    add('assembly', 'all', ASSEMBLY.reduce((sum, phase) => sum + phases.get(phase)!, 0));
    add('phase', 'rest', [...phases].reduce((left, [phase, value]) => (phase === 'total' ? left : left - value), total));
  }
  return rows;
}

export function concurrencySeries(target: HttpTarget, language: string, connections: number, family = 'cold'): Series {
  const name = `${family}/${language}/concurrency-${connections}`;
  return {
    name,
    group: 'concurrency',
    total: n => Math.max(n, 24 * connections),
    async sample(count): Promise<Samples> {
      const before = cpuTimes();
      const { samples, elapsedMs } = await requests(target.port(), target.path, connections, count, 0);
      const after = cpuTimes();
      expectStart(samples.map(({ start }) => start), COLD);
      const perSecond = count / (elapsedMs / 1000);
      return new Map([
        [name, samples.map(({ us }) => us)],
        [`${name}/throughput`, [perSecond]],
        [`${name}/throughput-per-core`, [perSecond / availableParallelism()]],
        [`${name}/cpu-busy`, [100 * (after.busy - before.busy) / (after.all - before.all)]],
      ]);
    },
  };
}

/** Of the whole machine, in ticks. */
function cpuTimes(): { busy: number; all: number } {
  const [user, nice, system, idle, ioWait, ...rest] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
  // The last two are guests' time, which user and nice contain already.
  const others = rest.slice(0, -2).reduce((sum, ticks) => sum + ticks, 0);
  const busy = user! + nice! + system! + others;
  return { busy, all: busy + idle! + ioWait! };
}
