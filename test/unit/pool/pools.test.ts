import { setTimeout } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PROTOCOL } from '../../../src/sandbox/protocol.ts';
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

  test('fresh: an instance that is done before CREATED comes is destroyed when it does', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { requestIsolation: 'fresh' });
    let asked = 0;
    addon.onCreate = (_, request) => ((asked = request), 'hold');
    submit('hello');
    addon.respond(addon.channels[0]!.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([addon.channels[0]!.closed, addon.channels[0]!.destroyed], [true, false]);
    addon.created(addon.channels[0]!, asked);
    await turns();
    assert.deepEqual([addon.channels[0]!.destroyed, pools.instances], [true, 0]);
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

describe('learning', () => {
  test('of a fork that has answered before CREATED came, what it wrote to is asked for when it does', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { keepWarmSeconds: 0, functionTemplate: 1 });
    submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    await turns(4);
    const candidate = addon.channels[1]!;
    addon.respond(candidate.pings[0]!);
    await turns(4);
    let asked = 0;
    addon.onCreate = (_, request) => ((asked = request), 'hold');
    submit('hello');
    const fork = addon.channels[2]!;
    assert.notEqual(fork.from, 0);
    addon.respond(fork.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([addon.learnt, fork.closed], [[], false], 'it is looked at before it ends');
    addon.created(fork, asked);
    assert.deepEqual(addon.learnt, [fork.instance]);
  });
});

describe('across functions', () => {
  const served = async (acrossFunctions: boolean, manifest: object = {}) => {
    const all = await fixture({ acrossFunctions });
    all.registry.deploy('hello', { keepWarmSeconds: 0, ...manifest });
    all.submit('hello');
    await turns();
    const channel = all.addon.channels[0]!;
    return { ...all, channel, across: (channel.flags & PROTOCOL.FL_CREATE_ACROSS) !== 0 };
  };

  test('an instance is asked for that may have been another function\'s, and is given back with its channel still open', async () => {
    const { addon, channel, across, pools } = await served(true);
    assert.ok(across);
    addon.respond(channel.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([channel.destroyed, channel.rested, channel.openAtEnd, channel.closed, pools.instances], [true, true, true, true, 0]);
  });

  test('one that was made for its function is ended', async () => {
    const all = await fixture({ acrossFunctions: true });
    all.addon.reuses = false;
    all.registry.deploy('hello', { keepWarmSeconds: 0 });
    all.submit('hello');
    await turns();
    all.addon.respond(all.addon.channels[0]!.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([all.addon.channels[0]!.destroyed, all.addon.channels[0]!.rested], [true, false]);
  });

  test('one that failed its request is not given back', async () => {
    const { addon, channel } = await served(true);
    addon.fault(channel.requests[0]!, 1);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([channel.destroyed, channel.rested], [true, false]);
  });

  test('one that is asked to rest and never ends is given up after a while', async () => {
    const { addon, channel, pools } = await served(true);
    addon.endsWhenDestroyed = false;
    addon.respond(channel.requests[0]!);
    await setTimeout(200);
    assert.deepEqual([channel.rested, channel.closed, pools.instances], [true, true, 0]);
  });

  test('one that rests makes room at once: it is nobody\'s', async () => {
    const { addon, registry, submit } = await fixture({ acrossFunctions: true, maxInstances: 1 });
    for (const name of ['one', 'other']) registry.deploy(name, {});
    addon.endsWhenDestroyed = false;
    submit('one');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    const second = submit('other');
    await turns();
    addon.respond(addon.channels[1]!.requests[0]!);
    assert.deepEqual([addon.channels[0]!.rested, second.outcome], [true, '200 hello']);
  });

  for (const [name, acrossFunctions, manifest] of [['the operator', false, {}], ['fresh', true, { requestIsolation: 'fresh' }], ['a network', true, { network: 'egress' }]] as const) test(`${name} keeps it its function's`, async () => {
    const { addon, channel, across } = await served(acrossFunctions, manifest);
    assert.equal(across, false);
    addon.respond(channel.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([channel.destroyed, channel.rested], [true, false]);
  });
});

describe('standbys at the bound', () => {
  test('one that had no room is made when an instance is over', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { standby: 1, maxInstances: 1, keepWarmSeconds: 0 });
    await turns();
    addon.respond(addon.channels[0]!.pings.shift()!);
    submit('hello');
    addon.respond(addon.channels[0]!.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.deepEqual([addon.channels.length, addon.channels[1]?.pings.length], [2, 1]);
  });
});

describe('rewinding', () => {
  const RESTORE = { requestIsolation: 'restore', standby: 1, functionTemplate: 1, maxInstances: 2 } as const;

  /** With a function template and the standby that is forked from it, which is described and was told to renew itself. */
  async function described(options: { rewindable?: (type: number) => boolean; maxInstances?: number; bound?: number } = {}) {
    const all = await fixture(options.bound === undefined ? {} : { maxInstances: options.bound });
    all.addon.rewindable = options.rewindable ?? all.addon.rewindable;
    all.registry.deploy('hello', { ...RESTORE, maxInstances: options.maxInstances ?? RESTORE.maxInstances });
    // The first standby is a fork of the language template; then the candidate is frozen; then the standby that is described.
    for (let round = 0; round < 30 && !all.addon.living.some((channel) => channel.flags & PROTOCOL.FL_CREATE_REWOUND && channel.pings.length > 0); round++) {
      for (const channel of all.addon.living) for (const ping of channel.pings.splice(0)) all.addon.respond(ping);
      // Where there may be only one, the first has to serve its request before the next can be made.
      if (options.maxInstances === 1 && round === 10) all.submit('hello');
      for (const channel of all.addon.living) for (const request of channel.requests.splice(0)) all.addon.respond(request);
      await sleep(2);
    }
    const channel = all.addon.living.find(({ flags }) => flags & PROTOCOL.FL_CREATE_REWOUND)!;
    return { ...all, channel };
  }

  test('an instance is described before it is told anything, and rewound after each response', async () => {
    const { addon, channel, submit, pools } = await described();
    assert.deepEqual(addon.rewinds, [{ instance: channel.instance, type: PROTOCOL.FL_MSG_SNAPSHOT }]);
    addon.respond(channel.pings.shift()!);
    const first = submit('hello');
    channel.init = '';
    addon.respond(channel.requests[0]!);
    assert.equal(first.outcome, '200 hello');
    await turns();
    // Meanwhile the standby that follows it may have been described.
    assert.equal(addon.rewinds.findLast(({ instance }) => instance === channel.instance)!.type, PROTOCOL.FL_MSG_REWIND);
    assert.match(channel.init, /function=hello/, 'it renews what it must not repeat');
    addon.respond(channel.pings.shift()!);
    const second = submit('hello');
    addon.respond(channel.requests[1]!);
    assert.deepEqual([second.outcome, pools.counters.rewinds, pools.counters.pagesRewound], ['200 hello', 1, 7]);
  });

  test('a request that arrives meanwhile is not given to it before it is what it was', async () => {
    const { addon, channel, submit } = await described();
    addon.respond(channel.pings.shift()!);
    submit('hello');
    addon.respond(channel.requests[0]!);
    const second = submit('hello');
    assert.equal(channel.requests.length, 1);
    await turns();
    for (const each of addon.living) for (const request of each.requests.slice(each === channel ? 1 : 0)) addon.respond(request);
    await turns();
    assert.equal(second.outcome, '200 hello');
  });

  test('one that cannot be rewound is over', async () => {
    const { addon, channel, submit, pools } = await described({ rewindable: (type) => type === PROTOCOL.FL_MSG_SNAPSHOT });
    addon.respond(channel.pings.shift()!);
    submit('hello');
    addon.respond(channel.requests[0]!);
    await turns();
    assert.deepEqual([channel.destroyed, channel.requests.length, pools.counters.rewindsFailed, pools.counters.rewinds], [true, 1, 1, 0]);
  });

  test('a request that finds the only instance there may be while it is described gets it then', async () => {
    const { addon, channel, submit } = await described({ rewindable: (type) => type === PROTOCOL.FL_MSG_SNAPSHOT, maxInstances: 1 });
    addon.respond(channel.pings.shift()!);
    submit('hello');
    addon.respond(channel.requests[0]!);              // it cannot be rewound: the next standby takes its place
    let waits: ReturnType<typeof submit> | undefined;
    addon.rewindable = (type) => {
      if (type === PROTOCOL.FL_MSG_SNAPSHOT) waits = submit('hello');
      return type === PROTOCOL.FL_MSG_SNAPSHOT;
    };
    for (let round = 0; round < 100 && waits === undefined; round++) await sleep(1);
    await turns();
    const successor = addon.living.at(-1)!;
    assert.deepEqual([successor.requests.length, waits!.outcome], [1, 'none']);
    addon.respond(successor.requests[0]!);
    assert.equal(waits!.outcome, '200 hello');
  });

  test('one that was rewound and says nothing is given up, and what waits gets another one', async (t) => {
    const { addon, channel, submit } = await described({ maxInstances: 1 });
    addon.respond(channel.pings.shift()!);
    submit('hello');
    t.mock.timers.enable({ apis: ['setTimeout'] });
    addon.respond(channel.requests[0]!);
    await turns();
    assert.equal(channel.pings.length, 1);
    const waits = submit('hello');
    t.mock.timers.tick(30_000);
    assert.ok(channel.destroyed);
    await turns();
    addon.respond(addon.living.at(-1)!.requests[0]!);
    assert.equal(waits.outcome, '200 hello');
  });

  test('one that has answered is given up for a function that can get none', async () => {
    const { addon, channel, registry, submit } = await described({ maxInstances: 3, bound: 3 });
    addon.respond(channel.pings.shift()!);
    for (let each = 0; each < 4; each++) submit('hello');
    await turns(6);
    registry.deploy('other');
    const other = submit('other');
    await turns();
    assert.deepEqual([addon.living.length, other.state], [3, 'queued']);
    addon.respond(channel.requests[0]!);
    await turns(6);
    assert.ok(channel.destroyed);
    addon.respond(addon.living.at(-1)!.requests[0]!);
    assert.equal(other.outcome, '200 hello');
  });

  test('one that was not described serves one request', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', RESTORE);
    const { pings } = addon.channels[0]!;
    addon.respond(pings.shift()!);
    submit('hello');
    addon.respond(addon.channels[0]!.requests[0]!);
    await setTimeout(RETIRED_MS);
    assert.ok(addon.channels[0]!.destroyed);
    assert.deepEqual(addon.rewinds, []);
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
      [1, { memoryBytes: 3 * MIB, cpuUs: 0, atUs: 0 }],
      [2, { memoryBytes: 60 * MIB, cpuUs: 0, atUs: 0 }],
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
