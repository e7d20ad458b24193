import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exchange, serve } from './fixture.ts';

const head = (...lines: string[]) => ['POST /function/echo HTTP/1.1', 'Host: x', ...lines, '', ''].join('\r\n');
const chunks = '3\r\nabc\r\n0\r\n\r\n';

/** What must never reach a function: two parties on the way could disagree on where such a request ends. */
const REFUSED: [title: string, request: string][] = [
  ['two equal Content-Length headers', head('Content-Length: 3', 'Content-Length: 3') + 'abc'],
  ['two different Content-Length headers', head('Content-Length: 3', 'Content-Length: 5') + 'abcde'],
  ['a Content-Length list', head('Content-Length: 3, 3') + 'abc'],
  ['a signed Content-Length', head('Content-Length: +3') + 'abc'],
  ['a negative Content-Length', head('Content-Length: -3') + 'abc'],
  ['a hexadecimal Content-Length', head('Content-Length: 0x3') + 'abc'],
  ['a Content-Length with a letter', head('Content-Length: 3a') + 'abc'],
  ['an empty Content-Length', head('Content-Length:')],
  ['an endless Content-Length', head('Content-Length: 99999999999999999999')],
  ['an unknown Transfer-Encoding', head('Transfer-Encoding: xchunked') + chunks],
  ['chunked in capitals', head('Transfer-Encoding: Chunked') + chunks],
  ['a Transfer-Encoding list', head('Transfer-Encoding: gzip, chunked') + chunks],
  ['chunked twice', head('Transfer-Encoding: chunked, chunked') + chunks],
  ['two Transfer-Encoding headers', head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked') + chunks],
  ['an empty Transfer-Encoding', head('Transfer-Encoding:') + chunks],
  ['identity', head('Transfer-Encoding: identity') + chunks],
  ['Content-Length and Transfer-Encoding', head('Content-Length: 3', 'Transfer-Encoding: chunked') + chunks],
  ['Transfer-Encoding and Content-Length', head('Transfer-Encoding: chunked', 'Content-Length: 3') + chunks],
  ['two Host headers', head('Host: y')],
];

describe('requests that end ambiguously', () => {
  for (const [title, request] of REFUSED) {
    test(`${title}: 400, the connection is closed, no function sees it or what follows it`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('echo');
      const reply = await exchange(port, request);
      assert.deepEqual([reply.status, reply.closed], [400, true]);
      const followed = await exchange(port, request + 'GET /function/echo HTTP/1.1\r\nHost: x\r\n\r\n');
      assert.deepEqual([followed.closed, addon.channels.length], [true, 0]);
    });
  }

  test('what is wrong is also refused where no function answers', async (t) => {
    const { port } = await serve(t);
    const reply = await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n');
    assert.deepEqual([reply.status, reply.closed], [400, true]);
  });

  const ACCEPTED: [title: string, request: string, body: string][] = [
    ['one Content-Length', head('Content-Length: 3') + 'abc', 'abc'],
    ['a Content-Length of zero', head('Content-Length: 0'), ''],
    ['leading zeros', head('Content-Length: 003') + 'abc', 'abc'],
    ['chunked', head('Transfer-Encoding: chunked') + chunks, 'abc'],
  ];
  for (const [title, request, body] of ACCEPTED) {
    test(`${title} is accepted`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('echo');
      addon.onRequest = (each) => setImmediate(() => addon.respond(each, 200, '', each.body.toString()));
      const reply = await exchange(port, request);
      assert.deepEqual([reply.status, reply.body, reply.closed], [200, body, false]);
    });
  }
});

describe('paths', () => {
  for (const path of ['/function/echo/%', '/function/echo/%2', '/function/echo/%zz', '/function/echo/%00', '/function/echo/a%2fb%0']) {
    test(`${path} is refused`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('echo');
      const reply = await exchange(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      assert.equal(JSON.parse(reply.body).error.code, 'bad_request');
      assert.deepEqual([reply.status, addon.channels.length], [400, 0]);
    });
  }

  test('a raw NUL never gets through', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('echo');
    const reply = await exchange(port, 'GET /function/echo/a\0b HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.ok(reply.closed);
    assert.equal(addon.channels.length, 0);
  });

  for (const name of ['', 'Hello', 'a_b', '-a', 'a%20b', '..', 'a'.repeat(64)]) {
    test(`the name "${name.slice(0, 10)}" is malformed`, async (t) => {
      const { port } = await serve(t);
      const reply = await exchange(port, `GET /function/${name} HTTP/1.1\r\nHost: x\r\n\r\n`);
      assert.equal(reply.status, 400);
      assert.equal(JSON.parse(reply.body).error.code, 'name_invalid');
    });
  }
});
