import { setTimeout } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fixture, sleep, turns } from '../invocation/fixture.ts';

const MIB = 1024 * 1024;

/** Long enough for an instance that is not kept warm to have been destroyed. */
const RETIRED_MS = 50;

describe('keep-warm', () => {
  test('idle instances go after their time, used ones stay', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { keepWarmSeconds: 0.05 });
    submit('hello');
    submit('hello');
    await turns();
    for (const channel of addon.channels) addon.respond(channel.requests[0]!);
    for (let round = 0; round < 4; round++) {
      await sleep(20);
      submit('hello');
      addon.respond(addon.channels[1]!.requests.at(-1)!);
    }
    assert.deepEqual(addon.channels.map((channel) => channel.destroyed), [true, false]);
    await sleep(80);
    assert.deepEqual([addon.channels[1]!.destroyed, pools.instances, pools.counters.expired], [true, 0, 2]);
  });

  test('zero keeps nothing', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { keepWarmSeconds: 0 });
    submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    submit('hello');
    assert.equal(addon.channels.length, 2, 'it is not used again');
    await setTimeout(RETIRED_MS);
    assert.ok(addon.channels[0]!.destroyed);
  });
});

describe('request isolation', () => {
  test('fresh: an instance serves one request, and what waits gets another one', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { requestIsolation: 'fresh', maxInstances: 1 });
    const first = submit('hello');
    const second = submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    await turns();
    assert.deepEqual([first.outcome, second.outcome, addon.channels.length], ['200 hello', 'none', 2]);
    assert.equal(addon.channels[0]!.requests.length, 1, 'it is not used again');
    addon.respond(addon.channels[1]!.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([second.outcome, ...addon.channels.map((channel) => channel.destroyed)], ['200 hello', true, true]);
    assert.equal(pools.instances, 0);
  });

  test('fresh: an instance that was made and served nothing is kept', async () => {
    const { addon, registry, dispatcher, submit } = await fixture();
    registry.deploy('hello', { requestIsolation: 'fresh' });
    dispatcher.anticipate('hello');
    await turns();
    submit('hello');
    await turns();
    assert.equal(addon.channels.length, 1);
  });
});

describe('shared bounds', () => {
  test('an idle instance of one function makes room for another one, the least recently used first', async () => {
    const { addon, registry, submit, pools } = await fixture({ memoryBudgetBytes: 40 * MIB });
    for (const name of ['a', 'b', 'c']) registry.deploy(name);
    for (const name of ['a', 'b']) {
      submit(name);
      await turns();
      addon.respond(addon.channels.at(-1)!.requests[0]!);
      await sleep(2);
    }
    submit('a');
    addon.respond(addon.channels[0]!.requests[1]!);
    const third = submit('c');
    await turns();
    addon.respond(addon.channels[2]!.requests[0]!);
    assert.deepEqual([third.outcome, pools.counters.evicted], ['200 hello', 1]);
    assert.deepEqual(addon.channels.map((channel) => channel.destroyed), [false, true, false]);
  });

  test('what is measured replaces the estimate, and more than the budget is evicted', async () => {
    const { addon, registry, submit, pools } = await fixture({ memoryBudgetBytes: 40 * MIB, usageIntervalMs: 10 });
    registry.deploy('a');
    submit('a');
    submit('a');
    await turns();
    for (const channel of addon.channels) addon.respond(channel.requests[0]!);
    addon.usage = new Map([
      [1, 3 * MIB],
      [2, 60 * MIB],
    ]);
    await sleep(40);
    assert.deepEqual([pools.instances, pools.counters.evicted], [0, 2]);
    assert.equal(pools.memoryBytes, 0);
  });

  test('who can get no instance is served when one of another function becomes idle', async () => {
    const { addon, registry, submit } = await fixture({ maxInstances: 1 });
    registry.deploy('a');
    registry.deploy('b');
    const first = submit('a');
    const second = submit('b');
    await turns();
    assert.deepEqual([addon.channels.length, second.state], [1, 'queued']);
    addon.respond(addon.channels[0]!.requests[0]!);
    await turns(6);
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.deepEqual([first.outcome, second.outcome, addon.channels[0]!.destroyed], ['200 hello', '200 hello', true]);
  });

  test('a busy function gives an instance up for one that has none', async () => {
    const { addon, registry, submit } = await fixture({ maxInstances: 2 });
    registry.deploy('busy');
    registry.deploy('small');
    for (let index = 0; index < 4; index++) submit('busy');
    const small = submit('small');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    await turns(6);
    assert.deepEqual([addon.channels.length, small.state, addon.channels[0]!.destroyed], [3, 'running', true]);
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.equal(addon.channels[1]!.requests.length, 2, 'the other one goes on with the queue of its own function');
  });

  test('nothing is left behind after many instances have come and gone', async () => {
    const { addon, registry, submit, pools, dispatcher } = await fixture({ maxInstances: 8 });
    for (const name of ['a', 'b', 'c']) registry.deploy(name, { keepWarmSeconds: 0, queue: 1000 });
    addon.onRequest = (request) => setImmediate(() => (request.id + request.channel) % 7 === 0 ? addon.fault(request, 3) : addon.respond(request));
    const all = Array.from({ length: 600 }, (_, index) => submit(['a', 'b', 'c'][index % 3]!));
    await Promise.all(all.map((each) => each.done));
    await setTimeout(RETIRED_MS);
    assert.ok(all.every((each) => each.outcome === '200 hello' || each.outcome === 'function_error'));
    assert.ok(all.every((each) => each.released === 1));
    assert.deepEqual([pools.instances, pools.memoryBytes, dispatcher.queued, dispatcher.running], [0, 0, 0, 0]);
    assert.ok(addon.channels.every((channel) => channel.closed && channel.destroyed));
  });
});
