/** Many cold starts in a row, and what they leave behind: shared by the test of leaks and the soak. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { settled, type Footprint } from './footprint.ts';

const BURST = 8;
/** Spares that nobody took go after five seconds; the pool has forgotten a demand of its ceiling (4) after six, and gives up what it kept for that, a part each second. */
const IDLE_MS = 12_000;
const SETTLE_MS = 15_000;
/** Of the server's log, told with a failure. */
const LOG_CHARACTERS = 3000;
/** Pool and spares breathe; a leak of one of anything per start is a hundred times this. */
const TOLERANCE: Footprint = { processes: 6, cgroups: 30, networks: 6, links: 6, mounts: 0, descriptors: 90, sandboxdKiB: 512 };

async function coldStarts(flashd: Flashd, name: string, count: number): Promise<void> {
  for (let done = 0; done < count; done += BURST) {
    const answers = await Promise.all(Array.from({ length: BURST }, () => flashd.http('GET', `/function/${name}`)));
    for (const answer of answers) assert.equal(answer.status, 200, `${answer.body}${flashd.output.slice(-LOG_CHARACTERS)}`);
  }
}

/** Returns the footprints before and after, for the record. */
export async function coldStartsLeaveNothing(count: number, network: 'none' | 'egress' = 'none'): Promise<{ before: Footprint; after: Footprint }> {
  const folder = join(mkdtempSync(join(tmpdir(), 'flashd-test-')), 'fresh');
  const flashd = await Flashd.start({ FLASHD_POOL_FLOOR: '4', FLASHD_POOL_CEILING: '4', FLASHD_SPARES: '2', FLASHD_SLOTS: '64', FLASHD_MAX_INSTANCES: '32' });
  try {
    writeFunction(folder, network);
    await flashd.cli('deploy', folder);
    await coldStarts(flashd, 'fresh', 200);
    await sleep(IDLE_MS);
    const before = await settled(flashd.pid, SETTLE_MS);
    await coldStarts(flashd, 'fresh', count);
    await sleep(IDLE_MS);
    const after = await settled(flashd.pid, SETTLE_MS);
    for (const what of Object.keys(TOLERANCE) as (keyof Footprint)[]) {
      assert.ok(after[what] - before[what] <= TOLERANCE[what], `${what}: ${before[what]} before, ${after[what]} after ${count} cold starts`);
    }
    return { before, after };
  } finally {
    await flashd.stop();
    rmSync(join(folder, '..'), { recursive: true });
  }
}

function writeFunction(folder: string, network: string): void {
  mkdirSync(folder);
  writeFileSync(join(folder, 'handler'), '#!/bin/sh\necho fresh\n', { mode: 0o755 });
  writeFileSync(join(folder, 'function.json'), JSON.stringify({ keepWarmSeconds: 0, maxInstances: 16, network }));
}
