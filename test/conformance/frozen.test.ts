/** The cases in which a function template might make a difference, in its forks: each request is answered by a new one. */
import { after, before, describe, test } from 'node:test';
import { CASES } from './cases.ts';
import { hasFixture, LANGUAGES } from './fixtures.ts';
import { Flashd, frozen, opened } from './packaged.ts';

let flashd: Flashd;

before(async () => {
  flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', FLASHD_FUNCTION_STANDBY: '0' });
});
after(() => flashd?.stop());

for (const language of LANGUAGES.filter((each) => each !== 'executable')) { // a process per request: there is nothing to freeze
  describe(`${language}, from function templates`, { concurrency: 3 }, () => {
    for (const { title, fixture: name, frozen: how, run } of CASES) {
      if (how === undefined || how.except?.[language] !== undefined || !hasFixture(language, name)) continue;
      test(title, { timeout: 60_000 }, async (t) => {
        await run(await opened(t, language, name, (fixture) => frozen(flashd, fixture, how)), language);
      });
    }
  });
}
