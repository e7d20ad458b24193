/** What rewinding costs in memory: the process that keeps an instance's snapshot, beside what all of a version share. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KEPT, snapshotsOf } from '../bench/systems/snapshots.ts';
import { compileHandler, LANGUAGES, root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';

const BUDGET_KB = 1024;

const folder = mkdtempSync(join(tmpdir(), 'flashd-rewind-memory-'));
let flashd: Flashd;
before(async () => {
  flashd = await Flashd.start();
});
after(async () => {
  await flashd?.stop();
  rmSync(folder, { recursive: true, force: true });
});

for (const language of LANGUAGES.filter((each) => each !== 'executable')) test(`${language}: the snapshot of each instance has no more than ${BUDGET_KB} kB of its own`, { timeout: 90_000 }, async () => {
  const name = `kept-${language}`;
  cpSync(join(root, 'test/conformance/fixtures', language, 'echo'), join(folder, name), { recursive: true });
  compileHandler(join(folder, name));
  writeFileSync(join(folder, name, 'function.json'), JSON.stringify(KEPT));
  const fits = (own: readonly number[]): boolean => own.every((kilobytes) => kilobytes <= BUDGET_KB);
  const own = await snapshotsOf(flashd, name, join(folder, name), fits);
  assert.ok(fits(own), `kB: ${own.join(', ')}`);
});
