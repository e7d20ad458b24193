import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Idleness, Restlessness } from '../../../src/pool/unasked.ts';
import { PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { fixture, turns } from '../invocation/fixture.ts';

/** By both clocks at once: each knows of time that passes, not of what it is. */
const usage = (atMs: number, cpuMs: number) => ({ instance: 1, memoryBytes: 0, cpuUs: cpuMs * 1000, atUs: atMs * 1000 + 123_456_789 });
const YIELDS_FIRST_MS = 2000;
const YIELDS_LAST_MS = 64_000;

describe('what an instance takes unasked', () => {
  test('is nothing at the first measurement, and what it took while it was idle at the next', () => {
    const idleness = new Idleness();
    idleness.begin(1);
    assert.equal(idleness.measured(usage(1000, 700), 1, 1000), 0);
    assert.equal(idleness.measured(usage(2000, 1200), 1, 2000), 0.5);
    assert.equal(idleness.measured(usage(4000, 1200), 1, 4000), 0);
  });

  test('is what is left of the time that it was asked for something', () => {
    const idleness = new Idleness();
    idleness.measured(usage(1000, 0), 1, 1000);
    idleness.begin(1600);
    assert.equal(idleness.measured(usage(2000, 1000), 1, 2000), 0.4);
    idleness.end(2200);
    idleness.begin(2300);
    assert.ok(Math.abs(idleness.measured(usage(3000, 1500), 1, 3000) - 0.4) < 1e-9);
  });

  test('is nothing where its time was not read, and what it took since it was read last at the next', () => {
    const idleness = new Idleness();
    idleness.begin(1);
    assert.equal(idleness.measured({ ...usage(1000, 500), atUs: 0 }, 1, 1000), 0);
    assert.equal(idleness.measured(usage(2000, 700), 1, 2000), 0);
    assert.equal(idleness.measured({ ...usage(3000, 0), atUs: 0 }, 1, 3000), 0);
    assert.equal(idleness.measured(usage(4000, 1700), 1, 4000), 0.5);
  });

  test('is not what it may have taken on other processors meanwhile', () => {
    const idleness = new Idleness();
    idleness.measured(usage(1000, 0), 2, 1000);
    idleness.begin(1500);
    assert.equal(idleness.measured(usage(2000, 1000), 2, 2000), 0);
  });

  test('is nothing where it was asked all the time, whatever the gateway was kept from', () => {
    const idleness = new Idleness();
    idleness.measured(usage(1000, 0), 1, 1000);
    assert.equal(idleness.measured(usage(3000, 2000), 1, 2100), 0);
    assert.equal(idleness.measured(usage(3500, 2500), 1, 3900), 0);
  });

  test('is not what it takes for the pulse, as long as that is quick', () => {
    const beatenWith = (ms: number): number => {
      const idleness = new Idleness();
      idleness.begin(1);
      idleness.measured(usage(1000, 0), 1, 1000);
      for (let beat = 0; beat < 100; beat++) idleness.beat(ms);
      return idleness.measured(usage(2000, 150), 1, 2000);
    };
    assert.ok(Math.abs(beatenWith(0.5) - 0.1) < 1e-9);
    assert.ok(Math.abs(beatenWith(5) - 0.05) < 1e-9);
  });

  test('is nothing where it had less than one processor, and that all along', () => {
    const idleness = new Idleness();
    idleness.measured(usage(1000, 0), 0.4, 1000);
    assert.ok(idleness.measured(usage(2000, 400), 0.4, 2000) <= 0);
  });
});

describe('restlessness', () => {
  test('lasts for a while after it was found last', () => {
    const restlessness = new Restlessness();
    assert.equal(restlessness.measured(0.05, 10_000), false);
    assert.equal(restlessness.measured(0.2, 11_000), true);
    assert.equal(restlessness.measured(0.2, 12_000), false, 'it is already');
    assert.equal(restlessness.restless, true);
    assert.equal(restlessness.measured(0, 12_000 + YIELDS_FIRST_MS - 1), false);
    assert.equal(restlessness.measured(0, 12_000 + YIELDS_FIRST_MS), true);
    assert.equal(restlessness.restless, false);
  });

  test('lasts longer each time that it comes back soon, and not without end', () => {
    const restlessness = new Restlessness();
    let now = 10_000;
    const lasts: number[] = [];
    for (let again = 0; again < 7; again++) {
      restlessness.measured(1, now);
      const begin = now;
      while (restlessness.restless) restlessness.measured(0, (now += YIELDS_FIRST_MS / 2));
      lasts.push(now - begin);
    }
    assert.deepEqual(lasts, [2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000]);
    now += YIELDS_LAST_MS;
    restlessness.measured(1, now);
    restlessness.measured(0, now + YIELDS_FIRST_MS);
    assert.equal(restlessness.restless, false, 'after a rest it is as at first');
  });
});

describe('a restless function', () => {
  test('yields with all its instances, though what it is asked for is short, and those that are made yield from their beginning', async () => {
    const { addon, registry, submit } = await fixture({ usageIntervalMs: 5 });
    for (const name of ['restless', 'calm']) registry.deploy(name);
    for (const name of ['restless', 'calm']) {
      submit(name);
      await turns();
      addon.respond(addon.channels.at(-1)!.requests[0]!);
    }
    const begin = performance.now();
    const measure = () => {
      const ms = performance.now() - begin;
      return new Map([[1, { memoryBytes: 0, cpuUs: Math.round(ms * 500), atUs: Math.round(ms * 1000) }], [2, { memoryBytes: 0, cpuUs: 0, atUs: Math.round(ms * 1000) }]]);
    };
    while (addon.yields.length === 0 && performance.now() - begin < 5000) {
      addon.usage = measure();
      await sleep(20);
    }
    assert.deepEqual(addon.yields, ['1 yields']);
    submit('restless');
    submit('restless');
    await turns();
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.deepEqual(addon.yields, ['1 yields']);
    assert.deepEqual(addon.channels.map(({ flags }) => (flags & PROTOCOL.FL_CREATE_YIELDS) !== 0), [false, false, true]);
  });
});
