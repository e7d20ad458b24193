import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sleep } from '../invocation/fixture.ts';
import { exchange, open, serve } from './fixture.ts';

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
  ['two Host headers of which the first is empty', ['POST /function/echo HTTP/1.1', 'Host:', 'Host: x', '', ''].join('\r\n')],
  ['chunked with a comma after it', head('Transfer-Encoding: chunked,') + chunks],
  ['a quote in the method', 'GE"T /function/echo HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a method that would end a string of the event', 'G","sourceIp":"6.6.6.6 /function/echo HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an endless method', `${'A'.repeat(21)} /function/echo HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['a fragment in the path', 'GET /function/echo/a#b HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a fragment in the query', 'GET /function/echo?a#b HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['bytes in the path that are no UTF-8', 'GET /function/echo/\xff HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['bytes in the query that are no UTF-8', 'GET /function/echo?a=\xc3( HTTP/1.1\r\nHost: x\r\n\r\n'],
];

/** What the parser itself answers, with HTML, or holds for the rest of a head that never comes: it is closed later, as a slow one. */
const NOT_PARSED: [title: string, request: string, status: 0 | 400 | 431 | 505][] = [
  ['a folded header', head('X-A: 1', ' Content-Length: 3') + 'abc', 0],
  ['a header folded with a tab', head('X-A: 1', '\tContent-Length: 3') + 'abc', 0],
  ['bare line feeds', 'POST /function/echo HTTP/1.1\nHost: x\nContent-Length: 0\n\n', 505],
  ['a bare line feed after a header', head('X-A: 1\nContent-Length: 3') + 'abc', 0],
  ['a bare carriage return within a header', head('X-A: 1\rContent-Length: 3') + 'abc', 0],
  ['a bare line feed at the end of the head', 'POST /function/echo HTTP/1.1\r\nHost: x\r\n\nabc', 0],
  ['a space before the colon', head('Content-Length : 3') + 'abc', 0],
  ['a tab before the colon', head('Transfer-Encoding\t: chunked') + chunks, 0],
  ['a space before a name', head(' Content-Length: 3') + 'abc', 0],
  ['a line without a colon', head('Content-Length'), 0],
  ['a NUL in a name', head('X\0A: 1'), 0],
  ['a NUL in a value', head('Content-Length: 3\0') + 'abc', 0],
  ['a control character in a value', head('Transfer-Encoding: \x0bchunked') + chunks, 0],
  ['no Host header', 'GET /function/echo HTTP/1.1\r\n\r\n', 0],
  ['an absolute target', 'GET http://x/function/echo HTTP/1.1\r\nHost: y\r\n\r\n', 505],
  ['CONNECT', 'CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n', 505],
  ['an asterisk', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', 505],
  ['HTTP/1.0', 'POST /function/echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n' + chunks, 505],
  ['HTTP/1.2', 'GET /function/echo HTTP/1.2\r\nHost: x\r\n\r\n', 505],
  ['no version', 'GET /function/echo\r\n\r\n', 0],
  ['a space in the path', 'GET /function/echo/a b HTTP/1.1\r\nHost: x\r\n\r\n', 505],
  ['a control character in the query', 'GET /function/echo?a\x01 HTTP/1.1\r\nHost: x\r\n\r\n', 505],
  ['a long address', `GET /function/echo/${'a'.repeat(5000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
  ['a long header', head(`X-A: ${'a'.repeat(5000)}`), 431],
  ['many headers', head(...Array.from({ length: 110 }, (_, index) => `X${index}: 1`)), 431],
  ['headers that are long together', head(...Array.from({ length: 50 }, (_, index) => `X${index}: ${'a'.repeat(100)}`)), 431],
  ['a chunk size that overflows', head('Transfer-Encoding: chunked') + `ffffffffffffffff1\r\n${chunks}`, 400],
  ['a chunk size that wraps around', head('Transfer-Encoding: chunked') + `1000000000000000${chunks}`, 400],
  ['a chunk of gigabytes', head('Transfer-Encoding: chunked') + `10000000${chunks}`, 0],
  ['a negative chunk size', head('Transfer-Encoding: chunked') + `-${chunks}`, 400],
  ['a chunk size with a prefix', head('Transfer-Encoding: chunked') + `0x${chunks}`, 400],
  ['a chunk extension', head('Transfer-Encoding: chunked') + '3;a=b\r\nabc\r\n0\r\n\r\n', 0],
  ['a chunk extension with a line feed', head('Transfer-Encoding: chunked') + '3;a\nb\r\nabc\r\n0\r\n\r\n', 0],
];

/** Bodies that this parser cuts in its own way. */
const LENIENT: [title: string, body: string][] = [
  ['as they should be', chunks],
  ['a space after the size', '3 \r\nabc\r\n0\r\n\r\n'],
  ['a space before the size', ` ${chunks}`],
  ['a size that is no number', ':\r\nabcdefghij\r\n0\r\n\r\n'],
  ['no size', `\r\n${chunks}`],
  ['a line feed after the size', '3\nabc\r\n0\r\n\r\n'],
  ['no line end after a chunk', '3\r\nabcXX0\r\n\r\n'],
  ['line feeds after a chunk', '3\r\nabc\n\n0\r\n\r\n'],
  ['trailers', '3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n'],
  ['trailers that look like framing', '3\r\nabc\r\n0\r\nContent-Length: 40\r\n\r\n'],
];

describe('requests that end ambiguously', () => {
  for (const [title, request] of REFUSED) {
    test(`${title}: 400, the connection is closed, no function sees it or what follows it`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('echo');
      const reply = await exchange(port, Buffer.from(request, 'latin1'));
      assert.deepEqual([reply.status, reply.closed], [400, true]);
      // The parser's own refusals are HTML.
      if (reply.body.startsWith('{')) assert.equal(JSON.parse(reply.body).error.code, 'bad_request');
      const followed = await exchange(port, Buffer.from(request + 'GET /function/echo HTTP/1.1\r\nHost: x\r\n\r\n', 'latin1'));
      assert.deepEqual([followed.closed, addon.channels.length], [true, 0]);
    });
  }

  for (const [title, request, status] of NOT_PARSED) {
    test(`${title}: ${status === 0 ? 'no answer' : status}, no function sees it or what follows it`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy('echo');
      const reply = await exchange(port, Buffer.from(request + 'GET /function/echo HTTP/1.1\r\nHost: x\r\n\r\n', 'latin1'), 200);
      assert.deepEqual([reply.status, addon.channels.length], [status, 0]);
      if (status !== 0) assert.ok(reply.closed);
    });
  }

  for (const [title, body] of LENIENT) {
    test(`a chunked body is the last thing on its connection: ${title}`, async (t) => {
      const { port, registry, addon } = await serve(t, { bodyTimeoutMs: 200 });
      registry.deploy('echo', { maxInstances: 4 });
      const seen: string[] = [];
      addon.onRequest = (request) => (seen.push(request.meta), setTimeout(() => addon.respond(request), 5));
      const socket = open(port);
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.write(head('Transfer-Encoding: chunked') + body + 'GET /function/echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.resume();
      await sleep(60);
      socket.write('GET /function/echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n');
      await closed;
      assert.ok(seen.length <= 1 && !seen.join().includes('smuggled'));
    });
  }

  for (const [title, deployed, request] of [
    ['a body that is too long', true, head('Content-Length: 1001') + 'x'.repeat(1001)],
    ['a chunk that is too long', true, head('Transfer-Encoding: chunked') + `3e9\r\n${'x'.repeat(1001)}\r\n0\r\n\r\n`],
    ['the body for a function that does not exist', false, head('Content-Length: 3') + 'abc'],
    ['chunks for a function that does not exist', false, head('Transfer-Encoding: chunked') + chunks],
    ['a body for nothing', true, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc'],
    ['chunks for /healthz', true, 'GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n' + chunks],
  ] as const) {
    test(`${title} is refused, and what follows in the same packet is not run`, async (t) => {
      const { port, registry, addon } = await serve(t);
      registry.deploy(deployed ? 'echo' : 'other');
      registry.deploy('next');
      const reply = await exchange(port, request + 'GET /function/next HTTP/1.1\r\nHost: x\r\n\r\n');
      assert.deepEqual([reply.closed, addon.channels.length], [true, 0]);
    });
  }

  test('a refusal for lack of room ends the connection of a chunked body, too', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('echo', { maxInstances: 1, queue: 0 });
    const running = open(port);
    running.write('GET /function/echo HTTP/1.1\r\nHost: x\r\n\r\n');
    await sleep(20);
    const reply = await exchange(port, head('Transfer-Encoding: chunked') + chunks);
    assert.deepEqual([reply.status, reply.closed, addon.channels.length, server.bodyBytes], [429, true, 1, 0]);
    running.destroy();
  });

  test('a large answer to a chunked body arrives whole before the connection is closed, and leaves nothing in the budget', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('echo');
    const bytes = 5 << 20;
    addon.onRequest = (request) => addon.events.onResponse(request.channel, request.id, 200, '', new Uint8Array(bytes).fill(120).buffer, 0, 0);
    const answer = await fetch(`http://127.0.0.1:${port}/function/echo`, { method: 'POST', duplex: 'half', body: new Blob(['abc']).stream() } as RequestInit);
    assert.equal((await answer.arrayBuffer()).byteLength, bytes);
    assert.equal(answer.headers.get('connection'), 'close');
    assert.equal(server.bodyBytes, 0);
  });

  test('pipelined requests: what is answered at once is answered in order, of what takes time only the first is begun', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('echo', { maxInstances: 4 });
    const health = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
    assert.equal((await exchange(port, health.repeat(3), 200)).raw.split('HTTP/1.1 200 OK').length, 4);
    addon.onRequest = (request) => setTimeout(() => addon.respond(request), 5);
    const reply = await exchange(port, 'GET /function/echo HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3));
    assert.deepEqual([reply.closed, addon.channels.length], [true, 1]);
  });

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
      assert.deepEqual([reply.status, reply.body, reply.closed], [200, body, title === 'chunked']);
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
