import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { fixture, turns } from '../invocation/fixture.ts';

/** More than twice what lies between two looks. */
const LONG_MS = 80;

/** The machine's own haste or delay does not count. */
async function clocked(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const world = await fixture();
  const sleep = (ms: number) => {
    for (let passed = 0; passed < ms; passed++) t.mock.timers.tick(1);
  };
  return { ...world, sleep };
}

describe('yielding', () => {
  test('an instance yields when its work takes long, and does no longer after something short', async (t) => {
    const { addon, registry, submit, sleep } = await clocked(t);
    registry.deploy('hello');
    submit('hello');
    await turns();
    assert.deepEqual(addon.yields, []);
    sleep(LONG_MS);
    assert.deepEqual(addon.yields, ['1 yields']);
    sleep(LONG_MS);
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.deepEqual(addon.yields, ['1 yields'], 'once, and the end of what was long changes nothing');
    submit('hello');
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.deepEqual(addon.yields, ['1 yields', '1 does not']);
  });

  test('what is made while a function works long yields from its beginning', async (t) => {
    const { addon, registry, submit, sleep } = await clocked(t);
    registry.deploy('hello');
    submit('hello');
    await turns();
    sleep(LONG_MS);
    submit('hello');
    await turns();
    assert.deepEqual(addon.channels.map(({ flags }) => (flags & PROTOCOL.FL_CREATE_YIELDS) !== 0), [false, true]);
    assert.deepEqual(addon.yields, ['1 yields']);
    addon.respond(addon.channels[1]!.requests[0]!);
    submit('hello');
    await turns();
    assert.deepEqual(addon.yields, ['1 yields', '2 does not']);
    submit('hello');
    await turns();
    assert.deepEqual(addon.channels.map(({ flags }) => (flags & PROTOCOL.FL_CREATE_YIELDS) !== 0), [false, true, false]);
  });

  test('short work, one piece after another, never does', async (t) => {
    const { addon, registry, submit, sleep } = await clocked(t);
    registry.deploy('hello');
    for (let round = 0; round < 12; round++) {
      submit('hello');
      await turns();
      sleep(10);
      addon.respond(addon.channels[0]!.requests.at(-1)!);
    }
    assert.deepEqual(addon.yields, []);
  });

  test('another function is none the wiser', async (t) => {
    const { addon, registry, submit, sleep } = await clocked(t);
    for (const name of ['long', 'short']) registry.deploy(name);
    submit('long');
    await turns();
    sleep(LONG_MS);
    submit('short');
    await turns();
    assert.deepEqual(addon.yields, ['1 yields']);
  });
});
