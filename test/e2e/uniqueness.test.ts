/**
 * Values that must never repeat between instances, over thousands of forks of each language: cold starts and standbys, forked from language templates and from function templates, whose
 * generators the function has drawn from before. Only what it has kept of that is the same in all forks.
 */
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fixtureNames, LANGUAGES, prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';

const FORKS = Number(process.env['FLASHD_TEST_FORKS'] ?? 10_000);
const FORKS_WITH_TEMPLATES = Math.ceil(FORKS / 4);
const AT_ONCE = 8;

const KEPT = 'while loading';

for (const [templates, forks] of [[0, FORKS], [1, FORKS_WITH_TEMPLATES]] as const) describe(`${forks} forks of each language, ${templates === 0 ? 'without' : 'with'} function templates`, () => {
  let flashd: Flashd;
  const fixtures: Fixture[] = [];
  const agent = new Agent({ keepAlive: true }); // connections are not what this is about
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', FLASHD_FUNCTION_FUNCTION_TEMPLATE: String(templates) });
  });
  after(async () => {
    agent.destroy();
    await flashd?.stop();
    for (const fixture of fixtures) fixture.remove();
  });

  for (const language of LANGUAGES.filter((each) => fixtureNames(each).includes('unique'))) {
    test(`${language}: no value comes twice`, { timeout: 900_000 }, async () => {
      const fixture = prepareFixture(language, 'unique');
      fixtures.push(fixture);
      await flashd.cli('deploy', fixture.directory);
      const seen = new Map<string, Set<unknown>>();
      let left = forks;
      let ofFunction = 0;
      if (templates > 0) await flashd.frozen(fixture.name);
      const client = async (): Promise<void> => {
        while (left-- > 0) {
          const answer = await flashd.http('GET', `/function/${fixture.name}`, {}, undefined, agent);
          assert.equal(answer.status, 200, answer.body.toString());
          if (startOf(answer) === 'function-template') ofFunction++;
          for (const [kind, value] of Object.entries(JSON.parse(answer.body.toString()) as Record<string, unknown>)) {
            const values = seen.get(kind) ?? new Set();
            seen.set(kind, values.add(value));
          }
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, client));
      assert.equal(ofFunction > 0, templates > 0, `${ofFunction} starts from function templates`);
      for (const [kind, values] of seen) if (templates === 0 || kind !== KEPT) assert.equal(values.size, forks, `${kind}: ${forks - values.size} values have come before`);
    });
  }
});
