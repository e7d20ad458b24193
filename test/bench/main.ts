/**
 * `npm run bench`: flashd beside docker, runc, bubblewrap, plain exec, workerd and functions-framework, in one run on one machine.
 *   choose the series → a group at a time: prepare, measure interleaved, clean up → rows, ratios, budgets → JSON, SVG, tables
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { out, run, script, step } from '../../build/steps.ts';
import { verdicts } from './budgets.ts';
import { describeMachine, describePeers } from './machine.ts';
import { GROUPS, measure, type Chosen } from './measure.ts';
import { plot } from './plot.ts';
import { printReport } from './report.ts';
import { makeRatios, makeRows, type Row } from './rows.ts';
import type { Series, System } from './series.ts';
import { bwrapSystem } from './systems/bwrap.ts';
import { diverseSystems } from './systems/diverse.ts';
import { DockerDaemon } from './systems/docker-daemon.ts';
import { dockerSystem } from './systems/docker.ts';
import { execSystem } from './systems/exec.ts';
import { filterSystem } from './systems/filter.ts';
import { flashdWithoutSparesSystem, flashdSystem } from './systems/flashd.ts';
import { floorSystem } from './systems/floor.ts';
import { functionsFrameworkSystem } from './systems/functions-framework.ts';
import { interceptionSystem } from './systems/interception.ts';
import { lightSystem } from './systems/light.ts';
import { memorySystem } from './systems/memory.ts';
import { networksSystem } from './systems/networks.ts';
import { noisySystem } from './systems/noisy.ts';
import { residentsSystem } from './systems/residents.ts';
import { rewindSystem } from './systems/rewind.ts';
import { runcSystem } from './systems/runc.ts';
import { snapshotsSystem } from './systems/snapshots.ts';
import { uwsBareSystem } from './systems/uws-bare.ts';
import { workerdSystem } from './systems/workerd.ts';
import { Workspace } from './workspace.ts';

const SAMPLES = 300;
const SAMPLES_QUICK = 60;
const USAGE = `usage: npm run bench [-- OPTION…]
  --only PATTERN  rows whose name matches the regular expression, e.g. '^(cold|docker)/python' or warm
  --n N           samples of each row (${SAMPLES}); with --quick ${SAMPLES_QUICK}
  --json FILE     where the result goes (build/out/bench/bench.json); the plot goes beside it as .svg`;

await script(async () => {
  const { values: options } = parseArgs({
    options: { json: { type: 'string' }, only: { type: 'string' }, n: { type: 'string' }, quick: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (options.help) return console.log(USAGE);
  const n = options.n === undefined ? (options.quick ? SAMPLES_QUICK : SAMPLES) : Number(options.n);
  if (!Number.isInteger(n) || n < 1) throw new Error(`--n takes a whole number\n${USAGE}`);
  if (process.geteuid!() !== 0) throw new Error('the benchmark makes sandboxes: it needs root');
  const file = options.json ?? join(out, 'bench/bench.json');

  await step('bench: install the Debian packages that heavy functions need', () => run('build/setup', ['bench']));
  const machine = describeMachine();
  const workspace = new Workspace();
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort(new Error('interrupted')));
  try {
    const chosen = choose(makeSystems(workspace), new RegExp(options.only ?? ''));
    const rows = await measureAll(workspace, chosen, n, stop.signal);
    const byName = new Map(rows.map(row => [row.name, row]));
    const ratios = makeRatios(byName);
    const result = { machine: { ...machine, peers: describePeers() }, rows, ratios, budgets: verdicts(byName, ratios) };
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(result) + '\n');
    writeFileSync(file.replace(/(\.json)?$/, '.svg'), plot(result.machine, byName));
    printReport(result);
    console.log(`\n${file}`);
  } finally {
    workspace.remove();
  }
});

function makeSystems(workspace: Workspace): System[] {
  const daemon = new DockerDaemon(workspace);
  return [
    flashdSystem(workspace), flashdWithoutSparesSystem(workspace), lightSystem(workspace), dockerSystem(daemon), runcSystem(workspace, daemon), bwrapSystem(workspace), execSystem(workspace),
    floorSystem(), uwsBareSystem(), workerdSystem(), functionsFrameworkSystem(), interceptionSystem(workspace), memorySystem(workspace), residentsSystem(workspace), filterSystem(), networksSystem(workspace), noisySystem(workspace),
    rewindSystem(workspace), snapshotsSystem(workspace), ...diverseSystems(workspace),
  ];
}

function choose(systems: readonly System[], pattern: RegExp): Chosen[] {
  const wanted = (series: Series) => [series.name, ...(series.also ?? [])].some(name => pattern.test(name));
  const chosen = systems.map(system => ({ system, series: system.series.filter(wanted) })).filter(({ series }) => series.length > 0);
  if (chosen.length === 0) throw new Error(`no row matches ${pattern}`);
  return chosen;
}

async function measureAll(workspace: Workspace, chosen: readonly Chosen[], n: number, signal: AbortSignal): Promise<Row[]> {
  const has = (...names: string[]) => chosen.some(({ system }) => names.includes(system.name));
  await workspace.prepare({ debian: has('docker', 'runc', 'bwrap'), peers: has('workerd', 'functions-framework'), rootfs: has('docker', 'runc', 'bwrap', 'exec') });
  const samples = new Map<string, readonly number[]>();
  for (const group of GROUPS) {
    const members = chosen.map(({ system, series }) => ({ system, series: series.filter(each => each.group === group.name) })).filter(({ series }) => series.length > 0);
    if (members.length === 0) continue;
    const taken = await step(`bench: ${group.title} (${members.map(({ system }) => system.name).join(', ')})`, () => measure(group, members, n, signal));
    for (const [row, values] of taken) samples.set(row, values);
  }
  return makeRows(samples);
}
