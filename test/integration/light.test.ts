/** The light class below the gateway: by the C program that lives in it, and by a gateway that asks for what it may not have. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { encodePack, readRuntimes } from '../../build/pack-runtimes.ts';
import { PROTOCOL } from '../../src/sandbox/protocol.ts';
import { cgroupsNamed, hostMounts, runProgram } from './fixtures/native-program.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const sandboxd = join(import.meta.dirname, '../../build/out/native/sandboxd');

test('one is kept from another, whatever forks is ended, a dead room is replaced, and the host is left as it was', async () => {
  const before = hostMounts();
  const { status, stderr, pid } = await runProgram('light');
  assert.equal(status, 0, stderr);
  assert.equal(hostMounts(), before);
  assert.deepEqual(cgroupsNamed(`flashd-light-${pid}`), []);
});

/** A gateway that asks for so many instances of the light class; permitted: what sandboxd was told of the operator. */
function ask(t: TestContext, runtime: string, count: number, permitted: boolean): { status: number | null; stdout: string; stderr: string } {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'function'));
  writeFileSync(join(folder, 'function/handler.py'), 'import os\ndef handler(event, context):\n  return [os.getpid(), os.getuid(), os.getcwd()]\n');
  writeFileSync(join(folder, 'pack'), encodePack(readRuntimes().filter(({ name }) => name === runtime)));
  const args = [join(fixtures, 'drive.py'), sandboxd, join(folder, 'pack'), join(folder, 'function'), `${count}`, '0', `${PROTOCOL.FL_NETWORK_LIGHT}`, permitted ? '1' : '0'];
  return spawnSync('/usr/bin/python3', args, { timeout: 60_000, encoding: 'utf8' });
}

test('sandboxd refuses it too, whatever the gateway asks for: when the operator does not permit it, and for a runtime that keeps its process id', (t) => {
  const refused = ask(t, 'python', 1, false);
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /FAILED.*the operator does not permit the light class/);
  const kept = ask(t, 'ruby', 1, true);
  assert.notEqual(kept.status, 0);
  assert.match(kept.stderr, /FAILED.*ruby keeps its process id/);
});

test('what it permits has a process id and a uid of its own', (t) => {
  const { status, stdout, stderr } = ask(t, 'python', 10, true);
  assert.equal(status, 0, stderr);
  const answers = JSON.parse(stdout) as [number, number, string][];
  assert.deepEqual(answers.map(([, , directory]) => directory), answers.map(() => '/function'));
  assert.equal(new Set(answers.map(([pid]) => pid)).size, 10);
  for (const [, uid] of answers) assert.ok(uid >= 1_310_720_000 && (uid - 1_310_720_000) % 65_536 === 1000, String(uid));
});
