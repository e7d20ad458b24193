import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME } from '../../../src/sandbox/protocol.ts';
import { sleep, turns } from '../invocation/fixture.ts';
import { exchange, open, serve } from './fixture.ts';

const get = (path: string, ...lines: string[]) => [`GET ${path} HTTP/1.1`, 'Host: x', ...lines, '', ''].join('\r\n');

describe('function URLs', () => {
  test('a cold and then a warm request carry their marks', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setTimeout(() => addon.respond(request), 5);
    const cold = await exchange(port, get('/function/hello'));
    assert.deepEqual([cold.status, cold.body, cold.headers['content-type']], [200, 'hello', 'text/plain']);
    assert.equal(cold.headers['x-flashd-start'], 'language-template');
    assert.match(cold.headers['server-timing']!, /^queue;dur=0\.000, accept;dur=0\.001, seal;dur=0\.008, handler;dur=0\.005, total;dur=\d+\.\d{3}$/);
    const warm = await exchange(port, get('/function/hello'));
    assert.equal(warm.headers['x-flashd-start'], 'warm');
    assert.match(warm.headers['server-timing']!, /^queue;dur=0\.000, handler;dur=0\.005, total;dur=\d+\.\d{3}$/);
    assert.match(warm.headers['x-request-id']!, /^[0-9a-f-]{36}$/);
    assert.notEqual(warm.headers['x-request-id'], cold.headers['x-request-id']);
  });

  test('the event tells path, query, headers and cookies', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', request.meta));
    const reply = await exchange(port, get('/function/hello/a%20b?x=1&y=a+b&x=%32', 'Cookie: c=1; d=2', 'X-Two: 1', 'X-Two: 2', 'User-Agent: me "quoted"'));
    const event = JSON.parse(reply.body);
    assert.deepEqual([event.rawPath, event.rawQueryString], ['/a%20b', 'x=1&y=a+b&x=%32']);
    assert.deepEqual(event.queryStringParameters, { x: '1,2', y: 'a b' });
    assert.deepEqual(event.cookies, ['c=1', 'd=2']);
    assert.deepEqual(event.headers, { 'host': 'x', 'x-two': '1,2', 'user-agent': 'me "quoted"' });
    assert.deepEqual(event.requestContext.http, { method: 'GET', path: '/a%20b', protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'me "quoted"' });
    assert.equal(event.requestContext.requestId, reply.headers['x-request-id']);
  });

  test('a host name below the domain addresses a function with the whole path', async (t) => {
    const { port, registry, addon } = await serve(t, { domain: 'fn.example' });
    registry.deploy('hello', { runtime: 'native' });
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', request.meta.split('\0').slice(0, 3).join(' ')));
    const reply = await exchange(port, 'PATCH /function/other?q HTTP/1.1\r\nHost: Hello.FN.example:8080\r\n\r\n');
    assert.equal(reply.body, 'PATCH /function/other q');
    assert.equal((await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: fn.example\r\n\r\n')).status, 200);
  });

  test('binary bodies are marked, texts are not', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', String(request.flags)));
    const post = (type: string) => exchange(port, `POST /function/hello HTTP/1.1\r\nHost: x\r\n${type}Content-Length: 2\r\n\r\n\xff\x00`);
    const flags: string[] = [];
    for (const type of ['text/plain', 'application/json; charset=utf-8', 'application/problem+json', 'image/svg+xml', 'image/png', '']) {
      flags.push((await post(type === '' ? '' : `Content-Type: ${type}\r\n`)).body);
    }
    assert.deepEqual(flags, ['0', '0', '0', '1', '1', '1']);
    assert.equal(FRAME.FL_REQUEST_BODY_BINARY, 1);
  });

  test('a body arrives whole, however it was cut', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 200, '', request.body.toString('latin1')));
    const socket = open(port);
    let raw = '';
    socket.on('data', (chunk) => (raw += chunk.toString('latin1')));
    socket.write('POST /function/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc');
    await sleep(20);
    socket.write('def');
    await sleep(20);
    assert.equal(server.bodyBytes, 6);
    socket.write('ghi');
    await sleep(50);
    assert.ok(raw.endsWith('\r\n\r\nabcdefghi'));
    assert.equal(server.bodyBytes, 0);
    socket.destroy();
  });
});

describe('responses', () => {
  test('status, repeated headers and bytes above ASCII come through, what is the server\'s does not', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    const headers = ['set-cookie', 'a=1', 'Set-Cookie', 'b=2', 'x-name', 'caf\xe9', 'content-length', '999', 'Transfer-Encoding', 'chunked', 'connection', 'close', 'x-request-id', 'mine'];
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, 418, headers.join('\0') + '\0', 'tea'));
    const { raw, status } = await exchange(port, get('/function/hello'));
    assert.equal(status, 418);
    assert.match(raw, /^HTTP\/1.1 418 I'm a Teapot\r\n/);
    assert.ok(raw.includes('set-cookie: a=1\r\nSet-Cookie: b=2\r\nx-name: caf\xe9\r\n'));
    assert.ok(!/999|chunked|close|mine/.test(raw));
    assert.ok(raw.includes('Content-Length: 3\r\n\r\ntea'));
  });

  test('HEAD gets the length and no body, 204 and 304 neither, and the connection goes on', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    const statuses = [200, 204, 304, 200];
    addon.onRequest = (request) => setImmediate(() => addon.respond(request, statuses.shift()!, '', 'body!'));
    const socket = open(port);
    let raw = '';
    socket.on('data', (chunk) => (raw += chunk.toString('latin1')));
    const replies: string[] = [];
    for (const method of ['HEAD', 'GET', 'GET', 'GET']) {
      raw = '';
      socket.write(`${method} /function/hello HTTP/1.1\r\nHost: x\r\n\r\n`);
      await sleep(40);
      replies.push(raw);
    }
    socket.destroy();
    assert.match(replies[0]!, /content-length: 5\r\n/);
    assert.ok(replies.slice(0, 3).every((reply) => reply.endsWith('\r\n\r\n')));
    assert.doesNotMatch(replies[1]!, /content-length/i);
    assert.ok(replies[3]!.endsWith('\r\n\r\nbody!'));
  });

  test('a large body goes out whole to a slow reader and is accounted for meanwhile', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('hello');
    const bytes = 24 << 20;
    addon.onRequest = (request) => setImmediate(() => addon.events.onResponse(request.channel, request.id, 200, '', new Uint8Array(bytes).fill(120).buffer, 0, 0));
    const socket = open(port);
    let got = 0;
    socket.write(get('/function/hello'));
    socket.pause();
    await sleep(100);
    assert.equal(server.bodyBytes, bytes);
    socket.on('data', (chunk) => (got += chunk.length)).resume();
    for (let waited = 0; got < bytes && waited < 5000; waited += 20) await sleep(20);
    await sleep(20);
    assert.ok(got > bytes && got < bytes + 1000, `${got} bytes`);
    assert.equal(server.bodyBytes, 0);
    socket.destroy();
  });

  test('of those who read too slowly the slowest go when there are too many, and nobody else has to wait for them', async (t) => {
    const { port, registry, addon, server } = await serve(t, { unreadBudgetBytes: 60 << 20 });
    registry.deploy('hello');
    const bytes = 24 << 20;
    addon.onRequest = (request) => setImmediate(() => addon.events.onResponse(request.channel, request.id, 200, '', new ArrayBuffer(bytes), 0, 0));
    const slow = [open(port), open(port), open(port), open(port)];
    let closed = 0;
    let asked = 0;
    const respond = addon.onRequest;
    addon.onRequest = (request) => ((asked += 1), respond(request));
    for (const socket of slow) {
      socket.on('close', () => (closed += 1)).pause();
      socket.write(get('/function/hello'));
    }
    for (let waited = 0; (asked < slow.length || server.bodyBytes !== 2 * bytes) && waited < 5000; waited += 20) await sleep(20);
    assert.equal(server.bodyBytes, 2 * bytes);
    for (let turn = 0; turn < 5; turn++) assert.equal((await (await fetch(`http://127.0.0.1:${port}/function/hello`)).arrayBuffer()).byteLength, bytes);
    assert.equal((await exchange(port, 'POST /function/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', 5000)).status, 200);
    for (const socket of slow) socket.resume();
    for (let waited = 0; closed < 2 && waited < 5000; waited += 20) await sleep(20);
    assert.ok(closed >= 2, `${closed} closed`);
    slow.forEach((socket) => socket.destroy());
  });

  test('a status that is no answer is the function\'s fault', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    for (const status of [0, 101, 199, 600, 65536]) {
      addon.onRequest = (request) => setImmediate(() => addon.respond(request, status));
      const reply = await exchange(port, get('/function/hello'));
      assert.deepEqual([reply.status, JSON.parse(reply.body).error.code], [502, 'response_invalid']);
    }
  });
});

describe('errors', () => {
  test('are JSON with code, message, hint and request id', async (t) => {
    const { port } = await serve(t);
    const reply = await exchange(port, get('/function/nobody'));
    const { error } = JSON.parse(reply.body);
    assert.deepEqual([reply.status, error.code, error.message], [404, 'function_not_found', 'there is no function "nobody"']);
    assert.deepEqual([error.requestId, reply.headers['content-type']], [reply.headers['x-request-id'], 'application/json']);
    assert.ok(error.hint.length > 0);
  });

  test('of a function carry Lambda\'s names', async (t) => {
    const { port, registry, addon } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.fault(request, FRAME.FL_FAULT_CALL));
    const reply = await exchange(port, get('/function/hello'));
    assert.equal(reply.status, 502);
    assert.deepEqual(JSON.parse(reply.body).error.details, { errorType: 'ValueError', errorMessage: 'no', stackTrace: ['at x'] });
    assert.equal(reply.headers['x-flashd-start'], 'language-template');
  });

  test('a full queue says when to come back, a deadline is 504', async (t) => {
    const { port, registry } = await serve(t);
    registry.deploy('hello', { maxInstances: 1, queue: 0, timeoutMs: 100 });
    const first = exchange(port, get('/function/hello'));
    await sleep(20);
    const second = await exchange(port, get('/function/hello'));
    assert.deepEqual([second.status, second.headers['retry-after']], [429, '1']);
    assert.equal((await first).status, 504);
  });

  test('too much is refused before it is read', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('hello');
    const announced = await exchange(port, 'POST /function/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\nabc');
    assert.deepEqual([announced.status, announced.closed], [413, true]);
    const chunked = await exchange(port, `POST /function/hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n${'x'.repeat(1001)}\r\n`);
    assert.deepEqual([chunked.status, chunked.closed, addon.channels.length, server.bodyBytes], [413, true, 0, 0]);
  });

  const post = (name: string, sent: number): string => `POST /function/${name} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(sent)}`;

  test('bodies beyond the budget of all are 503, slow ones 408', async (t) => {
    const { port, registry, server } = await serve(t, { bodyBudgetBytes: 2000, bodyTimeoutMs: 60 });
    for (const name of ['hello', 'other', 'third']) registry.deploy(name);
    const slow = [exchange(port, post('hello', 900)), exchange(port, post('other', 900))];
    await sleep(20);
    assert.equal((await exchange(port, post('third', 900))).status, 503);
    for (const reply of slow) assert.equal((await reply).status, 408);
    assert.equal(server.bodyBytes, 0);
  });

  test('what is sent to one function has half of the budget', async (t) => {
    const { port, registry, addon, server } = await serve(t, { bodyBudgetBytes: 3000 });
    for (const name of ['hello', 'other']) registry.deploy(name);
    const held = open(port);
    held.write(post('hello', 1000));
    await sleep(20);
    assert.equal((await exchange(port, post('hello', 1000))).status, 503);
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    assert.equal((await exchange(port, post('other', 1000))).status, 200);
    held.destroy();
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal((await exchange(port, post('hello', 1000))).status, 200);
    assert.equal(server.bodyBytes, 0);
  });

  test('the slowest gives way to others, once it has had a second', async (t) => {
    const { port, registry, addon, server } = await serve(t, { bodyBudgetBytes: 2000 });
    for (const name of ['hello', 'other', 'third']) registry.deploy(name);
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    const [slow, slower] = [open(port), open(port)];
    let answer = '';
    slower.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    slow.write(post('hello', 950));
    slower.write(post('other', 900));
    await sleep(1100);
    assert.equal(server.bodyBytes, 1850);
    assert.equal((await exchange(port, post('third', 1000))).status, 200);
    await sleep(50);
    assert.match(answer, /^HTTP\/1.1 503 [^]*comes slowly/);
    assert.equal(server.bodyBytes, 950);
    slow.write('x'.repeat(50));
    const [finished] = (await new Promise<Buffer[]>((resolve) => slow.once('data', (chunk: Buffer) => resolve([chunk])))) as [Buffer];
    assert.match(finished.toString(), /^HTTP\/1.1 200 /);
    for (const socket of [slow, slower]) socket.destroy();
  });

  test('other addresses and methods', async (t) => {
    const { port, addon } = await serve(t);
    assert.equal((await exchange(port, get('/'))).status, 404);
    assert.equal((await exchange(port, 'DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n')).status, 405);
    assert.deepEqual(JSON.parse((await exchange(port, get('/healthz'))).body), { status: 'ok' });
    assert.equal((await exchange(port, get('/metrics'))).body, 'metric 1\n');
    addon.loseSandboxd();
    assert.equal((await exchange(port, get('/healthz'))).status, 503);
  });
});

describe('clients that leave', () => {
  test('while waiting give their place up; while being served cost nothing but their answer', async (t) => {
    const { port, registry, addon, dispatcher } = await serve(t);
    registry.deploy('hello', { maxInstances: 1 });
    const [served, waiting] = [open(port), open(port)];
    served.write(get('/function/hello'));
    await sleep(20);
    waiting.write(get('/function/hello'));
    await sleep(20);
    assert.deepEqual([dispatcher.running, dispatcher.queued], [1, 1]);
    served.destroy();
    waiting.destroy();
    await sleep(20);
    assert.deepEqual([dispatcher.running, dispatcher.queued, addon.channels[0]!.closed], [1, 0, false]);
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.deepEqual([dispatcher.running, dispatcher.find('hello')!.tally.failures.get('aborted')], [0, 2]);
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    assert.equal((await exchange(port, get('/function/hello'))).headers['x-flashd-start'], 'warm');
  });

  test('in the middle of a body or of a large answer leave nothing in the budget', async (t) => {
    const { port, registry, addon, server } = await serve(t);
    registry.deploy('hello');
    const half = open(port);
    half.write('POST /function/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc');
    await sleep(20);
    assert.equal(server.bodyBytes, 3);
    half.destroy();
    addon.onRequest = (request) => setImmediate(() => addon.events.onResponse(request.channel, request.id, 200, '', new ArrayBuffer(24 << 20), 0, 0));
    const slow = open(port);
    slow.pause();
    slow.write(get('/function/hello'));
    await sleep(60);
    assert.equal(server.bodyBytes, 24 << 20);
    slow.destroy();
    await sleep(40);
    assert.equal(server.bodyBytes, 0);
  });
});

describe('listening', () => {
  test('a port is taken by one process unless it is to be shared', async (t) => {
    const first = await serve(t);
    await assert.rejects(serve(t, { port: first.port }), { code: 'config_invalid' });
    first.server.close();
    for (let process = 0; process < 2; process++) {
      assert.equal((await serve(t, { port: first.port, sharedPort: true })).port, first.port);
    }
  });

  test('after stopListening open connections are still answered, with a refusal once draining has begun', async (t) => {
    const { port, registry, addon, server, dispatcher } = await serve(t);
    registry.deploy('hello');
    addon.onRequest = (request) => setTimeout(() => addon.respond(request), 50);
    const running = exchange(port, get('/function/hello'));
    const idle = open(port);
    await sleep(20);
    server.stopListening();
    const drained = dispatcher.drain(1000);
    await turns();
    let raw = '';
    idle.on('data', (chunk) => (raw += chunk.toString()));
    idle.write(get('/function/hello'));
    await drained;
    await sleep(20);
    assert.equal((await running).status, 200);
    assert.match(raw, /^HTTP\/1.1 503 /);
    assert.match(raw, /shutting_down/);
    idle.destroy();
  });
});
