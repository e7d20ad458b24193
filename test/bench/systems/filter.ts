/** What the instances' system-call filters cost a program that does little else than call the system: see tools/filter-cost.c. */
import type { Samples, System } from '../series.ts';
import { compileAgainstCore, programs } from '../workspace.ts';
import { output } from './program.ts';

export function filterSystem(): System {
  return {
    name: 'filter',
    series: [{
      name: 'filter/with',
      also: ['filter/without', 'filter/smallest'],
      group: 'filter',
      total: n => n,
      async sample(count): Promise<Samples> {
        const rounds = (await output(programs.filterCost, [String(count)])).trim().split('\n').map(line => line.split(' ').map(ns => Number(ns) / 1000));
        return new Map(['filter/without', 'filter/smallest', 'filter/with'].map((name, at) => [name, rounds.map(round => round[at]!)]));
      },
    }],
    prepare: () => compileAgainstCore('filter-cost'),
    async cleanup(): Promise<void> {},
  };
}
