/** What rewinding costs in memory: each instance's snapshot is a process of its own, the keeper, whose USS is what no other instance of the version shares. */
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { family, isSandboxd, member } from '../../e2e/footprint.ts';
import { LANGUAGES, type Language, type Samples, type Series, type System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { makeFunction } from './flashd.ts';
import { memoryOf } from './memory.ts';

const INSTANCES = 3;
const ROUNDS = 12;
const GAP_MS = 20;
const READY_MS = 30_000;

/** So that a function's instances are all there, and all rewound. */
export const KEPT = { requestIsolation: 'restore', maxInstances: INSTANCES, standby: INSTANCES } as const;

const keepers = (flashd: Flashd): number[] => family(member(flashd.pid, isSandboxd).pid).filter(({ name }) => name === 'flashd-keeper').map(({ pid }) => pid);

/** USS of the keeper of each instance of a function that is deployed for this, and is KEPT, in kB. It is measured until it has settled: one whose instance is a new one holds more for a moment. */
export async function snapshotsOf(flashd: Flashd, name: string, directory: string, settled: (now: readonly number[], last: readonly number[]) => boolean): Promise<readonly number[]> {
  const before = new Set(keepers(flashd));
  await flashd.cli('deploy', directory);
  let [now, last]: [number[], number[]] = [[], []];
  for (const end = performance.now() + READY_MS; (now.length < INSTANCES || !settled(now, last)) && performance.now() < end;) {
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(Array.from({ length: INSTANCES }, () => flashd.http('GET', `/function/${name}`)));
      await sleep(GAP_MS);
    }
    [now, last] = [keepers(flashd).filter(pid => !before.has(pid)).flatMap(pid => memoryOf(pid)?.uss ?? []), now];
  }
  if (now.length !== INSTANCES) throw new Error(`${name}: ${now.length} snapshots instead of ${INSTANCES}\n${flashd.output}`);
  return now;
}

export function snapshotsSystem(workspace: Workspace): System {
  let flashd: Flashd | undefined;
  const series = (language: Language): Series => ({
    name: `memory/${language}/snapshot/uss`,
    group: 'memory',
    total: () => 1,
    sample: async (): Promise<Samples> => {
      const name = `kept-${language}`;
      const now = await snapshotsOf(flashd!, name, makeFunction(workspace, { name, language, manifest: KEPT }), (now, last) => now.every((kilobytes, index) => kilobytes === last[index]));
      return new Map([[`memory/${language}/snapshot/uss`, now]]);
    },
  });
  return {
    name: 'flashd snapshots',
    series: LANGUAGES.map(series),
    prepare: async () => {
      await prepareFunctions();
      flashd = await Flashd.start();
    },
    cleanup: async () => {
      await flashd?.stop();
      flashd = undefined;
    },
  };
}
