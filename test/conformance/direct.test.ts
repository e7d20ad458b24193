/** Every case that needs no sandbox, against each language's shim as a plain process. */
import { describe, test } from 'node:test';
import { CASES } from './cases.ts';
import { startDirect } from './direct.ts';
import { hasFixture, LANGUAGES } from './fixtures.ts';
import { opened } from './packaged.ts';

for (const language of LANGUAGES) {
  describe(`${language}, its shim alone`, { concurrency: 4 }, () => {
    for (const { title, fixture: name, run } of CASES.filter((each) => !each.sandboxed && hasFixture(language, each.fixture))) {
      test(title, { timeout: 30_000 }, async (t) => {
        await run(await opened(t, language, name, startDirect), language);
      });
    }
  });
}
