import { test } from 'node:test';
import { coldStartsLeaveNothing } from './cold-starts.ts';

test('1,000 cold starts leave processes, cgroups, namespaces, mounts, descriptors and memory where they were', async (t) => {
  const { before, after } = await coldStartsLeaveNothing(1000);
  t.diagnostic(JSON.stringify({ before, after }));
});
