/** Every conformance case in every language behind the packaged binary, over HTTP; after each, another function still answers. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CASES } from './cases.ts';
import { hasFixture, LANGUAGES, prepareFixture, type Fixture } from './fixtures.ts';
import { deployed, Flashd, opened } from './packaged.ts';
import type { Target } from './target.ts';

let flashd: Flashd;
let bystander: { fixture: Fixture; target: Target };

before(async () => {
  flashd = await Flashd.start();
  const fixture = prepareFixture('native', 'logs');
  bystander = { fixture, target: await deployed(flashd, fixture) };
});
after(async () => {
  bystander?.fixture.remove();
  await flashd?.stop();
});

for (const language of LANGUAGES) {
  describe(`${language}, behind flashd`, () => {
    for (const { title, fixture: name, run } of CASES.filter((each) => hasFixture(language, each.fixture) && `${language}-${each.fixture}` !== 'native-logs')) {
      test(title, { timeout: 60_000 }, async (t) => {
        await run(await opened(t, language, name, (fixture) => deployed(flashd, fixture)), language);
        assert.equal((await bystander.target.invoke()).kind, 'response');
      });
    }
  });
}
