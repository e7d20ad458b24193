import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coldStartsLeaveNothing } from './cold-starts.ts';

test('1,000 cold starts leave processes, cgroups, namespaces, mounts, descriptors and memory where they were', async (t) => {
  const { before, after } = await coldStartsLeaveNothing(1000);
  t.diagnostic(JSON.stringify({ before, after }));
});

test('150 cold starts with egress leave links and namespaces where they were', async (t) => {
  const { before, after } = await coldStartsLeaveNothing(150, 'egress');
  assert.ok(before.links > 0, 'sandboxes with egress are kept ready');
  t.diagnostic(JSON.stringify({ before, after }));
});
