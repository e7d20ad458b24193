/**
 * What an idle standby, a frozen function template and an instance that has served a request hold of memory, in kB: USS (pages that are its own alone) and PSS (those that it shares, divided by
 * how many share them), as /proc/PID/smaps_rollup tells.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { Flashd, startOf } from '../../conformance/packaged.ts';
import { family, type Process } from '../../e2e/footprint.ts';
import { RUNTIMES } from '../../../src/runtimes/index.ts';
import { LANGUAGES, type Language, type Samples, type Series, type System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { makeFunction } from './flashd.ts';

/** V8 and HotSpot tidy up five to eight seconds after they were last at work. */
const IDLE_MS = 10_000;
const KINDS = ['standby', 'function-template', 'used'] as const;
type Kind = (typeof KINDS)[number];

export function memorySystem(workspace: Workspace): System {
  let flashd: Flashd | undefined;
  const name = (language: string): string => `memory-${language}`;
  const series = (language: Language): Series => ({
    name: `memory/${language}`,
    group: 'memory',
    total: () => 1,
    sample: () => measure(flashd!, name(language), language),
  });
  return {
    name: 'flashd memory',
    series: LANGUAGES.map(series),
    prepare: async () => {
      await prepareFunctions();
      flashd = await Flashd.start();
      await flashd.cli('deploy', ...LANGUAGES.map(language => makeFunction(workspace, { name: name(language), language, manifest: { standby: 1 } })));
      while (!(JSON.parse(await flashd.cli('list', '--json')) as { template: string }[]).every(({ template }) => template === 'ready')) await sleep(100);
      await sleep(IDLE_MS);
    },
    cleanup: async () => {
      await flashd?.stop();
      flashd = undefined;
    },
  };
}

async function measure(flashd: Flashd, name: string, language: string): Promise<Samples> {
  const before = processesOf(family(flashd.pid), language);
  const standby = before.find(({ kind }) => kind === 'instance')!.pid;
  const samples = new Map([...rows(language, 'standby', standby), ...rows(language, 'function-template', before.find(({ kind }) => kind === 'template')!.pid)]);
  const answer = await flashd.http('GET', `/function/${name}`);
  if (startOf(answer) !== 'standby') throw new Error(`a start was "${startOf(answer)}" instead of "standby"`);
  await sleep(IDLE_MS);
  return new Map([...samples, ...rows(language, 'used', standby)]);
}

/** Of a flashd's processes those that have the function's directory mounted; a template is root's. */
export function processesOf(processes: readonly Process[], language: string): { pid: number; kind: 'instance' | 'template' }[] {
  const mark = RUNTIMES.get(language === 'c' ? 'native' : language)!.argv.at(-2)!;
  return processes.filter(({ command }) => command.includes(mark)).flatMap(({ pid }) => {
    const kind = kindOf(pid);
    return kind === undefined ? [] : [{ pid, kind }];
  });
}

/** undefined: it is no function's, or has ended meanwhile. */
function kindOf(pid: number): 'instance' | 'template' | undefined {
  try {
    if (!/ \/function /.test(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))) return undefined;
    if (/^Uid:\t0\t/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return 'template';
    return readlinkSync(`/proc/${pid}/cwd`) === '/function' ? 'instance' : undefined;
  } catch {
    return undefined;
  }
}

function rows(language: string, kind: Kind, pid: number): [string, number[]][] {
  const { uss, pss } = memoryOf(pid)!;
  return [[`memory/${language}/${kind}/uss`, [uss]], [`memory/${language}/${kind}/pss`, [pss]]];
}

/** In kB; undefined when the process has ended meanwhile. */
export function memoryOf(pid: number): { readonly uss: number; readonly pss: number } | undefined {
  let text: string;
  try {
    text = readFileSync(join('/proc', String(pid), 'smaps_rollup'), 'utf8');
  } catch {
    return undefined;
  }
  const field = (label: string): number => Number(new RegExp(`^${label}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  return { uss: field('Private_Clean') + field('Private_Dirty'), pss: field('Pss') };
}
