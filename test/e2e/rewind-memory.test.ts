/** What rewinding costs in memory: the process that keeps an instance's snapshot, beside what all of a version share. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileHandler, LANGUAGES, root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';
import { family, isSandboxd, member } from './footprint.ts';

const BUDGET_KIB = 1024;
const INSTANCES = 3;
const ROUNDS = 12;
const READY_MS = 30_000;

const folder = mkdtempSync(join(tmpdir(), 'flashd-rewind-memory-'));
let flashd: Flashd;
before(async () => {
  flashd = await Flashd.start();
});
after(async () => {
  await flashd?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Pages that are a process's alone, in KiB; undefined: it has ended. */
function ownKiB(pid: number): number | undefined {
  try {
    return [...readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib), 0);
  } catch {
    return undefined;
  }
}

const keepers = (): number[] => family(member(flashd.pid, isSandboxd).pid).filter(({ name }) => name === 'flashd-keeper').map(({ pid }) => pid);

for (const language of LANGUAGES.filter((each) => each !== 'executable')) test(`${language}: the snapshot of each instance has no more than ${BUDGET_KIB} KiB of its own`, { timeout: 90_000 }, async () => {
  const before = new Set(keepers());
  const name = `kept-${language}`;
  cpSync(join(root, 'test/conformance/fixtures', language, 'echo'), join(folder, name), { recursive: true });
  compileHandler(join(folder, name));
  writeFileSync(join(folder, name, 'function.json'), JSON.stringify({ requestIsolation: 'restore', maxInstances: INSTANCES, standby: INSTANCES }));
  await flashd.cli('deploy', join(folder, name));
  let own: number[] = [];
  // One that is being described, because its instance is a new one, holds more for a moment.
  for (const end = performance.now() + READY_MS; (own.length < INSTANCES || own.some((kib) => kib > BUDGET_KIB)) && performance.now() < end; ) {
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(Array.from({ length: INSTANCES }, () => flashd.http('GET', `/function/${name}`)));
      await sleep(20);
    }
    own = keepers().filter((pid) => !before.has(pid)).flatMap((pid) => ownKiB(pid) ?? []);
  }
  assert.equal(own.length, INSTANCES);
  assert.ok(own.every((kib) => kib <= BUDGET_KIB), `KiB: ${own.join(', ')}`);
});
