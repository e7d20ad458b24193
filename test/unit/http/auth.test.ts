import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { Accepts } from '../../../src/http/gate.ts';
import { exchange, serve } from './fixture.ts';

const credentials: Accepts = { hasTokens: () => true, acceptsToken: (text) => text === 'token', acceptsKey: (name, text) => text === `${name}-key` };
const get = (path: string, ...lines: string[]) => [`GET ${path} HTTP/1.1`, 'Host: x', ...lines, '', ''].join('\r\n');
const codeOf = (body: string) => JSON.parse(body).error.code;

describe('functions with keys', () => {
  test('are called with one, which the function does not see', async (t) => {
    const { port, registry, addon } = await serve(t, { credentials });
    registry.deploy('shop', { auth: 'key' });
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', request.meta));
    for (const header of ['X-Flashd-Key: shop-key', 'Authorization: Bearer shop-key', 'authorization: bearer  shop-key']) {
      const reply = await exchange(port, get('/function/shop', header, 'X-Other: 1'));
      assert.equal(reply.status, 200);
      assert.doesNotMatch(reply.body, /shop-key/);
      assert.match(reply.body, /x-other/);
    }
    const both = await exchange(port, get('/function/shop', 'X-Flashd-Key: shop-key', 'Authorization: Basic own'));
    assert.match(both.body, /Basic own/, 'what is not the key is the function\'s');
  });

  test('refuse all else, without an instance, and not for ever at full speed', async (t) => {
    const { port, registry, addon } = await serve(t, { credentials });
    registry.deploy('shop', { auth: 'key' });
    for (const header of ['X-A: 1', 'X-Flashd-Key: ', 'X-Flashd-Key: other-key', 'Authorization: shop-key', 'Authorization: Basic shop-key']) {
      const reply = await exchange(port, get('/function/shop', header));
      assert.deepEqual([reply.status, codeOf(reply.body), reply.headers['www-authenticate']], [401, 'unauthorized', 'Bearer']);
      assert.doesNotMatch(reply.body, /shop-key/);
    }
    const replies = [];
    for (let attempt = 0; attempt < 12; attempt++) replies.push(await exchange(port, get('/function/shop', 'X-Flashd-Key: wrong')));
    assert.ok(replies.some(({ status, body, headers }) => status === 429 && codeOf(body) === 'rate_limited' && headers['retry-after'] === '1'));
    assert.equal(addon.channels.length, 0);
  });

  test('without the need for one the header is the function\'s own', async (t) => {
    const { port, registry, addon } = await serve(t, { credentials });
    registry.deploy('open');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', request.meta));
    assert.match((await exchange(port, get('/function/open', 'Authorization: Bearer mine'))).body, /Bearer mine/);
  });
});

async function managed(t: TestContext, accepts: Partial<Accepts> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const managementSocket = join(directory, 'socket');
  const seen: string[] = [];
  const server = createServer(async (message, response) => {
    let bytes = 0;
    for await (const chunk of message) bytes += (chunk as Buffer).length;
    seen.push(`${message.method} ${message.url} ${bytes}`);
    if (message.url === '/lines') return void response.writeHead(200, { 'content-type': 'application/x-ndjson' }).end('{}\n'.repeat(100_000));
    const body = 'answer';
    response.writeHead(message.url === '/missing' ? 404 : 200, { 'content-length': body.length }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(managementSocket, resolve));
  t.after(() => (server.close(), rmSync(directory, { recursive: true })));
  return { ...(await serve(t, { credentials: { ...credentials, ...accepts }, managementSocket })), seen };
}

describe('management over HTTP', () => {
  test('goes to the management socket with a token: method, path, query, body, status', async (t) => {
    const { url, port, seen } = await managed(t);
    const headers = { authorization: 'Bearer token' };
    const reply = await exchange(port, get('/api/functions?x=1', 'Authorization: Bearer token'));
    assert.deepEqual([reply.status, reply.body, reply.closed], [200, 'answer', true]);
    assert.equal((await fetch(`${url}/api/missing`, { headers })).status, 404);
    await (await fetch(`${url}/api/functions/a/deploy`, { method: 'POST', headers, body: new Uint8Array(20 << 20) })).text();
    const chunked = { method: 'POST', headers, duplex: 'half', body: new Blob([new Uint8Array(5 << 20)]).stream() } as RequestInit;
    await (await fetch(`${url}/api/functions/a/deploy`, chunked)).text();
    assert.deepEqual(seen, ['GET /functions?x=1 0', 'GET /missing 0', `POST /functions/a/deploy ${20 << 20}`, `POST /functions/a/deploy ${5 << 20}`]);
    assert.equal((await (await fetch(`${url}/api/lines`, { headers })).text()).length, 300_000);
  });

  test('is refused without one, and tokens are not managed with one', async (t) => {
    const { port, seen } = await managed(t);
    for (const header of ['X-A: 1', 'Authorization: Bearer', 'Authorization: Bearer tokens', 'X-Flashd-Key: token']) {
      const reply = await exchange(port, get('/api/functions', header));
      assert.deepEqual([reply.status, codeOf(reply.body), reply.closed], [401, 'unauthorized', true]);
    }
    for (const path of ['/api/tokens', '/api/tokens/a']) {
      assert.deepEqual(codeOf((await exchange(port, get(path, 'Authorization: Bearer token'))).body), 'forbidden');
    }
    assert.deepEqual(seen, []);
  });

  test('does not exist while there are no tokens', async (t) => {
    const { port, seen } = await managed(t, { hasTokens: () => false });
    assert.equal((await exchange(port, get('/api/functions', 'Authorization: Bearer token'))).status, 404);
    assert.deepEqual(seen, []);
  });
});
