import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admit, estimateBytes, mayGoAcross, shouldYield, victim } from '../../../src/pool/policy.ts';

const MIB = 1024 * 1024;
const bounds = { memoryBudgetBytes: 100 * MIB, maxInstances: 4 };

test('an instance is admitted while memory and number allow it', () => {
  assert.equal(admit({ instances: 3, ending: 0, memoryBytes: 80 * MIB }, bounds, 20 * MIB), 'create');
  assert.equal(admit({ instances: 3, ending: 0, memoryBytes: 80 * MIB }, bounds, 21 * MIB), 'evict');
  assert.equal(admit({ instances: 4, ending: 0, memoryBytes: 0 }, bounds, 1), 'evict');
  assert.equal(admit({ instances: 3, ending: 1, memoryBytes: 0 }, bounds, 1), 'wait');
});

test('the first instance is admitted whatever the budget', () => {
  assert.equal(admit({ instances: 0, ending: 0, memoryBytes: 0 }, bounds, 1000 * MIB), 'create');
});

test('an estimate never exceeds the function\'s limit', () => {
  assert.equal(estimateBytes(8 * MIB, 0), 8 * MIB);
  assert.equal(estimateBytes(128 * MIB, 0), 16 * MIB);
  assert.equal(estimateBytes(128 * MIB, 3 * MIB), 3 * MIB);
  assert.equal(estimateBytes(128 * MIB, 900 * MIB), 128 * MIB);
});

test('the victim is the one that was idle first', () => {
  const [old, young] = [{ idleSince: 5 }, { idleSince: 9 }];
  assert.equal(victim([young, old]), old);
  assert.equal(victim([]), undefined);
});

test('a pool yields only while it stays ahead of the starving one', () => {
  assert.deepEqual([shouldYield(1, 0), shouldYield(2, 0), shouldYield(3, 2), shouldYield(4, 2)], [false, true, false, true]);
});

test('an instance goes from function to function only where nothing differs that cannot be replaced', () => {
  for (const requestIsolation of ['reuse', 'restore']) assert.equal(mayGoAcross({ requestIsolation }), true);
  assert.equal(mayGoAcross({ requestIsolation: 'fresh' }), false);
  for (const differs of [{ egress: {} }, { isolation: 'process' }, { interception: {} }]) assert.equal(mayGoAcross({ requestIsolation: 'reuse', ...differs }), false);
});
