/**
 * What the instances' system-call filters cost functions that keep files, and programs that do nothing but make the kernel's shortest calls, in C and in Python: see tools/filter-cost.c. Files are in a tmpfs, as those in a sandbox are.
 */
import { join } from 'node:path';
import { root } from '../../../build/steps.ts';
import type { Samples, Series, System } from '../series.ts';
import { compileAgainstCore, compileTool, programs } from '../workspace.ts';
import { output } from './program.ts';

const KINDS = ['without', 'smallest', 'with'] as const;
const FILE = `/dev/shm/flashd-filter-files-${process.pid}`;
const python = (name: string): string[] => ['python3', join(root, 'test/bench/programs', `${name}.py`)];

function series(below: string, program: readonly string[]): Series {
  const [without, smallest, all] = KINDS.map(kind => `filter/${below}${kind}`) as [string, string, string];
  return {
    name: all,
    also: [without, smallest],
    group: 'filter',
    total: n => n,
    async sample(count): Promise<Samples> {
      const rounds = (await output(programs.filterCost, [String(count), ...program])).trim().split('\n').map(line => line.split(' ').map(ns => Number(ns) / 1000));
      return new Map([without, smallest, all].map((name, at) => [name, rounds.map(round => round[at]!)]));
    },
  };
}

export function filterSystem(): System {
  return {
    name: 'filter',
    series: [series('', []), series('python/', python('calls')), series('files/', [programs.filterFiles, FILE]), series('python-files/', [...python('files'), FILE])],
    async prepare(): Promise<void> {
      await compileAgainstCore('filter-cost');
      await compileTool('filter-files');
    },
    async cleanup(): Promise<void> {},
  };
}
