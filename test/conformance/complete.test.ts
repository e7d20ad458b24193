/** No case is left out by oversight: every language has its fixture or a reason, and no fixture is without a case. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { RUNTIMES } from '../../src/runtimes/index.ts';
import { CASES } from './cases.ts';
import { fixtureNames, hasFixture, LANGUAGES, runtimeOf } from './fixtures.ts';

/** Fixtures of test/e2e/uniqueness.test.ts. */
const ELSEWHERE = ['unique'];

test('every case has a fixture in every language, or says why not', () => {
  for (const { title, fixture, absent, frozen } of CASES) {
    for (const language of LANGUAGES) assert.notEqual(hasFixture(language, fixture), absent?.[language] !== undefined, `${language}, ${fixture}: ${title}`);
    for (const language of Object.keys({ ...absent, ...frozen?.except })) assert.ok(LANGUAGES.includes(language), `${fixture}: there is no ${language}`);
  }
});

test('every fixture belongs to a case', () => {
  const known = new Set([...CASES.map(({ fixture }) => fixture), ...ELSEWHERE]);
  for (const language of LANGUAGES) assert.deepEqual(fixtureNames(language).filter((name) => !known.has(name)), [], language);
});

test('every runtime that is detected by its handlers has fixtures', () => {
  const covered = new Set(LANGUAGES.map((language) => runtimeOf(language).name));
  for (const { name, detected } of RUNTIMES.values()) if (detected !== false) assert.ok(covered.has(name), name);
  for (const language of LANGUAGES) assert.ok(readdirSync(join(import.meta.dirname, 'fixtures', language)).length > 0);
});
