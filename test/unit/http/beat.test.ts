import assert from 'node:assert/strict';
import { test } from 'node:test';
import { turns } from '../invocation/fixture.ts';
import { exchange, serve } from './fixture.ts';

test('nothing that an instance answers to a beat goes on from the gateway', async (t) => {
  const { port, registry, addon, server } = await serve(t);
  registry.deploy('hello', { standby: 0, functionTemplate: 0 });
  addon.onRequest = (request) => addon.respond(request);
  assert.equal((await exchange(port, 'GET /function/hello HTTP/1.1\r\nHost: x\r\n\r\n')).status, 200);
  const beat = exchange(port, server.pulseRequest);
  for (let waited = 0; waited < 1000 && addon.channels[0]!.pings.length === 0; waited++) await turns();
  addon.respond(addon.channels[0]!.pings[0]!, 418, 'x-said\0by it\0', 'y'.repeat(60_000));
  const { status, headers, body } = await beat;
  assert.deepEqual([status, headers['x-said'], body, server.bodyBytes], [200, undefined, '', 0]);
});
