/** Sandboxes and their pool, by the C programs that live in them; what must hold outside is checked here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupsNamed, hostMounts, runProgram } from './fixtures/native-program.ts';

test('a sandbox shows, allows and limits what it should, and leaves the host as it was', async () => {
  const before = hostMounts();
  const { status, stderr, pid } = await runProgram('sandbox');
  assert.equal(status, 0, stderr);
  assert.equal(hostMounts(), before);
  assert.deepEqual(cgroupsNamed(`flashd-test-${pid}`), []);
});

test('a pool grows, runs out, heals after a dead init or builder, and sweeps a dead generation', async () => {
  const { status, stderr, pid } = await runProgram('pool');
  assert.equal(status, 0, stderr);
  assert.deepEqual(cgroupsNamed(`flashd-pool-${pid}`), []);
});

test('two pools with names of their own do not disturb each other', async () => {
  for (const { status, stderr } of await Promise.all([runProgram('pool'), runProgram('pool'), runProgram('sandbox')])) assert.equal(status, 0, stderr);
});
