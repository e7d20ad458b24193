/** The languages whose program flashd itself can stand in for, with the one that is packaged: every conformance case, as on a host that has none. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { OWN_PROGRAMS } from '../../src/own-program.ts';
import { CASES } from './cases.ts';
import { hasFixture, LANGUAGES, runtimeOf } from './fixtures.ts';
import { deployed, Flashd, opened } from './packaged.ts';

let flashd: Flashd;
before(async () => {
  flashd = await Flashd.start({ FLASHD_INTERPRETERS: 'own' });
});
after(() => flashd?.stop());

for (const language of LANGUAGES.filter((each) => runtimeOf(each).own === true)) {
  describe(`${language} by flashd itself`, () => {
    for (const { title, fixture: name, run } of CASES.filter((each) => hasFixture(language, each.fixture))) {
      test(title, { timeout: 60_000 }, async (t) => {
        await run(await opened(t, language, name, (fixture) => deployed(flashd, fixture)), language);
        const { program } = (JSON.parse(await flashd.cli('list', '--json')) as { name: string; program: string }[]).find((each) => each.name === `${language}-${name}`)!;
        assert.ok(program.startsWith(OWN_PROGRAMS), program);
      });
    }
  });
}
