import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { Lane } from '../../../src/pool/lane.ts';
import { PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { fixture, turns } from '../invocation/fixture.ts';

const LOOK_MS = 25;
const LINGER_MS = 500;
/** More than twice what lies between two looks. */
const LONG_MS = 80;
/** Looks after which a mean is what it is a mean of, nearly. */
const SETTLED = 40;

/** A lane and what was done with it; `has`: the machine has one. */
function laneOf(has = true) {
  const kept: boolean[] = [];
  const lane = new Lane((open) => {
    kept.push(open);
    return has;
  });
  let now = 1000;
  /** So many looks, each with a short request before it. */
  const looks = (count: number, short: number, long: number, asked = true): boolean[] =>
    Array.from({ length: count }, () => {
      if (asked) lane.ask();
      return lane.look(short, long, (now += LOOK_MS));
    });
  return { lane, kept, looks };
}

describe('when the lane is kept', () => {
  test('while somebody works long and something short comes, and not otherwise', () => {
    const { lane, kept, looks } = laneOf();
    looks(1, 0, 0);
    assert.equal(lane.open, false);
    assert.deepEqual(looks(2, 0, 1), [true, false]);
    assert.equal(lane.open, true);
    looks(19, 0, 0);
    assert.equal(lane.open, true, 'somebody may again in a moment');
    assert.deepEqual(looks(2, 0, 0), [true, false]);
    assert.equal(lane.open, false);
    assert.deepEqual(kept, [true, false]);
  });

  test('as long as something short was asked for within a second', () => {
    const { lane, looks } = laneOf();
    looks(1, 0, 3);
    looks(39, 0, 3, false);
    assert.equal(lane.open, true);
    looks(1, 0, 3, false);
    assert.equal(lane.open, false, 'all processors belong to those who work');
    looks(1, 0, 3);
    assert.equal(lane.open, true);
  });

  test('as long as one processor is enough for what is short', () => {
    const { lane, kept, looks } = laneOf();
    looks(SETTLED, 0, 1);
    looks(1, 4, 1);
    assert.equal(lane.open, true, 'a burst is no crowd');
    looks(SETTLED, 2, 1);
    assert.equal(lane.open, false);
    looks(40, 0, 1);
    assert.equal(lane.open, true, 'a second after the last crowd');
    assert.deepEqual(kept, [true, false, true]);
  });

  test('it is not opened where there is hardly room, and not closed there either', () => {
    const crowded = laneOf();
    crowded.looks(SETTLED, 1, 0);
    crowded.looks(SETTLED, 1, 1);
    assert.equal(crowded.lane.open, false);
    const open = laneOf();
    open.looks(SETTLED, 0, 1);
    open.looks(SETTLED, 1, 1);
    assert.equal(open.lane.open, true);
  });

  test('a machine that has none is asked once', () => {
    const { lane, kept, looks } = laneOf(false);
    assert.deepEqual(looks(3, 0, 1), [false, false, false]);
    assert.equal(lane.open, false);
    assert.deepEqual(kept, [true]);
  });
});

const isAside = ({ flags }: { flags: number }): boolean => (flags & PROTOCOL.FL_CREATE_ASIDE) !== 0;

/** The machine's own haste or delay does not count. */
async function clocked(t: TestContext, hasLane = true) {
  let now = 1000;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => now);
  const world = await fixture();
  world.addon.hasLane = hasLane;
  const { addon, registry, submit } = world;
  const sleep = (ms: number) => {
    for (let passed = 0; passed < ms; passed++) {
      now++;
      t.mock.timers.tick(1);
    }
  };
  /** The instance of the function answers after so many milliseconds. */
  const ask = async (name: string, ms: number, channel: number) => {
    submit(name);
    await turns();
    sleep(ms);
    addon.respond(addon.channels[channel]!.requests.at(-1)!);
  };
  /** What was told since the last time. */
  const told = () => addon.places.splice(0);
  for (const name of ['long', 'short']) registry.deploy(name);
  submit('long');
  await turns();
  sleep(LONG_MS);
  return { ...world, sleep, ask, told };
}

describe('who is in the lane', () => {
  test('who has answered in no time a few times, as long as that is so', async (t) => {
    const { addon, ask, told } = await clocked(t);
    assert.equal(addon.lane, true);
    assert.deepEqual(told(), ['1 all', '1 others'], 'who works long is elsewhere');
    await ask('short', 10, 1);
    for (let round = 0; round < 3; round++) await ask('short', 1, 1);
    assert.deepEqual(told(), [], 'as long as nobody knows');
    assert.deepEqual(addon.channels.map(isAside), [false, true], 'it is elsewhere from its beginning');
    await ask('short', 1, 1);
    assert.deepEqual(told(), ['2 lane'], 'what loading its code takes does not count');
    for (let round = 0; round < 10; round++) await ask('short', 2, 1);
    await ask('short', 3, 1);
    assert.deepEqual(told(), [], 'once is never');
    await ask('short', 3, 1);
    assert.deepEqual(told(), ['2 others']);
  });

  test('nobody, and nobody is kept out of it, once nobody works long', async (t) => {
    const { addon, ask, told, sleep } = await clocked(t);
    for (let round = 0; round < 5; round++) await ask('short', 1, 1);
    assert.equal(told().at(-1), '2 lane');
    addon.respond(addon.channels[0]!.requests[0]!);
    sleep(LOOK_MS);
    assert.equal(addon.lane, true);
    sleep(LINGER_MS);
    assert.equal(addon.lane, false, 'though there was nothing to be looked at any more');
    assert.deepEqual(told().toSorted(), ['1 all', '2 all']);
    await ask('short', 1, 1);
    assert.deepEqual(told(), []);
  });

  test('what is made of a function that is known to be short, once it has loaded its code', async (t) => {
    const { addon, ask, told, submit } = await clocked(t);
    for (let round = 0; round < 5; round++) await ask('short', 1, 1);
    for (let round = 0; round < 2; round++) submit('short');
    await turns();
    assert.ok(isAside(addon.channels[2]!));
    told();
    addon.respond(addon.channels[2]!.requests[0]!);
    assert.deepEqual(told(), ['3 lane']);
  });

  test('what sandboxd could not be told is told with the next request', async (t) => {
    const { addon, ask, told, sleep } = await clocked(t);
    for (let round = 0; round < 5; round++) await ask('short', 1, 1);
    told();
    const deaf = t.mock.method(addon, 'sendControl', () => { throw new Error('EAGAIN'); });
    addon.respond(addon.channels[0]!.requests[0]!);
    sleep(LINGER_MS + 2 * LOOK_MS);
    deaf.mock.restore();
    assert.equal(addon.lane, false);
    await ask('short', 1, 1);
    assert.deepEqual(told(), ['2 all']);
  });

  test('where there is none, nobody is moved', async (t) => {
    const { addon, ask, told } = await clocked(t, false);
    for (let round = 0; round < 6; round++) await ask('short', 1, 1);
    assert.equal(addon.lane, false);
    assert.deepEqual(told(), ['1 all']);
  });
});
