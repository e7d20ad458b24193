import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flashd } from '../conformance/packaged.ts';

test('a service manager that cannot be notified is no reason not to serve', async (t) => {
  const flashd = await Flashd.start({ NOTIFY_SOCKET: '/nonexistent/notify', WATCHDOG_USEC: '200000' });
  t.after(() => flashd.stop());
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal((await flashd.http('GET', '/healthz')).status, 200);
});
