import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME, PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { finished, fixture, sleep, turns } from '../invocation/fixture.ts';

const MIB = 1024 * 1024;
/** Longer than the moment after which one that was taken is replaced. */
const REFILLED_MS = 20;
/** Longer than the first pause. */
const PAUSED_MS = 1100;

describe('standbys', () => {
  test('a version has one before its first request, which it serves; another one follows', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { standby: 1 });
    await turns();
    assert.equal(addon.channels.length, 1);
    const [standby] = addon.channels;
    assert.match(standby!.init, /function=hello/);
    assert.equal(JSON.parse(standby!.pings[0]!.meta).version, '2.0');
    addon.respond(standby!.pings[0]!);
    const first = submit('hello');
    assert.equal(first.start, 'standby');
    addon.respond(standby!.requests[0]!);
    await finished(first);
    await sleep(REFILLED_MS);
    assert.deepEqual([addon.channels.length, pools.standbys], [2, 1]);
    const second = submit('hello');
    assert.equal(second.start, 'warm', 'what has served already is preferred');
  });

  test('one that is still loading is better than none', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { standby: 1 });
    await turns();
    const early = submit('hello');
    assert.equal(early.start, 'standby');
    addon.respond(addon.channels[0]!.pings[0]!);
    assert.equal(early.outcome, 'none');
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(early.outcome, '200 hello');
  });

  test('code that does not load has none for a while, and each request hears why', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('broken', { standby: 1 });
    await turns();
    addon.fault(addon.channels[0]!.pings[0]!, FRAME.FL_FAULT_LOAD);
    await sleep(REFILLED_MS);
    assert.deepEqual([addon.channels.length, addon.channels[0]!.destroyed, pools.standbys], [1, true, 0]);
    const request = submit('broken');
    await turns();
    assert.equal(request.start, 'language-template');
    addon.fault(addon.channels[1]!.requests[0]!, FRAME.FL_FAULT_LOAD);
    assert.equal(request.outcome, 'function_load_failed');
  });

  test('one that could not even be asked for is tried again', async (t) => {
    const { addon, registry, pools } = await fixture();
    t.mock.method(addon, 'openChannel', () => assert.fail('too many open files'), { times: 1 });
    registry.deploy('hello', { standby: 1 });
    await turns();
    assert.deepEqual([addon.channels.length, pools.standbys], [0, 0]);
    await sleep(PAUSED_MS);
    assert.deepEqual([addon.channels.length, pools.standbys], [1, 1]);
  });

  test('a request whose standby has just died is served by the next path, once', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { standby: 1 });
    await turns();
    addon.respond(addon.channels[0]!.pings[0]!);
    const request = submit('hello');
    addon.events.onBroken(0, 'reset', 'before the reply');
    addon.ended(addon.channels[0]!);
    await turns();
    assert.equal(addon.channels[1]!.requests.length, 1);
    addon.respond(addon.channels[1]!.requests[0]!);
    await finished(request);
    assert.deepEqual([request.outcome, request.attempts], ['200 hello', 2]);
  });

  test('they stay within the bounds, and go before anything that is warm', async () => {
    const { addon, registry, submit, pools } = await fixture({ memoryBudgetBytes: 40 * MIB });
    registry.deploy('warm', { standby: 0 });
    submit('warm');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    registry.deploy('standing-by', { standby: 8 });
    await turns(8);
    assert.equal(pools.standbys, 1, 'the budget has room for two instances of 16 MB, with something left');
    addon.respond(addon.channels[1]!.pings[0]!);
    registry.deploy('needy', { standby: 0 });
    submit('needy');
    await turns();
    assert.deepEqual(addon.channels.map((channel) => channel.destroyed), [false, true, false]);
  });

  test('they count against the instances of their function, and are gone with it', async () => {
    const { addon, registry, pools } = await fixture();
    registry.deploy('hello', { standby: 8, maxInstances: 2 });
    await turns();
    assert.equal(addon.channels.length, 2);
    registry.remove('hello');
    await turns(4);
    assert.deepEqual([pools.standbys, pools.instances], [0, 0]);
    assert.ok(addon.channels.every((channel) => channel.destroyed));
  });

  test('when there is a function template they are forked from it anew, each goes when its successor is ready', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { standby: 2, functionTemplate: 1 });
    await turns();
    for (const channel of [...addon.channels]) addon.respond(channel.pings[0]!);
    await turns();
    const candidate = addon.channels[2]!;
    assert.deepEqual([addon.channels.length, candidate.flags, candidate.from], [3, PROTOCOL.FL_CREATE_CANDIDATE, 0]);
    addon.respond(candidate.pings[0]!);
    await turns();
    const successors = addon.channels.slice(3);
    assert.deepEqual(successors.map(({ flags, from }) => [flags, from]), [[PROTOCOL.FL_CREATE_AHEAD, 1], [PROTOCOL.FL_CREATE_AHEAD, 1]]);
    assert.deepEqual(addon.channels.map(({ destroyed }) => destroyed), [false, false, true, false, false]);
    addon.respond(successors[0]!.pings[0]!);
    await turns();
    assert.deepEqual([addon.channels[0]!.destroyed, addon.channels[1]!.destroyed].sort(), [false, true]);
    addon.respond(successors[1]!.pings[0]!);
    await sleep(REFILLED_MS);
    assert.deepEqual(addon.channels.map(({ destroyed }) => destroyed), [true, true, true, false, false]);
    assert.deepEqual([addon.channels.length, pools.standbys], [5, 2]);
    assert.equal(submit('hello').start, 'standby');
  });

  test('one that is taken before its successor is ready is not ended, and there is one successor', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello', { standby: 1, functionTemplate: 1 });
    await turns();
    addon.respond(addon.channels[0]!.pings[0]!);
    await turns();
    addon.respond(addon.channels[1]!.pings[0]!);
    await turns();
    const request = submit('hello');
    addon.respond(addon.channels[2]!.pings[0]!);
    addon.respond(addon.channels[0]!.requests[0]!);
    await finished(request);
    await sleep(REFILLED_MS);
    assert.deepEqual([request.start, addon.channels[0]!.destroyed, addon.channels.length, pools.standbys], ['standby', false, 3, 1]);
  });

  test('a redeploy replaces them', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { standby: 1 });
    await turns();
    addon.respond(addon.channels[0]!.pings[0]!);
    registry.deploy('hello', { standby: 1 }, 'v2');
    await turns();
    assert.ok(addon.channels[0]!.destroyed);
    addon.respond(addon.channels[1]!.pings[0]!);
    submit('hello');
    assert.match(addon.channels[1]!.init, /version=v2/);
    assert.equal(addon.channels[1]!.requests.length, 1);
  });
});
