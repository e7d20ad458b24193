/** 1,000 forks of each language under load, eight at once, none kept: every request is answered, with its own body. (Those of function templates: test/e2e/uniqueness.test.ts.) */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { everyByte } from './case.ts';
import { LANGUAGES } from './fixtures.ts';
import { deployed, Flashd, opened } from './packaged.ts';

const FORKS = 1000;
const AT_ONCE = 8;

describe(`${FORKS} forks of language templates`, () => {
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', FLASHD_FUNCTION_STANDBY: '0', FLASHD_FUNCTION_FUNCTION_TEMPLATE: '0' });
  });
  after(() => flashd?.stop());

  for (const language of LANGUAGES) {
    test(`${language}: none fails`, { timeout: 120_000 }, async (t) => {
      const target = await opened(t, language, 'body', (fixture) => deployed(flashd, fixture));
      let next = 0;
      await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        for (let number = next++; number < FORKS; number = next++) {
          const body = everyByte(1 + number * 37);
          const answer = await target.invoke({ method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body, binary: true });
          assert.ok(answer.kind === 'response' && answer.body.equals(body), `request ${number}: ${JSON.stringify(answer).slice(0, 500)}`);
        }
      }));
    });
  }
});
