/** The result as tables for people. */
import type { Verdict } from './budgets.ts';
import type { Machine } from './machine.ts';
import type { Row } from './rows.ts';

export type Result = { readonly machine: Machine; readonly rows: readonly Row[]; readonly ratios: Readonly<Record<string, number>>; readonly budgets: readonly Verdict[] };

const COLUMNS = ['n', 'p50', 'p90', 'p99', 'min', 'max'] as const;

export function printReport({ machine, rows, ratios, budgets }: Result): void {
  console.log(`\n${machine['cpu']}, ${machine['cores']} cores, kernel ${machine['kernel']}, cgroups ${machine['cgroups']}, load ${(machine['loadAverageAtStart'] as readonly number[])[0]} at the start\n`);
  printTable([['row', 'unit', ...COLUMNS], ...rows.map(row => [row.name, row.unit, ...COLUMNS.map(column => number(row[column]))])]);
  if (Object.keys(ratios).length > 0) {
    console.log();
    printTable([['ratio of p50', ''], ...Object.entries(ratios).map(([name, ratio]) => [name, ratio.toFixed(2)])]);
  }
  if (budgets.length > 0) {
    console.log();
    printTable([['budget', 'measured', ''], ...budgets.map(({ budget, measured, met }) => [budget, measured, met ? 'met' : 'NOT MET'])]);
  }
}

function number(value: number): string {
  return Math.abs(value) >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

/** The first column is text, what follows is aligned to the right. */
function printTable(lines: readonly (readonly string[])[]): void {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map(line => line[column]!.length)));
  for (const line of lines) console.log(line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ').trimEnd());
}
