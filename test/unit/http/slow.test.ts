/** Clients that take their time, and many of them. The parser's own patience is about ten seconds: these tests wait for it together. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sleep } from '../invocation/fixture.ts';
import { exchange, open, serve } from './fixture.ts';

/** Ten seconds, counted in steps of four. */
const PATIENCE_MS = 16_000;
const IDLE = 2000;

describe('slow clients', { concurrency: true }, () => {
  for (const [title, begin, drip] of [
    ['that say nothing', '', ''],
    ['that send a head byte by byte', 'GET /function/hello HTTP/1.1\r\nHost: x\r\nX-A: ', 'a'],
    ['that send header after header', 'GET /function/hello HTTP/1.1\r\nHost: x\r\n', 'X: 1\r\n'],
    ['whose head is nonsense', 'GET /function/hello HTTP/1.1\r\nHost: x\r\nno colon\r\n', 'X: 1\r\n'],
  ] as const) {
    test(`${title} are closed`, { timeout: 30_000 }, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('hello');
      const socket = open(port);
      const started = performance.now();
      const closed = new Promise((resolve) => socket.on('close', resolve));
      if (begin !== '') socket.write(begin);
      const timer = setInterval(() => drip !== '' && socket.write(drip), 700);
      t.after(() => clearInterval(timer));
      socket.resume();
      await closed;
      assert.ok(performance.now() - started < PATIENCE_MS, `after ${performance.now() - started} ms`);
      assert.equal(addon.channels.length, 0);
    });
  }

  test('a body that comes byte by byte is over when its time is', async (t) => {
    const { port, registry, addon, server } = await serve(t, { bodyTimeoutMs: 300 });
    registry.deploy('hello');
    for (const [head, drip] of [['Content-Length: 900', 'a'], ['Transfer-Encoding: chunked', '1\r\na\r\n']] as const) {
      const socket = open(port);
      let raw = '';
      socket.on('data', (chunk) => (raw += chunk.toString('latin1')));
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.write(`POST /function/hello HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
      const timer = setInterval(() => socket.write(drip), 20);
      await closed;
      clearInterval(timer);
      assert.match(raw, /^HTTP\/1.1 408 .*request_timeout/s);
    }
    assert.deepEqual([addon.channels.length, server.bodyBytes], [0, 0]);
  });

  test(`beside ${IDLE} idle connections a request is served as ever`, async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    const idle = Array.from({ length: IDLE }, () => open(port));
    t.after(() => idle.forEach((socket) => socket.destroy()));
    await Promise.all(idle.map((socket) => new Promise((resolve) => socket.on('connect', resolve))));
    for (const socket of idle.slice(0, IDLE / 2)) socket.write('GET /function/hello HTTP/1.1\r\n');
    await sleep(50);
    assert.equal((await exchange(port, 'GET /function/hello HTTP/1.1\r\nHost: x\r\n\r\n')).status, 200);
  });
});
