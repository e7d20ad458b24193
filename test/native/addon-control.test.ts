/** The control socket, the lifeline, and what stop and exit leave behind. */
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { PROTOCOL } from '../../src/sandbox/protocol.ts';
import {
  addon, afterTurns, destroy, events, fakeSandboxd, hello, next, open, openDescriptors, request, restart, start,
} from './addon/harness.ts';

const isReplyTo = (number: number) => (event: { type: number; request: number }): boolean =>
  event.type === PROTOCOL.FL_MSG_HELLO_OK && event.request === number;
let control = -1;

before(async () => { control = await start(); });
after(() => addon.stop());
beforeEach(() => { events.length = 0; });

test('a control packet is answered', async () => {
  addon.sendControl(hello(42));
  assert.equal((await next('control', isReplyTo(42))).packet.byteLength, 32);
});

test('packets wait in a bounded queue while sandboxd is stopped, descriptors with them', async () => {
  const { pid } = addon.peer(control);
  // Channels are made ahead of need, one a turn.
  const refilled = () => afterTurns(8);
  await refilled();
  const descriptors = openDescriptors();
  const opened: { channel: number; request: number }[] = [];
  const sent = 1000;
  process.kill(pid, 'SIGSTOP');
  try {
    for (let number = 0; number < sent; number++) addon.sendControl(hello(number + 1000));
    assert.throws(() => open('echo'), { code: 'EAGAIN', syscall: 'sendmsg' });
    await refilled();
    assert.equal(openDescriptors(), descriptors, 'a channel that could not be asked for leaves no descriptor');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  for (let number = 0; number < sent; number++) await next('control', isReplyTo(number + 1000));

  process.kill(pid, 'SIGSTOP');
  try {
    for (let number = 0; number < 300; number++) addon.sendControl(hello(number + 20_000));
    for (let count = 0; count < 20; count++) opened.push(open('echo'));
    await refilled();
    assert.equal(openDescriptors(), descriptors + 20 * (3 + 4), 'the near ends, and what waits to be sent');
    for (const { channel } of opened) request(channel, 1, 'queued');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  for (const { channel, request: create } of opened) {
    assert.match((await next('response', (event) => event.channel === channel)).headers, /queued/);
    addon.closeChannel(channel);
    await destroy(create);
  }
  await refilled();
  assert.equal(openDescriptors(), descriptors);
});

test('when sandboxd goes, its end is told once, and the next one is reached through a new socket', async () => {
  const { channel, request: create } = open('echo');
  request(channel, 1);
  await next('response');
  addon.sendControl(restart());
  await next('controlEnd');
  const { fd } = await next('lifeline');
  assert.throws(() => addon.sendControl(hello(1)), { code: 'ENOTCONN' });
  assert.throws(() => open('echo'), { code: 'ENOTCONN' });
  addon.openControl(fd);
  addon.sendControl(hello(2));
  await next('control', isReplyTo(2));
  request(channel, 2);
  assert.equal((await next('response')).id, 2, 'the instances of the fake survive; the gateway decides what becomes of its channels');
  addon.closeChannel(channel);
  await destroy(create);
  assert.equal(events.some((event) => event.kind === 'controlEnd'), false);
});

test('a control socket that replaces a living one silences it', async () => {
  for (let number = 0; number < 50; number++) addon.sendControl(hello(number));
  addon.sendControl(restart());
  const { fd } = await next('lifeline');
  addon.openControl(fd);
  events.length = 0;
  addon.sendControl(hello(7777));
  await next('control', isReplyTo(7777));
  assert.deepEqual(events.filter((event) => event.kind === 'controlEnd'), []);
});

test('a descriptor that cannot be polled is refused', () => {
  assert.throws(() => addon.openControl(9999), { code: 'EBADF', syscall: 'uv_poll_init' });
  assert.throws(() => addon.openLifeline(3), { code: 'EALREADY', syscall: 'openLifeline' });
});

for (const how of ['stop', 'exit', 'throw', 'supervisor'] as const) {
  test(`a process with open channels ends cleanly by «${how}»`, () => {
    const script = join(import.meta.dirname, 'addon/ending.ts');
    const { FLASHD_TEST_LIFELINE: _lifeline, NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const result = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', script, how], { env, encoding: 'utf8', timeout: 20_000 });
    assert.deepEqual([result.signal, result.status, result.stdout], [null, how === 'throw' ? 1 : 0, `${how}\n`], result.stderr);
    if (how === 'throw') assert.match(result.stderr, /thrown in onResponse/);
  });
}

test('the fake says how it is used', () => {
  assert.equal(spawnSync(fakeSandboxd).status, 100);
});
