/** cgroups of both versions, by the C program that drives them; and that nothing of theirs stays behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupsNamed, runProgram } from './fixtures/native-program.ts';

test('limits arrive, members keep a cgroup alive and a sweep kills and removes, on version 1 and 2', async () => {
  const { status, stderr, pid } = await runProgram('cgroup');
  assert.equal(status, 0, stderr);
  assert.deepEqual(cgroupsNamed(`flashd-cgroup-${pid}`), []);
});
