import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FlashdError } from '../../../src/errors/index.ts';
import { FRAME, PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { finished, fixture, sleep, turns } from './fixture.ts';

describe('starts', () => {
  test('a cold start sends INIT and REQUEST before the instance exists', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { environment: { GREETING: 'hi' } });
    const invocation = submit('hello');
    const channel = addon.channels[0]!;
    assert.equal(channel.instance, 0);
    assert.equal(
      channel.init,
      ['function=hello', 'version=v1', 'handler=handler.py', 'symbol=handler', 'memory_bytes=67108864', 'timeout_ms=1000', 'concurrency=1', 'env.GREETING=hi', ''].join('\0'),
    );
    assert.deepEqual([channel.requests.length, channel.requests[0]!.millisecondsLeft, channel.requests[0]!.meta], [1, 1000, `json ${invocation.label}`]);
    await turns();
    addon.respond(channel.requests[0]!);
    assert.deepEqual([invocation.outcome, invocation.start, invocation.released], ['200 hello', 'language-template', 1]);
  });

  test('an idle instance is used at once, the one used last first', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    submit('hello');
    submit('hello');
    await turns();
    for (const channel of addon.channels) addon.respond(channel.requests[0]!);
    const third = submit('hello');
    assert.equal(addon.channels.length, 2);
    assert.equal(addon.channels[1]!.requests.length, 2);
    addon.respond(addon.channels[1]!.requests[1]!);
    assert.deepEqual([third.outcome, third.start], ['200 hello', 'warm']);
  });

  test('an instance with room takes several requests when the function allows it', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { concurrency: 2, maxInstances: 1 });
    const [first, second, third] = [submit('hello'), submit('hello'), submit('hello')];
    assert.deepEqual([addon.channels.length, addon.channels[0]!.requests.length, third.state], [1, 2, 'queued']);
    await turns();
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.deepEqual([first.outcome, second.outcome, addon.channels[0]!.requests.length], ['none', '200 hello', 3]);
    addon.respond(addon.channels[0]!.requests[0]!);
    addon.respond(addon.channels[0]!.requests[2]!);
    assert.deepEqual([first.outcome, third.outcome], ['200 hello', '200 hello']);
  });

  test('output belongs to the invocation that the instance was given last', async () => {
    const { addon, registry, submit, logged } = await fixture();
    registry.deploy('hello');
    const invocation = submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    addon.events.onLog(0, 1, Buffer.from('late'));
    assert.deepEqual(logged, [{ function: 'hello', instance: 1, invocation: invocation.label, stream: 1, text: 'late' }]);
  });
});

describe('queue', () => {
  test('what waits is served first come, first served by the instance that becomes free', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { maxInstances: 1 });
    const all = [submit('hello'), submit('hello'), submit('hello')];
    await turns();
    for (let index = 0; index < 3; index++) addon.respond(addon.channels[0]!.requests[index]!, 200, '', `answer ${index}`);
    assert.deepEqual(all.map((each) => each.outcome), ['200 answer 0', '200 answer 1', '200 answer 2']);
    assert.equal(addon.channels.length, 1);
  });

  test('a full queue of the function is 429, a full gateway 503', async () => {
    const { registry, submit, dispatcher } = await fixture({ queueMax: 3 });
    registry.deploy('one', { maxInstances: 1, queue: 2 });
    registry.deploy('two', { maxInstances: 1, queue: 2 });
    const one = [submit('one'), submit('one'), submit('one'), submit('one')];
    const two = [submit('two'), submit('two'), submit('two')];
    assert.deepEqual(one.map((each) => each.outcome), ['none', 'none', 'none', 'too_many_requests']);
    assert.deepEqual(two.map((each) => each.outcome), ['none', 'none', 'overloaded']);
    assert.equal(two[2]!.released, 1);
    assert.deepEqual([dispatcher.queued, dispatcher.running], [3, 2]);
  });

  test('a client that leaves takes its place in the queue along; one that is being served does not take the instance', async () => {
    const { addon, registry, submit, dispatcher } = await fixture();
    registry.deploy('hello', { maxInstances: 1 });
    const [running, waiting, last] = [submit('hello'), submit('hello'), submit('hello')];
    waiting.queue!.abort(waiting);
    running.queue!.abort(running);
    assert.deepEqual([waiting.state, running.state, addon.channels[0]!.requests.length], ['over', 'running', 1]);
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(running.outcome, 'none');
    assert.equal(addon.channels[0]!.requests[1]!.meta, `json ${last.label}`);
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.equal(last.outcome, '200 hello');
    assert.equal(dispatcher.find('hello')!.tally.failures.get('aborted'), 2);
    assert.deepEqual([dispatcher.queued, dispatcher.running], [0, 0]);
  });
});

describe('deadline', () => {
  test('expiry answers at once, never early, and destroys the instance', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('slow', { timeoutMs: 40 });
    const invocation = submit('slow');
    await finished(invocation);
    assert.equal(invocation.outcome, 'function_timeout');
    assert.ok(invocation.finishedAt - invocation.arrivedAt >= 40);
    await turns();
    assert.deepEqual([addon.channels[0]!.closed, addon.channels[0]!.destroyed], [true, true]);
    const next = submit('slow');
    await turns();
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.equal(next.outcome, '200 hello');
  });

  test('waiting counts: an instance is told what is left', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('slow', { timeoutMs: 200, maxInstances: 1 });
    const first = submit('slow');
    await sleep(100);
    const second = submit('slow');
    await finished(first);
    const left = addon.channels[1]!.requests[0]!.millisecondsLeft;
    const waited = first.finishedAt - second.arrivedAt;
    assert.ok(waited > 0 && left > 0 && left <= 201 - waited, `${left} ms left after ${waited} ms`);
    await finished(second);
    assert.deepEqual([first.outcome, second.outcome], ['function_timeout', 'function_timeout']);
    assert.ok(second.finishedAt - second.arrivedAt >= 200);
  });

  test('who was never given to an instance times out in the queue', async () => {
    const { registry, submit } = await fixture({ maxInstances: 1 });
    registry.deploy('busy', { timeoutMs: 1000 });
    registry.deploy('waiting', { timeoutMs: 30 });
    submit('busy');
    const waiting = submit('waiting');
    await finished(waiting);
    assert.deepEqual([waiting.outcome, waiting.attempts, waiting.error!.status], ['queue_timeout', 0, 503]);
  });

  test('with a concurrency above one the others finish before the instance goes', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('slow', { timeoutMs: 200, concurrency: 2, maxInstances: 1 });
    const first = submit('slow');
    await sleep(150);
    const second = submit('slow');
    await finished(first);
    assert.deepEqual([first.outcome, addon.channels[0]!.closed], ['function_timeout', false]);
    addon.respond(addon.channels[0]!.requests[0]!);
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.deepEqual([second.outcome, addon.channels[0]!.closed], ['200 hello', true]);
  });
});

describe('ends of instances', () => {
  const cases = [
    { title: 'an exit', end: { how: PROTOCOL.FL_END_EXITED, status: 3 }, code: 'function_exited' },
    { title: 'a signal', end: { how: PROTOCOL.FL_END_SIGNALED, status: 11 }, code: 'function_crashed' },
    { title: 'an out-of-memory kill', end: { how: PROTOCOL.FL_END_SIGNALED, status: 9, oomKills: 1 }, code: 'function_out_of_memory' },
    { title: 'an exit after a refused fork', end: { how: PROTOCOL.FL_END_EXITED, status: 1, pidsRefused: 2 }, code: 'function_out_of_processes' },
    { title: 'a signal after a refused fork', end: { how: PROTOCOL.FL_END_SIGNALED, status: 6, pidsRefused: 1 }, code: 'function_out_of_processes' },
    { title: 'an end for too many sockets', end: { how: PROTOCOL.FL_END_DESTROYED, sockets: 2000 }, code: 'function_out_of_sockets' },
    { title: 'an out-of-memory kill among refused forks', end: { how: PROTOCOL.FL_END_SIGNALED, status: 9, oomKills: 1, pidsRefused: 9 }, code: 'function_out_of_memory' },
    { title: 'a closed data socket of a living process', end: { how: PROTOCOL.FL_END_DESTROYED }, code: 'function_protocol_error' },
  ];
  for (const { title, end, code } of cases) {
    test(`${title} is ${code}, whichever is told first`, async () => {
      for (const order of ['socket first', 'sandboxd first']) {
        const { addon, registry, submit } = await fixture();
        addon.endsWhenDestroyed = false;
        registry.deploy('hello');
        const invocation = submit('hello');
        await turns();
        const channel = addon.channels[0]!;
        if (order === 'sandboxd first') addon.ended(channel, end);
        addon.events.onBroken(channel.id, 'end', '');
        if (order === 'socket first') {
          assert.deepEqual([invocation.outcome, channel.destroyed], ['none', true]);
          addon.ended(channel, end);
        }
        assert.equal(invocation.outcome, code, order);
        assert.equal(invocation.error!.status, 502);
        const next = submit('hello');
        await turns();
        addon.respond(addon.channels[1]!.requests[0]!);
        assert.equal(next.outcome, '200 hello');
      }
    });
  }

  test('a limit that it met is told of an instance whose invocation was over before it ended', async () => {
    const { addon, limitsMet, registry, submit } = await fixture();
    addon.endsWhenDestroyed = false;
    registry.deploy('hello', { timeoutMs: 20 });
    const invocation = submit('hello');
    await finished(invocation);
    assert.deepEqual([invocation.outcome, limitsMet], ['function_timeout', []]);
    addon.ended(addon.channels[0]!, { how: PROTOCOL.FL_END_DESTROYED, pidsRefused: 3 });
    assert.deepEqual(limitsMet, [{ functionName: 'hello', invocation: invocation.label, oomKills: 0, pidsRefused: 3 }]);
  });

  test('the signal is named', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    const invocation = submit('hello');
    await turns();
    addon.ended(addon.channels[0]!, { how: PROTOCOL.FL_END_SIGNALED, status: 11 });
    addon.events.onBroken(0, 'end', '');
    assert.match(invocation.error!.message, /SIGSEGV/);
  });

  test('an answer that was written before the exit still counts', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    const invocation = submit('hello');
    await turns();
    addon.ended(addon.channels[0]!, { status: 0 });
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(invocation.outcome, '200 hello');
  });

  test('a reason that never comes is not waited for for ever', async () => {
    const { addon, registry, submit } = await fixture({ endWaitMs: 20 });
    addon.endsWhenDestroyed = false;
    registry.deploy('hello');
    const invocation = submit('hello');
    await turns();
    addon.events.onBroken(0, 'end', '');
    await sleep(40);
    assert.equal(invocation.outcome, 'function_protocol_error');
  });

  test('garbage, answers to nobody and too much are told apart', async () => {
    const outcomes = [];
    for (const act of ['garbage', 'unasked', 'too-large']) {
      const { addon, registry, submit } = await fixture();
      registry.deploy('hello');
      const invocation = submit('hello');
      await turns();
      if (act === 'unasked') addon.events.onResponse(0, 77, 200, '', null, 0, 0);
      else addon.events.onBroken(0, 'garbage', act);
      await turns();
      outcomes.push(invocation.outcome);
      assert.ok(addon.channels[0]!.closed && addon.channels[0]!.destroyed);
    }
    assert.deepEqual(outcomes, ['function_protocol_error', 'function_protocol_error', 'response_too_large']);
  });

  const faults = [
    [FRAME.FL_FAULT_NO_HANDLER, 'handler_not_found'],
    [FRAME.FL_FAULT_LOAD, 'function_load_failed'],
    [FRAME.FL_FAULT_CALL, 'function_error'],
    [FRAME.FL_FAULT_RESPONSE, 'response_invalid'],
    [FRAME.FL_FAULT_EXIT, 'function_exited'],
    [99, 'function_protocol_error'],
  ] as const;
  for (const [fault, code] of faults) {
    test(`fault ${fault} is ${code}; the instance is destroyed and the next request succeeds`, async () => {
      const { addon, registry, submit } = await fixture();
      registry.deploy('hello', { maxInstances: 1 });
      const [first, second] = [submit('hello'), submit('hello')];
      await turns();
      addon.fault(addon.channels[0]!.requests[0]!, fault);
      assert.equal(first.outcome, code);
      assert.deepEqual(first.error!.details, { errorType: 'ValueError', errorMessage: 'no', stackTrace: ['at x'] });
      await turns();
      assert.ok(addon.channels[0]!.destroyed);
      addon.respond(addon.channels[1]!.requests[0]!);
      assert.equal(second.outcome, '200 hello');
    });
  }
});

describe('retry', () => {
  test('an instance that could not be made is tried once more, and only once', async () => {
    const { addon, registry, submit } = await fixture();
    const asked: number[] = [];
    addon.onCreate = (_channel, request) => (asked.push(request), 'hold');
    registry.deploy('hello');
    const [lucky, unlucky] = [submit('hello'), submit('hello')];
    addon.failed(asked[0]!, 7);
    addon.failed(asked[1]!, 1);
    assert.deepEqual([asked.length, lucky.state, unlucky.state], [4, 'running', 'running']);
    addon.created(addon.channels[2]!, asked[2]!);
    addon.respond(addon.channels[2]!.requests[0]!);
    addon.failed(asked[3]!, 1);
    assert.deepEqual([lucky.outcome, unlucky.outcome, asked.length], ['200 hello', 'sandbox_unavailable', 4]);
  });

  test('a disagreement between the two sides is not retried', async () => {
    const { addon, registry, submit } = await fixture();
    let asked = 0;
    addon.onCreate = (_channel, request) => ((asked = request), 'hold');
    registry.deploy('hello');
    const invocation = submit('hello');
    addon.failed(asked, 3);
    assert.deepEqual([invocation.outcome, addon.channels.length], ['internal_error', 1]);
  });

  test('a warm instance that cannot be written to is replaced', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    addon.brokenPipes.add(0);
    const invocation = submit('hello');
    await turns();
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.deepEqual([invocation.outcome, invocation.start, addon.channels[0]!.closed], ['200 hello', 'language-template', true]);
  });

  test('a warm instance that died with the request unread is replaced, a fresh one is not', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    const warm = submit('hello');
    addon.events.onBroken(0, 'reset', 'before the reply');
    await turns();
    addon.ended(addon.channels[0]!);
    await turns();
    assert.equal(addon.channels.length, 2);
    addon.events.onBroken(1, 'reset', 'before the reply');
    addon.ended(addon.channels[1]!, { how: PROTOCOL.FL_END_SIGNALED, status: 9 });
    assert.deepEqual([warm.outcome, addon.channels.length], ['function_crashed', 2]);
  });
});

describe('sandboxd', () => {
  test('its loss fails what runs with 503, keeps what waits, and service resumes with the next one', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { maxInstances: 1 });
    const [running, waiting] = [submit('hello'), submit('hello')];
    await turns();
    addon.loseSandboxd();
    assert.deepEqual([running.outcome, waiting.outcome, pools.instances], ['sandbox_unavailable', 'none', 0]);
    assert.ok(addon.channels[0]!.closed);
    addon.connect();
    await turns();
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.equal(waiting.outcome, '200 hello');
  });

  test('who waits for it does so for a bounded time', async () => {
    const { addon, registry, submit } = await fixture({ connected: false, readyWaitMs: 30 });
    registry.deploy('hello');
    const early = submit('hello');
    await sleep(50);
    assert.equal(early.outcome, 'sandbox_unavailable');
    const late = submit('hello');
    addon.connect();
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(late.outcome, '200 hello');
  });

  test('a runtime that is booting is waited for, one that failed is not', async () => {
    const { addon, registry, submit } = await fixture({ connected: false });
    addon.runtimes = [
      { name: 'python', state: PROTOCOL.FL_RUNTIME_BOOTING },
      { name: 'native', state: PROTOCOL.FL_RUNTIME_FAILED, detail: 'no gcc' },
    ];
    registry.deploy('hello');
    registry.deploy('broken', { runtime: 'native' });
    addon.connect();
    await turns();
    const [patient, refused] = [submit('hello'), submit('broken')];
    assert.equal(refused.outcome, 'runtime_not_ready');
    assert.match(refused.error!.message, /no gcc/);
    addon.runtime('python', PROTOCOL.FL_RUNTIME_READY);
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(patient.outcome, '200 hello');
  });
});

describe('shutting down', () => {
  test('refuses, drains, destroys, and says why to what would not end', async () => {
    const { addon, registry, submit, dispatcher } = await fixture();
    registry.deploy('hello', { timeoutMs: 5000 });
    const [quick, endless] = [submit('hello'), submit('hello')];
    await turns();
    const drained = dispatcher.drain(50);
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(submit('hello').outcome, 'shutting_down');
    await drained;
    await dispatcher.close(1000);
    assert.deepEqual([quick.outcome, endless.outcome], ['200 hello', 'shutting_down']);
    assert.deepEqual(addon.channels.map((channel) => channel.destroyed), [true, true]);
  });
});

describe('isolation', () => {
  test('a version that may not run here, though it is live, has no instances, and its invocations are told why', async () => {
    const { addon, registry, submit } = await fixture({ refusal: ({ isolation }) => (isolation === 'process' ? new FlashdError('isolation_not_allowed') : undefined) });
    registry.deploy('light', { isolation: 'process', standby: 1, functionTemplate: 1 });
    registry.deploy('full');
    const invocation = submit('light');
    await turns();
    assert.deepEqual([invocation.outcome, invocation.error?.status, invocation.error?.retryable, addon.channels.length], ['isolation_not_allowed', 403, false, 0]);
    submit('full');
    assert.equal(addon.channels.length, 1);
  });

  test('the class that the manifest asks for is what sandboxd is asked for', async () => {
    const { addon, registry, submit } = await fixture();
    for (const isolation of ['process', 'full', undefined] as const) registry.deploy(`is-${isolation}`, isolation === undefined ? {} : { isolation });
    for (const isolation of ['process', 'full', undefined]) submit(`is-${isolation}`);
    assert.deepEqual(addon.channels.map(({ network }) => network), [PROTOCOL.FL_NETWORK_LIGHT, PROTOCOL.FL_NETWORK_NONE, PROTOCOL.FL_NETWORK_NONE]);
  });
});
