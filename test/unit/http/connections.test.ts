import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectionsMax } from '../../../src/http/connections.ts';
import { exchange, serve } from './fixture.ts';

const MAX = 16;
/** For the server to have seen what was opened or closed. */
const SETTLE_MS = 50;

function opener(t: TestContext, port: number) {
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  return async (count: number, address: (index: number) => string): Promise<Socket[]> => {
    const opened = Array.from({ length: count }, (_, index) => connect({ port, host: '127.0.0.1', localAddress: address(index) }).on('error', () => {}).resume());
    sockets.push(...opened);
    await Promise.all(opened.map((socket) => new Promise((resolve) => socket.on('connect', resolve))));
    await sleep(SETTLE_MS);
    return opened;
  };
}
const closed = (sockets: Socket[]): number => sockets.filter((socket) => socket.closed || socket.readableEnded).length;

describe('connections', () => {
  test('beyond their limit new ones are closed at once; those before go on, and there is room again when some go', async (t) => {
    const { port, registry, addon, server } = await serve(t, { maxConnections: MAX });
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    const open = opener(t, port);
    const kept = await open(MAX, (index) => `127.0.1.${index + 1}`);
    const more = await open(MAX, (index) => `127.0.2.${index + 1}`);
    assert.deepEqual([closed(kept), closed(more), server.connections.open, server.connections.refused], [0, MAX, MAX, MAX]);
    kept[0]!.write('GET /function/hello HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer] = (await new Promise<Buffer[]>((resolve) => kept[0]!.once('data', (chunk: Buffer) => resolve([chunk])))) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1.1 200 /);
    for (const socket of kept) socket.destroy();
    await sleep(SETTLE_MS);
    assert.equal(server.connections.open, 0);
    assert.equal((await exchange(port, 'GET /function/hello HTTP/1.1\r\nHost: x\r\n\r\n')).status, 200);
  });

  test('one client cannot have all of them', async (t) => {
    const { port, server } = await serve(t, { maxConnections: 2 * MAX });
    const open = opener(t, port);
    await open(4 * MAX, () => '127.0.1.1');
    assert.ok(server.connections.open > MAX && server.connections.open < 2 * MAX, String(server.connections.open));
    assert.equal(closed(await open(1, () => '127.0.1.2')), 0);
  });

  test('there are descriptors left for instances', () => {
    assert.equal(connectionsMax(8192, 1200, 1_048_576), 8192);
    assert.equal(connectionsMax(8192, 1200, 8192), 8192 - 4 * 1200 - 512);
    assert.equal(connectionsMax(8192, 1200, 1024), 256);
    assert.ok(connectionsMax(8192, 100) > 0);
  });
});
