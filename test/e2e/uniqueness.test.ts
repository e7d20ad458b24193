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
const FORKS_OF_EACH_KIND = Math.ceil(FORKS / 2);
const AT_ONCE = 8;

const KEPT = 'while loading';

type Values = Map<string, { readonly seen: Set<unknown>; count: number }>;

/** Of each language by kind, however it was forked. */
const valuesOf = new Map<string, Values>(LANGUAGES.map((language) => [language, new Map()]));

function see(values: Values, kind: string, value: unknown): void {
  const known = values.get(kind) ?? { seen: new Set(), count: 0 };
  known.seen.add(value);
  known.count++;
  values.set(kind, known);
}

for (const templates of [0, 1]) describe(`${FORKS_OF_EACH_KIND} forks of each language, ${templates === 0 ? 'without' : 'with'} function templates`, () => {
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
      const values = valuesOf.get(language)!;
      let left = FORKS_OF_EACH_KIND;
      let ofFunction = 0;
      if (templates > 0) await flashd.frozen(fixture.name);
      const client = async (): Promise<void> => {
        while (left-- > 0) {
          const answer = await flashd.http('GET', `/function/${fixture.name}`, {}, undefined, agent);
          assert.equal(answer.status, 200, answer.body.toString());
          if (startOf(answer) === 'function-template') ofFunction++;
          for (const [kind, value] of Object.entries(JSON.parse(answer.body.toString()) as Record<string, unknown>)) {
            if (templates === 0 || kind !== KEPT) see(values, kind, value);
          }
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, client));
      assert.equal(ofFunction > 0, templates > 0, `${ofFunction} starts from function templates`);
      for (const [kind, { seen, count }] of values) assert.equal(seen.size, count, `${kind}: ${count - seen.size} values have come before`);
    });
  }
});
