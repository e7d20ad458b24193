/** What the instances' system-call filters cost a program that does little else than call the system, in C and in Python: see tools/filter-cost.c. */
import { join } from 'node:path';
import { root } from '../../../build/steps.ts';
import type { Samples, Series, System } from '../series.ts';
import { compileAgainstCore, programs } from '../workspace.ts';
import { output } from './program.ts';

const KINDS = ['without', 'smallest', 'with'] as const;

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
    series: [series('', []), series('python/', ['python3', join(root, 'test/bench/programs/calls.py')])],
    prepare: () => compileAgainstCore('filter-cost'),
    async cleanup(): Promise<void> {},
  };
}
