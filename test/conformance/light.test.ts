/**
 * What an instance of the light class can, in one language of each kind: one thread, threads of its own, a virtual machine's. Cases in which the class could differ: files, children, threads, signals, limits,
 * randomness. (Ruby is refused there: it keeps its process id.)
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CASES } from './cases.ts';
import { prepareFixture, type Fixture } from './fixtures.ts';
import { Flashd, live } from './packaged.ts';

const LANGUAGES = ['native', 'python', 'node', 'java'];
const FIXTURES = ['tmp', 'children', 'threads', 'signals', 'random', 'process-id', 'forks', 'fill-tmp'];

describe('the light class', () => {
  let flashd: Flashd;
  const fixtures = new Map<string, Fixture>();
  before(async () => {
    flashd = await Flashd.start({ FLASHD_ALLOW_PROCESS_ISOLATION: '1', FLASHD_FUNCTION_STANDBY: '0', FLASHD_FUNCTION_FUNCTION_TEMPLATE: '0' });
    for (const language of LANGUAGES) {
      for (const name of FIXTURES) {
        const fixture = prepareFixture(language, name);
        writeFileSync(join(fixture.directory, 'function.json'), JSON.stringify({ ...fixture.manifest, isolation: 'process' }));
        fixtures.set(`${language} ${name}`, fixture);
      }
    }
    await flashd.cli('deploy', ...[...fixtures.values()].map(({ directory }) => directory));
  });
  after(async () => {
    await flashd?.stop();
    for (const fixture of fixtures.values()) fixture.remove();
  });

  for (const language of LANGUAGES) {
    for (const { title, fixture, run } of CASES.filter((each) => FIXTURES.includes(each.fixture))) {
      test(`${language}: ${title}`, { timeout: 60_000 }, async () => run(await live(flashd, fixtures.get(`${language} ${fixture}`)!), language));
    }
  }
});
