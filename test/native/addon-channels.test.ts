/** Channels against a fake sandboxd: frames, bodies, logs, closing, and what a hostile instance can send. */
import { strict as assert } from 'node:assert';
import { randomFillSync } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { bodyBytes, type ResponseBody } from '../../src/sandbox/contract.ts';
import { FRAME, PROTOCOL } from '../../src/sandbox/protocol.ts';
import {
  addon, afterTurns, type Behaviour, bundleFd, CHANNELS_MAX, destroy, events, next, open, openDescriptors, request, RESPONSE_BODY_MAX, start,
} from './addon/harness.ts';

/** FL_UNFINISHED_FRAMES */
const UNFINISHED_FRAMES = 32;

const text = (body: ResponseBody): string => bodyBytes(body).toString();
const chunk = (value: string): Uint8Array => Buffer.from(value);

/** Opens a channel that the test closes whatever happens. */
function channelOf(t: { after(done: () => Promise<void>): void }, behaviour: Behaviour): number {
  const { channel, request: create } = open(behaviour);
  t.after(async () => {
    addon.closeChannel(channel);
    await destroy(create);
    for (const stream of [1, 2]) {
      await next('log', (event) => event.channel === channel && event.stream === stream && event.chunk.length === 0);
    }
  });
  return channel;
}

async function readLog(channel: number, stream: 1 | 2): Promise<number> {
  for (let total = 0; ;) {
    const event = await next('log', (candidate) => candidate.channel === channel && candidate.stream === stream);
    assert.ok(event.chunk.length <= 64 << 10, 'a chunk of a log is at most 64 KiB');
    if (event.chunk.length === 0) {
      events.push(event);
      return total;
    }
    total += event.chunk.length;
  }
}

/** When as many channels were made ahead of need as there may be. */
async function settledDescriptors(): Promise<number> {
  await afterTurns(10);
  return openDescriptors();
}

before(async () => { await start(); });
after(() => addon.stop());
beforeEach(() => { events.length = 0; });

test('a short ASCII body comes as a string, every other one as bytes', async (t) => {
  const channel = channelOf(t, 'echo');
  for (const [id, sent, kind] of [[1, 'plain', 'string'], [2, 'x'.repeat(1024), 'string'], [3, 'x'.repeat(1025), 'object'], [4, 'caf\u00e9', 'object'], [5, '\0\x7f', 'string']] as const) {
    request(channel, id, '{}', [chunk(sent)]);
    const { body } = await next('response');
    assert.equal(typeof body, kind);
    assert.equal(text(body), sent);
  }
});

test('INIT waits for the request that follows it, and both arrive before the instance exists', async (t) => {
  const channel = channelOf(t, 'echo');
  addon.send(channel, FRAME.FL_FRAME_INIT, 0, 0, 0, chunk('function=hello\0version=1\0'), []);
  request(channel, 1, '{"a":1}', [chunk('one'), chunk('two')]);
  const first = await next('response');
  assert.deepEqual({ ...first, body: text(first.body) }, {
    kind: 'response', channel, id: 1, status: 200, headers: 'content-type\0application/json\0x-meta\0{"a":1}\0x-init\x0025\0',
    body: 'onetwo', loadUs: 5, handlerUs: 7,
  });
  request(channel, 2, '{}');
  const second = await next('response');
  assert.equal(second.headers, 'content-type\0application/json\0x-meta\0{}\0');
  assert.equal(second.body, null, 'an empty body is null');
  assert.equal(second.loadUs, 0);
});

test('meta goes out as UTF-8, whether it is text or bytes, and however long it is', async (t) => {
  const channel = channelOf(t, 'echo');
  request(channel, 1, 'caf\u00e9 \ud800');
  assert.equal((await next('response')).headers.split('\0')[3], Buffer.from('caf\u00e9 \ufffd').toString('latin1'));
  request(channel, 2, new Uint8Array([0x61, 0x62]));
  assert.equal((await next('response')).headers.split('\0')[3], 'ab');
  for (const length of [262_100, 262_111, 262_112, 262_140, 262_144, 300_000, FRAME.FL_FRAME_META_MAX]) {
    request(channel, length, 'x'.repeat(length), [chunk('tail')]);
    const response = await next('response');
    assert.equal(response.id, length);
    assert.equal(text(response.body), 'tail', `${length} bytes of meta`);
  }
  assert.throws(() => request(channel, 9, 'x'.repeat(FRAME.FL_FRAME_META_MAX + 1)), { code: 'EMSGSIZE', syscall: 'send' });
});

for (const [size, chunks] of [[1, 1], [40_000, 3], [70_000, 32], [70_000, 33], [1 << 20, 200], [8 << 20, 1]] as const) {
  test(`a body of ${size} bytes in ${chunks} chunks comes back as it went`, async (t) => {
    const channel = channelOf(t, 'echo');
    const body = randomFillSync(new Uint8Array(size));
    const step = Math.ceil(size / chunks);
    request(channel, 1, '{}', Array.from({ length: chunks }, (_, index) => body.subarray(index * step, (index + 1) * step)));
    const response = await next('response');
    assert.ok(bodyBytes(response.body).equals(body));
  });
}

test('a slow reader gets 8 MB, queued, while others are served', async (t) => {
  const slow = channelOf(t, 'slowReader');
  const quick = channelOf(t, 'echo');
  const body = randomFillSync(new Uint8Array(8 << 20));
  request(slow, 1, '{}', [body]);
  request(slow, 2, '{}', [chunk('behind it')]);
  body.fill(0);
  for (let id = 1; id <= 20; id++) {
    request(quick, id, '{}', [chunk('quick')]);
    await next('response', (event) => event.channel === quick && event.id === id);
  }
  assert.equal(events.filter((event) => event.kind === 'response').length, 0, 'the slow one is not done yet');
  const first = await next('response', (event) => event.id === 1);
  assert.notEqual(bodyBytes(first.body).findIndex((byte) => byte !== 0), -1, 'chunks are copied');
  assert.equal(text((await next('response', (event) => event.id === 2)).body), 'behind it');
});

test('a reply may come byte by byte', async (t) => {
  const channel = channelOf(t, 'dribble');
  for (let id = 1; id <= 3; id++) {
    request(channel, id, '{}', [chunk('a body of some length')]);
    const response = await next('response');
    assert.deepEqual([response.id, response.headers, text(response.body)], [id, 'a\0b\0', 'a body of some length']);
  }
});

test('replies come in any order', async (t) => {
  const channel = channelOf(t, 'reversed');
  for (let id = 1; id <= 8; id++) request(channel, id, '{}', [chunk(`body ${id}`)]);
  for (let id = 8; id >= 1; id--) {
    const response = await next('response');
    assert.deepEqual([response.id, text(response.body)], [id, `body ${id}`]);
  }
});

test('forty channels do not mix up their replies', async (t) => {
  const channels = Array.from({ length: 40 }, () => channelOf(t, 'echo'));
  for (let round = 1; round <= 25; round++) {
    for (const channel of channels) request(channel, round, '{}', [chunk(`${channel}/${round}`)]);
    for (const channel of channels) {
      const response = await next('response', (event) => event.channel === channel);
      assert.deepEqual([response.id, text(response.body)], [round, `${channel}/${round}`]);
    }
  }
});

test('a channel may be allowed a larger or a smaller response than the others', async (t) => {
  const channel = channelOf(t, 'echo');
  addon.allowResponse(channel, 4);
  request(channel, 1, '{}', [chunk('four')]);
  assert.equal(text((await next('response')).body), 'four');
  request(channel, 2, '{}', [chunk('fiver')]);
  assert.equal((await next('broken')).detail, 'too-large');
  const wide = channelOf(t, 'tooLarge');
  addon.allowResponse(wide, FRAME.FL_FRAME_BODY_MAX);
  assert.throws(() => addon.allowResponse(wide, FRAME.FL_FRAME_BODY_MAX + 1), { code: 'EINVAL' });
  assert.throws(() => addon.allowResponse(CHANNELS_MAX + 7, 4), { code: 'EBADF' });
});

const broken: [Behaviour, string, string][] = [
  ['garbage', 'garbage', 'type'], ['huge', 'garbage', 'too-large'], ['tooLarge', 'garbage', 'too-large'], ['idZero', 'garbage', 'id'],
  ['reserved', 'garbage', 'reserved'], ['readyFrame', 'garbage', 'type'], ['metaTooLong', 'garbage', 'meta-length'],
  ['oddHeaders', 'garbage', 'headers'], ['tellsStartTwice', 'garbage', 'unsolicited'], ['tellsStartShort', 'garbage', 'started'], ['cut', 'end', 'within a frame'], ['exitUnread', 'reset', 'before the reply'],
];
for (const [behaviour, reason, detail] of broken) {
  test(`an instance that does «${behaviour}» breaks its channel: ${reason}, ${detail}`, async (t) => {
    const channel = channelOf(t, behaviour);
    request(channel, 1, '{}', [chunk('body')]);
    const event = await next('broken');
    assert.deepEqual(event, { kind: 'broken', channel, reason, detail });
    assert.throws(() => request(channel, 2), { code: 'EPIPE', syscall: 'send' });
    assert.equal(events.some((other) => other.kind === 'response' || other.kind === 'fault'), false);
  });
}

test('what an instance tells of its start is kept, as far as it can be true', async (t) => {
  const channel = channelOf(t, 'tellsStart'), silent = channelOf(t, 'echo');
  for (let id = 1; id <= 2; id++) {
    request(channel, id);
    await next('response');
  }
  const [, accept, descriptors] = /^, accept;dur=([0-9.]+), clone;dur=0\.000, .*descriptors;dur=([0-9.]+), .*seal;dur=0\.000$/.exec(addon.startTiming(channel))!;
  assert.ok(Number(accept) > 0 && Number(descriptors) >= 2, `${accept} and ${descriptors} ms`);
  assert.deepEqual([addon.startTiming(silent), addon.startTiming(CHANNELS_MAX + 7)], ['', '']);
});

test('what it tells behind its first reply breaks the channel', async (t) => {
  const channel = channelOf(t, 'tellsStartLate');
  request(channel, 1);
  await next('response');
  assert.equal((await next('broken')).detail, 'unsolicited');
});

test('a second reply to one request breaks the channel after the first was told', async (t) => {
  const channel = channelOf(t, 'twice');
  request(channel, 1);
  await next('response');
  assert.deepEqual(await next('broken'), { kind: 'broken', channel, reason: 'garbage', detail: 'unsolicited' });
});

test('half a reply that nobody asked for breaks the channel, before its rest', async (t) => {
  const channel = channelOf(t, 'beginsUnasked');
  request(channel, 1);
  await next('response');
  assert.deepEqual(await next('broken'), { kind: 'broken', channel, reason: 'garbage', detail: 'unsolicited' });
});

test('unfinished replies have room together: beyond it who began first is ended, once it has had a second', async (t) => {
  const started = performance.now();
  const slow = Array.from({ length: UNFINISHED_FRAMES }, () => channelOf(t, 'begins'));
  for (const channel of slow) request(channel, 1);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const echo = channelOf(t, 'echo'), body = Buffer.alloc(RESPONSE_BODY_MAX, 'e');
  request(echo, 1, '{}', [body]);
  assert.equal(bodyBytes((await next('response')).body).length, RESPONSE_BODY_MAX);
  if (performance.now() - started < 900) assert.deepEqual(events.filter((event) => event.kind === 'broken'), [], 'nobody is ended before');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  request(echo, 2, '{}', [body]);
  assert.equal((await next('response')).id, 2);
  const { channel, detail } = await next('broken');
  assert.deepEqual([slow.includes(channel), detail], [true, 'unfinished']);
  assert.deepEqual(events.filter((event) => event.kind === 'broken'), [], 'nobody else is ended');
});

for (const behaviour of ['badHeader', 'badStatus', 'manyHeaders', 'largeMeta'] as const) {
  test(`a response that may not be sent («${behaviour}») is the function's fault, and the channel lives on`, async (t) => {
    const channel = channelOf(t, behaviour);
    for (let id = 1; id <= 2; id++) {
      request(channel, id, '{}', [chunk('body')]);
      const event = await next('fault');
      assert.deepEqual([event.channel, event.id, event.fault], [channel, id, FRAME.FL_FAULT_RESPONSE]);
      assert.match(event.text, /^InvalidResponse\0[a-zA-Z0-9 .']+\0\0$/);
    }
    assert.equal(events.some((event) => event.kind === 'response'), false);
  });
}

test('a refused response does not spoil the one that arrives with its end', async (t) => {
  const channel = channelOf(t, 'badThenGood');
  for (const id of [2, 4]) {
    request(channel, id - 1);
    request(channel, id);
    assert.deepEqual([(await next('fault')).id, text((await next('response')).body)], [id - 1, 'good\0']);
  }
});

test('headers that belong to the connection are dropped, bytes above ASCII are kept', async (t) => {
  const channel = channelOf(t, 'hopByHop');
  request(channel, 1);
  assert.equal((await next('response')).headers, 'Set-Cookie\0a=1\0set-cookie\0b=2\0x\0\xe9\0');
});

test('a fault brings the texts, with replacement characters', async (t) => {
  const channel = channelOf(t, 'fault');
  request(channel, 5);
  const text = 'TypeError\0caf\u00e9 \ufffd\0at handler\0';
  assert.deepEqual(await next('fault'), { kind: 'fault', channel, id: 5, fault: FRAME.FL_FAULT_CALL, text });
});

test('a fault without an id is told once; a second one breaks the channel', async (t) => {
  const channel = channelOf(t, 'earlyFault');
  request(channel, 1);
  assert.deepEqual([(await next('fault')).id, (await next('fault')).id], [0, 1]);
  request(channel, 2);
  assert.equal((await next('broken')).detail, 'unsolicited');
});

test('a byte out of band neither reaches a frame nor keeps the loop busy', async (t) => {
  const channel = channelOf(t, 'outOfBand');
  request(channel, 1, '{}', [chunk('in band')]);
  assert.equal(text((await next('response')).body), 'in band');
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 100_000, `${user + system} us of 200 ms`);
  request(channel, 2, '{}', [chunk('again')]);
  assert.equal(text((await next('response')).body), 'again');
});

test('an instance that reads no more can still reply', async (t) => {
  const channel = channelOf(t, 'shutRead');
  request(channel, 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  request(channel, 2);
  assert.equal((await next('response')).id, 1);
  assert.equal((await next('broken')).reason, 'end');
});

test('a flood of logs arrives whole, in bounded chunks, and does not hold up another channel', async (t) => {
  const noisy = channelOf(t, 'logFlood');
  const quiet = channelOf(t, 'echo');
  request(quiet, 1);
  await next('response');
  request(noisy, 1);
  await next('log');
  request(quiet, 2);
  await next('response', (event) => event.channel === quiet);
  await next('response', (event) => event.channel === noisy);
  await next('log', (event) => event.stream === 2 && event.chunk.length === 10);
});

test('a log that rests is read again later, the other stream and other channels meanwhile, and with close at once', async (t) => {
  const channel = channelOf(t, 'logFlood');
  request(channel, 1);
  await next('log', (event) => event.channel === channel);
  const turnEnd = performance.now() + 20;
  while (performance.now() < turnEnd);                                 // a long turn does not count as rest
  const rested = performance.now();
  addon.restLog(channel, 1);
  addon.restLog(channel, 1);
  events.splice(0, events.length, ...events.filter(({ kind }) => kind !== 'log'));
  const event = await next('log', (candidate) => candidate.channel === channel && candidate.stream === 1);
  assert.ok(event.chunk.length > 0);
  assert.ok(performance.now() - rested > 5, 'it was not read at once');
  const { channel: closed, request: create } = open('logFlood');
  request(closed, 1);
  await next('log', (candidate) => candidate.channel === closed);
  addon.restLog(closed, 1);
  addon.closeChannel(closed);
  addon.restLog(closed, 1);
  await destroy(create);
  for (const stream of [1, 2]) await next('log', (candidate) => candidate.channel === closed && candidate.stream === stream && candidate.chunk.length === 0);
  assert.throws(() => addon.restLog(channel, 3 as 1), { code: 'EINVAL' });
  assert.throws(() => addon.restLog(-1, 1), TypeError);
});

test('streams end on their own when the instance closes them', async (t) => {
  const channel = channelOf(t, 'closeLogs');
  request(channel, 1);
  await next('response');
  assert.equal(await readLog(channel, 1), 3);
  assert.equal(await readLog(channel, 2), 0);
});

test('closing tells what the pipes hold, then the end of both streams, and nothing else', async () => {
  const { channel, request: create } = open('logFlood');
  request(channel, 1);
  await next('log');
  request(channel, 2);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);    // the event loop stands still meanwhile, and the pipe fills
  addon.closeChannel(channel);
  assert.throws(() => addon.closeChannel(channel), { code: 'EBADF' });
  assert.throws(() => request(channel, 3), { code: 'EBADF' });
  assert.ok(await readLog(channel, 1) > 0);
  await readLog(channel, 2);
  await destroy(create);
  await afterTurns(5);
  assert.deepEqual(events.filter((event) => event.kind !== 'log'), []);
});

test('a channel number that is used again brings nothing of its former instance', async () => {
  const descriptors = await settledDescriptors();
  for (let round = 0; round < 200; round++) {
    const former = open('echo');
    request(former.channel, 1000 + round, '{}', [chunk('former')]);
    if (round % 3 === 0) await afterTurns(round % 5);
    addon.closeChannel(former.channel);
    if (round % 2 === 0) await afterTurns(2);
    const latter = open('echo');
    request(latter.channel, 1 + round, '{}', [chunk('latter')]);
    const response = await next('response', (event) => event.channel === latter.channel && event.id < 1000);
    assert.equal(text(response.body), 'latter');
    addon.closeChannel(latter.channel);
    await Promise.all([destroy(former.request), destroy(latter.request)]);
    assert.equal(events.some((event) => event.kind === 'broken'), false);
    events.length = 0;
  }
  assert.equal(await settledDescriptors(), descriptors);
});

test('no more than channelsMax channels, and a failure leaves nothing behind', async () => {
  const descriptors = await settledDescriptors();
  const opened = Array.from({ length: CHANNELS_MAX }, () => open('silent'));
  assert.deepEqual(opened.map(({ channel }) => channel).sort((a, b) => a - b), Array.from({ length: CHANNELS_MAX }, (_, index) => index));
  assert.throws(() => open('silent'), { code: 'EMFILE', syscall: 'openChannel' });
  for (const { channel } of opened) addon.closeChannel(channel);
  await Promise.all(opened.map(({ request: create }) => destroy(create)));
  await afterTurns(3);
  assert.throws(() => open('echo', 9999), { code: 'EBADF', syscall: 'sendmsg' });
  assert.equal(await settledDescriptors(), descriptors);
});

test('an instance that is killed ends its channel, after its last reply', async () => {
  const { channel, request: create } = open('echo');
  request(channel, 1);
  await next('response');
  await destroy(create);
  assert.deepEqual(await next('broken'), { kind: 'broken', channel, reason: 'end', detail: '' });
  assert.equal(await readLog(channel, 1), 0);
  assert.equal(await readLog(channel, 2), 0);
  addon.closeChannel(channel);
});

test('arguments of the wrong shape are refused with a TypeError and change nothing', async (t) => {
  const channel = channelOf(t, 'echo');
  const call = addon as unknown as Record<string, (...values: unknown[]) => unknown>;
  const bad: [string, unknown[]][] = [
    ['send', []], ['send', ['0', 2, 0, 1, 0, '', []]], ['send', [channel, 5, 0, 1, 0, '', []]], ['send', [channel, 2, 0, 0, 0, '', []]],
    ['send', [channel, 2, 65536, 1, 0, '', []]], ['send', [channel, 2, 0, 2 ** 32, 0, '', []]], ['send', [channel, 2, 0, 1, -1, '', []]],
    ['send', [channel, 2, 0, 1, 0, 7, []]], ['send', [channel, 2, 0, 1, 0, '', 'body']], ['send', [channel, 2, 0, 1, 0, '', ['body']]],
    ['send', [channel, 2, 0, 1, 0, '', [new Uint16Array(1)]]], ['openChannel', ['packet', 1]], ['openChannel', [new Uint8Array(16), -1]],
    ['closeChannel', [-1]], ['closeChannel', [null]], ['sendControl', [new ArrayBuffer(1)]], ['memfd', ['a\0b', new Uint8Array(1)]],
    ['exec', [0, ['a'], 'b', []]],
    ['peer', ['x']], ['closeFd', [2 ** 40]],
  ];
  for (const [name, values] of bad) assert.throws(() => call[name]?.(...values), TypeError, `${name}(${values.map(String).join(', ')})`);
  assert.throws(() => addon.sendControl(new Uint8Array(PROTOCOL.FL_MESSAGE_MAX + 1)), { code: 'EMSGSIZE' });
  assert.throws(() => addon.sendControl(new Uint8Array(0)), { code: 'EMSGSIZE' });
  assert.throws(() => addon.openChannel(new Uint8Array(0), bundleFd), { code: 'EMSGSIZE' });
  request(channel, 1, '', [chunk('still here')]);
  assert.equal(text((await next('response')).body), 'still here');
});

test('the addon starts once per process', () => {
  const none = (): void => {};
  const callbacks = { onResponse: none, onFault: none, onBroken: none, onLog: none, onControl: none, onControlEnd: none, onLifeline: none };
  assert.throws(() => addon.start(callbacks, { responseBodyMax: 1, channelsMax: 1 }), { code: 'EALREADY' });
  assert.throws(() => addon.start(callbacks, { responseBodyMax: FRAME.FL_FRAME_BODY_MAX + 1, channelsMax: 1 }), TypeError);
});
