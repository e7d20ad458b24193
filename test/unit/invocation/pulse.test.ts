import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeInvocation, fixture, turns } from './fixture.ts';

/** As the HTTP side's does: it leaves the queue out. */
class Beat extends FakeInvocation {
  override onResponse(_from: unknown, status: number, headers: string, body: Parameters<FakeInvocation['succeed']>[3]): void {
    this.succeed(undefined, status, headers, body);
  }

  override onInstanceEnd(): void {
    this.result = { status: 0, headers: '', body: 'ended' };
  }
}

describe('beats of the pulse', () => {
  const used = async (name: string, manifest = {}) => {
    const world = await fixture();
    world.registry.deploy(name, { standby: 0, functionTemplate: 0, ...manifest });
    const first = world.submit(name);
    await turns();
    const channel = world.addon.channels[0]!;
    world.addon.respond(channel.requests[0]!);
    assert.equal(first.outcome, '200 hello');
    return { ...world, channel };
  };

  test('one is a ping of the instance that the next request would get, and counts nowhere', async () => {
    const { addon, dispatcher, channel, submit } = await used('hello');
    const beat = new Beat();
    assert.equal(dispatcher.beat(beat), true);
    assert.match(channel.pings[0]!.meta, /^json /);
    addon.respond(channel.pings[0]!, 200, '', '');
    const { tally } = dispatcher.find('hello')!;
    assert.deepEqual([beat.outcome, tally.succeeded, tally.starts.warm, dispatcher.running, addon.channels.length], ['200 ', 1, 0, 0, 1]);
    const next = submit('hello');
    addon.respond(channel.requests[1]!);
    assert.deepEqual([next.outcome, next.start], ['200 hello', 'warm']);
  });

  test('without an instance sandboxd has it', async () => {
    const { addon, dispatcher, pools } = await used('hello', { keepWarmSeconds: 0 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual([pools.instances, dispatcher.beat(new Beat()), addon.pulses, addon.channels.length], [0, false, 1, 1]);
  });

  test('none goes to an instance that is working, or has not answered the last one', async () => {
    const { dispatcher, channel, submit } = await used('hello');
    assert.equal(dispatcher.beat(new Beat()), true);
    assert.equal(dispatcher.beat(new Beat()), false);
    submit('hello');
    assert.equal(dispatcher.beat(new Beat()), false);
    assert.deepEqual([channel.pings.length, channel.requests.length], [1, 2]);
  });

  test('one hears of its instance\'s end', async () => {
    const { addon, dispatcher, channel } = await used('hello');
    const beat = new Beat();
    dispatcher.beat(beat);
    addon.ended(channel);
    await turns();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal(beat.outcome, '0 ended');
  });

  test('an instance that says more than a pong is long has lost its credit', async () => {
    const { addon, dispatcher, channel, pools } = await used('hello');
    const beat = new Beat();
    dispatcher.beat(beat);
    addon.respond(channel.pings[0]!, 200, '', 'x'.repeat(70_000));
    assert.deepEqual([beat.outcome, channel.destroyed, pools.instances], ['0 ended', true, 0]);
  });

  test('none is for a function with little processor time, for none used, and for one that was removed', async () => {
    const slow = await used('slow', { cpu: 0.1 });
    assert.equal(slow.dispatcher.beat(new Beat()), false);
    const idle = await fixture();
    assert.equal(idle.dispatcher.beat(new Beat()), false);
    const gone = await used('hello');
    gone.registry.remove('hello');
    assert.equal(gone.dispatcher.beat(new Beat()), false);
  });

  test('the function used last has every second one, those before it the others in turn', async () => {
    const world = await used('one');
    for (const name of ['two', 'three']) {
      world.registry.deploy(name, { standby: 0, functionTemplate: 0 });
      world.submit(name);
      await turns();
      world.addon.respond(world.addon.channels.at(-1)!.requests[0]!);
    }
    const pings = () => world.addon.channels.map((channel) => channel.pings.length);
    for (let beat = 0; beat < 8; beat++) {
      const before = pings();
      assert.equal(world.dispatcher.beat(new Beat()), true);
      const channel = world.addon.channels.find((each, index) => each.pings.length > before[index]!)!;
      world.addon.respond(channel.pings.at(-1)!, 200, '', '');
    }
    assert.deepEqual(pings(), [2, 2, 4]);
  });
});
