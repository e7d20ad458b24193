/** "isolation": "process" through the command line, HTTP and the metrics. What its instances may and may not do: test/escape/light.test.ts, test/conformance/light.test.ts. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { family } from './footprint.ts';

const PERMITTED = { FLASHD_ALLOW_PROCESS_ISOLATION: '1' };
const WAIT_MS = 10_000;
const HANDLER = 'import os\ndef handler(event, context):\n  return {"uid": os.getuid(), "pid": os.getpid()}\n';

function write(folder: string, name: string, manifest: object): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'handler.py'), HANDLER);
  writeFileSync(join(directory, 'function.json'), JSON.stringify(manifest));
  return directory;
}

test('the light class: it is refused unless the operator permits it, deployed or live', { timeout: 60_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-light-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const state = { FLASHD_STATE_DIR: join(folder, 'state') };
  chmodSync(folder, 0o755); // the gateway is not root
  mkdirSync(state.FLASHD_STATE_DIR);
  const light = write(folder, 'light', { isolation: 'process' });
  const permitting = await Flashd.start({ ...state, ...PERMITTED });
  try {
    await permitting.cli('deploy', light);
    const { uid } = JSON.parse((await permitting.http('GET', '/function/light')).body.toString()) as { uid: number };
    assert.ok(uid > 65_536, String(uid));
    const wanted = write(folder, 'wanted', { isolation: 'process', network: 'egress' });
    await assert.rejects(permitting.cli('deploy', wanted), /manifest_invalid.*no network at all/s);
  } finally {
    await permitting.stop();
  }
  const strict = await Flashd.start(state);
  t.after(() => strict.stop());
  const answer = await strict.http('GET', '/function/light');
  assert.equal(answer.status, 403);
  assert.match(answer.body.toString(), /"code":"isolation_not_allowed"/);
  const another = write(folder, 'another', { isolation: 'process' });
  await assert.rejects(strict.cli('deploy', another), /isolation_not_allowed.*allowProcessIsolation/s);
});

test('the light class: starts of every kind, whose processes nobody is left of', { timeout: 60_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-light-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const flashd = await Flashd.start(PERMITTED);
  t.after(() => flashd.stop());
  await flashd.cli('deploy', write(folder, 'cold', { isolation: 'process', keepWarmSeconds: 0, standby: 0, functionTemplate: 0 }), write(folder, 'standby', { isolation: 'process', keepWarmSeconds: 0, functionTemplate: 0 }), write(folder, 'frozen', { isolation: 'process', keepWarmSeconds: 0, standby: 0 }));
  const seen = new Set<number>();
  for (let start = 0; start < 10; start++) {
    const answer = await flashd.http('GET', '/function/cold');
    assert.deepEqual([answer.status, startOf(answer)], [200, 'language-template'], answer.body.toString());
    seen.add((JSON.parse(answer.body.toString()) as { pid: number }).pid);
  }
  assert.equal(seen.size, 10, 'each is a process of its own');
  assert.equal((await flashd.frozen('frozen')).status, 200);
  for (const end = performance.now() + WAIT_MS; startOf(await flashd.http('GET', '/function/standby')) !== 'standby'; await sleep(100)) assert.ok(performance.now() < end, 'no start from a standby');
  for (const name of ['cold', 'standby', 'frozen']) await flashd.cli('remove', name);
  // Templates and spares stay, the spares of the class only for a while.
  for (const end = performance.now() + WAIT_MS; mates(flashd.pid) > 0; await sleep(50)) assert.ok(performance.now() < end, `${mates(flashd.pid)} processes are left in the room`);
});

/** Whose user namespace is the room's, its init aside. */
function mates(supervisor: number): number {
  return family(supervisor).filter(({ pid, name }) => {
    try {
      return name !== 'flashd-init' && readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split('\n').length === 2;
    } catch {
      return false; // it has ended meanwhile
    }
  }).length;
}
