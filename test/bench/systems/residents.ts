/**
 * A thousand functions in every language, resident at once, each with a standby and its function template: the first request to each of them, beside the same with one function per language on a
 * flashd of its own; how long it takes until all are there, and what they hold of memory. Turns are shared, so that whatever the machine does meets both alike.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { root } from '../../../build/steps.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { family, isGateway, isInit, isSandboxd } from '../../e2e/footprint.ts';
import { LANGUAGES, type Language, type Samples, type Series, type System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { makeFunction } from './flashd.ts';
import { requests } from './http-client.ts';
import { memoryOf, processesOf } from './memory.ts';

export const RESIDENTS = 1000;
const DEPLOYED_AT_ONCE = 100;
/** Without any change, after which it is taken for what there will be. */
const SETTLE_MS = 20_000;
const POLL_MS = 250;
const IDLE_MS = 6000;
const GAP_US = 25_000;
/** Of each language whose memory is looked at one by one. */
const WEIGHED = 20;
/** Host ids beyond those of the flashd beside it. */
const SINGLE = { FLASHD_UID_BASE: String(2_013_265_920) };

const countOf = (language: Language, all: number): number => Math.floor(all / LANGUAGES.length) + (LANGUAGES.indexOf(language) < all % LANGUAGES.length ? 1 : 0);

export function residentsSystem(workspace: Workspace): System {
  const many = new Residents(workspace, RESIDENTS, {});
  const few = new Residents(workspace, LANGUAGES.length, SINGLE);
  return {
    name: 'flashd with a thousand functions',
    series: [many.arrivalSeries(), ...LANGUAGES.flatMap(language => [few, many].map(each => each.firstSeries(language)))],
    prepare: async () => {
      await prepareFunctions();
      await few.start();
      await many.start();
    },
    cleanup: async () => {
      await many.stop();
      await few.stop();
    },
  };
}

/** A flashd with so many functions, spread over the languages. */
class Residents {
  readonly #workspace: Workspace;
  readonly #count: number;
  readonly #environment: Record<string, string>;
  readonly #next = new Map<string, number>();
  #arrival: Samples = new Map();
  #flashd: Flashd | undefined;

  constructor(workspace: Workspace, count: number, environment: Record<string, string>) {
    this.#workspace = workspace;
    this.#count = count;
    this.#environment = environment;
  }

  async start(): Promise<void> {
    const directories = LANGUAGES.flatMap(language => this.#directories(language));
    const before = available();
    const flashd = (this.#flashd = await Flashd.start(this.#environment));
    const started = performance.now();
    for (let at = 0; at < directories.length; at += DEPLOYED_AT_ONCE) await flashd.cli('deploy', ...directories.slice(at, at + DEPLOYED_AT_ONCE));
    const deployed = performance.now();
    const counts = await this.#settled(flashd);
    const settled = performance.now();
    await sleep(IDLE_MS);
    const name = (what: string): string => `resident/${this.#count}/${what}`;
    this.#arrival = new Map([
      [name('deploy-seconds'), [(deployed - started) / 1000]], [name('settle-seconds'), [(settled - deployed) / 1000]],
      ...Object.entries(counts).map(([what, value]): [string, number[]] => [name(`count/${what}`), [value]]),
      [`memory/${name('machine')}`, [before - available()]],
      ...this.#memory(flashd.pid),
    ]);
  }

  async stop(): Promise<void> {
    const flashd = this.#flashd;
    this.#flashd = undefined;
    await flashd?.stop();
  }

  /** What was measured while they came. */
  arrivalSeries(): Series {
    return { name: `resident/${this.#count}`, also: [`memory/resident/${this.#count}`], group: 'resident', total: () => 1, sample: () => Promise.resolve(this.#arrival) };
  }

  /** As many as a thousand functions have of the language, each from its standby; those that had none are in a row of their own. */
  firstSeries(language: Language): Series {
    const name = `resident/${this.#count}/${language}/first`;
    return {
      name,
      group: 'resident',
      total: () => countOf(language, RESIDENTS),
      sample: async (count): Promise<Samples> => {
        const first = this.#next.get(language) ?? 0;
        this.#next.set(language, first + count);
        const path = `/function/resident-${language}-${this.#count === RESIDENTS ? '*' : '0'}`;
        const { samples } = await requests(this.#flashd!.port, path, 1, count, GAP_US, first);
        const rows = new Map<string, number[]>();
        for (const { us, start } of samples) {
          const row = start === 'standby' ? name : `${name}/${start}`;
          rows.set(row, [...(rows.get(row) ?? []), us]);
        }
        return rows;
      },
    };
  }

  #directories(language: Language): string[] {
    const first = makeFunction(this.#workspace, { name: `resident-${language}-0`, language, manifest: { keepWarmSeconds: 0 } });
    if (language === 'java') compileJava(first);
    return Array.from({ length: countOf(language, this.#count) }, (_, index) => {
      const directory = join(first, '..', `resident-${language}-${index}`);
      if (index > 0) cpSync(first, directory, { recursive: true });
      return directory;
    });
  }

  /** Until each has a standby and a template, or whatever they have does not change any more. */
  async #settled(flashd: Flashd): Promise<Record<string, number>> {
    let last = '';
    let since = performance.now();
    for (;;) {
      const functions = JSON.parse(await flashd.cli('list', '--json')) as { name: string; template: string }[];
      const templates = functions.map(({ template }) => template);
      const metrics = (await flashd.http('GET', '/metrics')).body.toString();
      const standbys = Number(/^flashd_standbys (\d+)$/m.exec(metrics)![1]);
      const of = (...states: string[]): number => templates.filter(template => states.includes(template)).length;
      const counts = { standbys, templates: of('ready'), 'no-template': of('none', 'making'), refused: templates.length - of('ready', 'none', 'making') };
      if (standbys >= this.#count && counts.templates + counts.refused === this.#count) {
        for (const { name, template } of functions) if (!['ready', 'none', 'making'].includes(template)) console.error(`${name} has no function template: ${template}`);
        return counts;
      }
      const now = performance.now();
      if (JSON.stringify(counts) !== last) [last, since] = [JSON.stringify(counts), now];
      if (now - since > SETTLE_MS) return counts;
      await sleep(POLL_MS);
    }
  }

  #memory(supervisor: number): [string, number[]][] {
    const rows: [string, number[]][] = [];
    const processes = family(supervisor);
    const pss = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + (memoryOf(pid)?.pss ?? 0), 0);
    const add = (what: string, values: readonly number[]): void => void rows.push([`memory/resident/${this.#count}/${what}`, [...values]]);
    add('all/pss', [pss(processes.map(({ pid }) => pid))]);
    for (const [what, is] of Object.entries({ gateway: isGateway, sandboxd: isSandboxd, inits: isInit })) add(`${what}/pss`, [pss(processes.filter(is).map(({ pid }) => pid))]);
    for (const language of LANGUAGES) {
      const own = processesOf(processes, language);
      for (const [kind, row] of [['instance', 'standby'], ['template', 'function-template']] as const) {
        const weighed = own.filter(each => each.kind === kind).slice(0, WEIGHED).flatMap(({ pid }) => memoryOf(pid) ?? []);
        if (weighed.length > 0) add(`${language}/${row}/uss`, weighed.map(({ uss }) => uss));
      }
    }
    return rows;
  }
}

/** As flashd would at the deployment: compilations would be measured otherwise. */
function compileJava(directory: string): void {
  const source = join(directory, 'Handler.java');
  const shim = join(root, 'build/out/java/flashd.jar');
  execFileSync('javac', ['-proc:none', '-XDstringConcat=inline', '-cp', shim, '-d', directory, source]);
}

function available(): number {
  return Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1]);
}
