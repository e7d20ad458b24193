import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ClientRates, clientKey } from '../../../src/http/client-rates.ts';
import { TokenBucket } from '../../../src/invocation/token-bucket.ts';
import { exchange, serve } from './fixture.ts';

const get = (...lines: string[]) => ['GET /function/hello HTTP/1.1', 'Host: x', ...lines, '', ''].join('\r\n');
const address = (text: string) => ({ getRemoteAddress: () => new Uint8Array(Buffer.from(text, 'hex')).buffer });

describe('a token bucket', () => {
  test('lets a burst through, then the rate, and says how long it takes', () => {
    const bucket = new TokenBucket(2, 0);
    assert.deepEqual([0, 0, 0, 0, 0].map((now) => bucket.take(now)), [0, 0, 0, 0, 500]);
    assert.deepEqual([499, 501, 502].map((now) => Math.round(bucket.take(now))), [1, 0, 498]);
    assert.deepEqual([1e9, 1e9, 1e9, 1e9, 1e9].map((now) => bucket.take(now) === 0), [true, true, true, true, false]);
  });

  test('below one a second lets one through', () => {
    const bucket = new TokenBucket(0.1, 0);
    assert.deepEqual([bucket.take(0), bucket.take(0)], [0, 10_000]);
  });

  test('is not confused by a clock that goes back', () => {
    const bucket = new TokenBucket(1, 1000);
    assert.equal(bucket.take(0), 0);
  });
});

describe('the rates of clients', () => {
  test('are of IPv4 addresses and of IPv6 networks', () => {
    assert.equal(clientKey(address('7f000001')), '7f000001');
    assert.equal(clientKey(address('00000000000000000000ffff7f000001')), '7f000001');
    assert.equal(clientKey(address('20010db8000000010000000000000001')), clientKey(address('20010db800000001ffffffffffffffff')));
    assert.notEqual(clientKey(address('20010db8000000010000000000000001')), clientKey(address('20010db8000000020000000000000001')));
  });

  test('a flood of addresses takes a bounded amount of memory and does not free the one that goes on', () => {
    const rates = new ClientRates(1, 100);
    for (let spent = 0; spent < 2; spent++) rates.take('busy', 0);
    for (let client = 0; client < 10_000; client++) {
      rates.take(`client ${client}`, 0);
      if (client % 20 === 0) assert.ok(rates.take('busy', 0) > 0);
      assert.ok(rates.remembered <= 100);
    }
  });
});

describe('limits over HTTP', () => {
  test('a client over its rate gets 429 and when to come again; a header does not make it another one', async (t) => {
    const { port, registry, addon } = await serve(t, { clientRequestsPerSecond: 0.25 });
    registry.deploy('hello');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    assert.equal((await exchange(port, get())).status, 200);
    const reply = await exchange(port, get('X-Forwarded-For: 9.9.9.9', 'Forwarded: for=9.9.9.9'));
    assert.deepEqual([reply.status, reply.headers['retry-after'], JSON.parse(reply.body).error.code], [429, '4', 'rate_limited']);
    assert.equal((await exchange(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')).status, 200);
    const withBody = await exchange(port, get('Content-Length: 3') + 'abc');
    assert.deepEqual([withBody.status, withBody.closed], [429, true]);
  });

  test('a function over its rate, whoever asks, also after a redeployment; other functions are not concerned', async (t) => {
    const { port, registry, addon, dispatcher } = await serve(t);
    registry.deploy('hello', { requestsPerSecond: 0.5 });
    registry.deploy('other');
    addon.onRequest = (request) => setImmediate(() => addon.respond(request));
    assert.equal((await exchange(port, get())).status, 200);
    registry.deploy('hello', { requestsPerSecond: 0.5 }, 'v2');
    const reply = await exchange(port, get());
    assert.deepEqual([reply.status, reply.headers['retry-after'], JSON.parse(reply.body).error.code], [429, '2', 'rate_limited']);
    assert.equal(dispatcher.find('hello')!.tally.failures.get('rate_limited'), 1);
    assert.equal((await exchange(port, get().replace('hello', 'other'))).status, 200);
    registry.deploy('hello', {}, 'v3');
    assert.equal((await exchange(port, get())).status, 200);
  });
});
