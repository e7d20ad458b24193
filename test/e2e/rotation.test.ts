import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFixture } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';

const WAIT_MS = 10_000;

for (const replicas of [1, 2]) test(`templates are replaced after their forks, layouts change, and no request fails meanwhile: ${replicas} of each`, async (t) => {
  const flashd = await Flashd.start({ FLASHD_TEMPLATES: String(replicas), FLASHD_TEMPLATE_FORKS: '25', FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0' });
  t.after(() => flashd.stop());
  const fixture = prepareFixture('native', 'context');
  t.after(() => fixture.remove());
  await flashd.cli('deploy', fixture.directory);
  const metric = async (name: string): Promise<number> => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec((await flashd.http('GET', '/metrics')).body.toString())![1]);
  const end = performance.now() + WAIT_MS;
  let requests = 0;
  while ((await metric('flashd_template_rotations_total')) < 4) {
    assert.ok(performance.now() < end, `${requests} requests`);
    const answers = await Promise.all(Array.from({ length: 8 }, () => flashd.http('GET', `/function/${fixture.name}`)));
    for (const answer of answers) assert.equal(answer.status, 200, answer.body.toString());
    requests += answers.length;
  }
  assert.equal(await metric('flashd_template_restarts_total'), 0, 'none of them has failed');
  assert.equal(await metric('flashd_forks_failed_total'), 0, 'none has ended under a fork');
  await sleep(500);
  assert.ok((await metric('flashd_layouts')) >= 1);
});
