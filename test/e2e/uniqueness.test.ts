/** Values that must never repeat between instances, over thousands of forks of each language: cold starts, and standbys, which have drawn from nothing yet. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fixtureNames, LANGUAGES, prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';

const FORKS = Number(process.env['FLASHD_TEST_FORKS'] ?? 10_000);
const AT_ONCE = 8;

describe(`${FORKS} forks of each language`, () => {
  let flashd: Flashd;
  const fixtures: Fixture[] = [];
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0' });
  });
  after(async () => {
    await flashd?.stop();
    for (const fixture of fixtures) fixture.remove();
  });

  for (const language of LANGUAGES.filter((each) => fixtureNames(each).includes('unique'))) {
    test(`${language}: no value comes twice`, { timeout: 900_000 }, async () => {
      const fixture = prepareFixture(language, 'unique');
      fixtures.push(fixture);
      await flashd.cli('deploy', fixture.directory);
      const seen = new Map<string, Set<unknown>>();
      let left = FORKS;
      const client = async (): Promise<void> => {
        while (left-- > 0) {
          const answer = await flashd.http('GET', `/function/${fixture.name}`);
          assert.equal(answer.status, 200, answer.body.toString());
          for (const [kind, value] of Object.entries(JSON.parse(answer.body.toString()) as Record<string, unknown>)) {
            const values = seen.get(kind) ?? new Set();
            seen.set(kind, values.add(value));
          }
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, client));
      for (const [kind, values] of seen) assert.equal(values.size, FORKS, `${kind}: ${FORKS - values.size} values have come before`);
    });
  }
});
