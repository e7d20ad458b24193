/** The pulse (native/addon/pulse.h) from outside: seen by nobody, and over some time after the last request. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';

const QUIET_MS = 4000;
const ESTABLISHED = '01';

/** Connections whose far end is the port. */
function connectionsTo(port: number): number {
  const far = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/net/tcp', 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).filter(([, , remote, state]) => remote?.endsWith(far) && state === ESTABLISHED).length;
}

describe('the pulse', () => {
  let flashd: Flashd;
  let fixture: Fixture;
  before(async () => {
    flashd = await Flashd.start();
    fixture = prepareFixture('python', 'logs');
    await flashd.cli('deploy', fixture.directory);
  });
  after(async () => {
    await flashd?.stop();
    fixture?.remove();
  });
  const invocations = async (): Promise<string[]> => (await flashd.http('GET', '/metrics')).body.toString().split('\n').filter((line) => /^flashd_(invocations|starts)/.test(line));

  test('beats after a request, unseen by the function, the metrics and the logs, and ends by itself', async () => {
    assert.equal(connectionsTo(flashd.port), 0, 'none before the first request');
    assert.equal((await flashd.http('GET', `/function/${fixture.name}`)).status, 200);
    await sleep(100);
    const counted = await invocations();
    assert.ok(counted.length > 0);
    const logged = (await flashd.cli('logs', fixture.name)).length;
    assert.equal(connectionsTo(flashd.port), 1);
    await sleep(500);
    assert.deepEqual(await invocations(), counted);
    assert.equal((await flashd.cli('logs', fixture.name)).length, logged);
    await sleep(QUIET_MS);
    assert.equal(connectionsTo(flashd.port), 0);
    assert.equal((await flashd.http('GET', `/function/${fixture.name}`)).status, 200);
    await sleep(100);
    assert.equal(connectionsTo(flashd.port), 1, 'it beats again');
  });

  test('beats leave what instances are forked from as it was', async () => {
    const cold = prepareFixture('native', 'context');
    writeFileSync(join(cold.directory, 'function.json'), JSON.stringify({ keepWarmSeconds: 0, standby: 0, functionTemplate: 0 }));
    try {
      await flashd.cli('deploy', cold.directory);
      for (let round = 0; round < 8; round++) {
        const answer = await flashd.http('GET', `/function/${cold.name}`);
        assert.deepEqual([answer.status, startOf(answer)], [200, 'language-template']);
        await sleep(150);
      }
    } finally {
      cold.remove();
    }
  });
});
