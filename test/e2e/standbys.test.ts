import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LANGUAGES, prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { memoryOf, processesOf } from '../bench/systems/memory.ts';
import { attempt, family, killed } from './footprint.ts';

const WAIT_MS = 5000;
/** Until the last one was replaced, on a machine that has other things to do. */
const REPLACED_MS = 20_000;
/** V8 and HotSpot would tidy up five to eight seconds after they were last at work; standbys that were kept at work by the pulse are replaced after five. */
const TIDYING_MS = 9000;
/** The one from before the function template is replaced. */
const RENEWED_MS = 1000;
/** Of its own, when it has idled. 700 kB are the budget, and 1500 for Node.js, whose versions differ; what is above 700 is what compilers may take that were still at work. */
const USS_KIB_MAX = (language: string): number => (language === 'node' ? 1500 : 1000);
/** What the report of a failure mentions. */
const MENTIONED_KIB = 100;

/** For the report of a failure: what its threads have done, if they have. */
function workOf(pid: number): string {
  const threads = attempt(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  return threads.map((thread) => attempt(() => {
    const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return `${readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim()} ${Math.round(Number(ns) / 1000)} us`;
  })).join(', ');
}

/** And where what it has of its own is. */
function ownOf(pid: number): string {
  const mappings = (attempt(() => readFileSync(`/proc/${pid}/smaps`, 'utf8')) ?? '').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings.flatMap((mapping) => {
    const kib = [...mapping.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)].reduce((sum, [, each]) => sum + Number(each), 0);
    return kib > MENTIONED_KIB ? [`${kib} kB of ${mapping.split('\n')[0]!.replace(/ +/g, ' ')}`] : [];
  }).join(', ');
}

describe('standbys', () => {
  let flashd: Flashd;
  const fixtures: Fixture[] = [];
  before(async () => {
    flashd = await Flashd.start();
  });
  after(async () => {
    await flashd?.stop();
    for (const fixture of fixtures) fixture.remove();
  });

  const deploy = async (language: string, name: string): Promise<string> => {
    const fixture = prepareFixture(language, name);
    fixtures.push(fixture);
    await flashd.cli('deploy', fixture.directory);
    return `/function/${fixture.name}`;
  };
  const metric = async (name: string, of = flashd): Promise<number> => {
    const text = (await of.http('GET', '/metrics')).body.toString();
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)![1]);
  };
  const until = async (what: string, holds: () => Promise<boolean>, ms = WAIT_MS): Promise<void> => {
    for (const end = performance.now() + ms; !(await holds()); await sleep(20)) assert.ok(performance.now() < end, what);
  };

  const templatesReady = (alone: Flashd): Promise<void> => until('function templates', async () => (JSON.parse(await alone.cli('list', '--json')) as { template: string }[]).every(({ template }) => template === 'ready'));
  const instancesOf = (alone: Flashd, language: string) => processesOf(family(alone.pid), language).filter(({ kind }) => kind === 'instance');
  /** Those from before the function template are replaced one by one. */
  const small = async (alone: Flashd, language: string): Promise<void> => {
    let standbys: number[] = [];
    await until('small standbys', async () => {
      standbys = instancesOf(alone, language).map(({ pid }) => memoryOf(pid)?.uss ?? Infinity);
      return standbys.length === 1 && standbys[0]! <= USS_KIB_MAX(language);
    }, REPLACED_MS).catch(async () => assert.fail([
      `${language}: ${standbys} kB, ${await metric('flashd_standbys', alone)} standbys`,
      ...instancesOf(alone, language).map(({ pid }) => `${pid}: ${workOf(pid)}; ${ownOf(pid)}`),
      alone.output,
    ].join('\n')));
  };

  for (const language of LANGUAGES) {
    test(`${language}: the first request meets one, and nothing of the ping is seen`, async () => {
      const path = await deploy(language, 'echo');
      await until('one of each', async () => (await metric('flashd_standbys')) >= fixtures.length);
      await sleep(300);
      const answer = await flashd.http('GET', path);
      assert.deepEqual([answer.status, startOf(answer)], [200, 'standby']);
    });
  }

  test('in every language an idle one, forked from the function template, has next to no memory of its own, also after requests', async (t) => {
    const alone = await Flashd.start();
    t.after(() => alone.stop());
    const runtimes = LANGUAGES.filter((language) => language !== 'executable');
    for (const language of runtimes) {
      const fixture = prepareFixture(language, 'echo');
      fixtures.push(fixture);
      writeFileSync(join(fixture.directory, 'function.json'), JSON.stringify({ ...fixture.manifest, keepWarmSeconds: 0 }));
      await alone.cli('deploy', fixture.directory);
    }
    await templatesReady(alone);
    for (const language of runtimes) assert.equal((await alone.http('GET', `/function/${language}-echo`)).status, 200);
    await sleep(TIDYING_MS);
    for (const language of runtimes) await small(alone, language);
  });

  test('one that was beaten by the pulse, but never taken, is replaced when requests cease', async (t) => {
    const alone = await Flashd.start();
    t.after(() => alone.stop());
    const fixture = prepareFixture('ruby', 'echo');
    fixtures.push(fixture);
    writeFileSync(join(fixture.directory, 'function.json'), JSON.stringify({ ...fixture.manifest, keepWarmSeconds: 0 }));
    await alone.cli('deploy', fixture.directory);
    await templatesReady(alone);
    await sleep(RENEWED_MS);
    for (const { pid } of instancesOf(alone, 'ruby')) killed(pid); // what is lost untaken is replaced after a pause
    await until('none', async () => (await metric('flashd_standbys', alone)) === 0);
    assert.notEqual(startOf(await alone.http('GET', `/function/${fixture.name}`)), 'standby');
    await sleep(TIDYING_MS);
    await small(alone, 'ruby');
  });

  test('random values of standbys differ', async () => {
    const path = await deploy('python', 'random');
    const seen = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const values = JSON.parse((await flashd.http('GET', path)).body.toString()) as unknown[];
      for (const value of values) {
        assert.ok(!seen.has(String(value)), String(value));
        seen.add(String(value));
      }
    }
  });

  test('a function whose code does not load has none, and says why to each request', async () => {
    const standbys = await metric('flashd_standbys');
    const path = await deploy('python', 'load-throws');
    await sleep(500);
    assert.equal(await metric('flashd_standbys'), standbys);
    for (let round = 0; round < 3; round++) {
      const answer = await flashd.http('GET', path);
      assert.equal(answer.status, 502);
      assert.match(answer.body.toString(), /function_load_failed.*no luck today/s);
    }
  });

  test('kill -9 of every instance: the next request is answered, and standbys come back', async () => {
    const path = await deploy('native', 'context');
    await until('a standby', async () => (await metric('flashd_standbys')) > 0);
    for (const { pid } of family(flashd.pid).filter(({ name, command }) => name === 'host' && command.includes('/opt/flashd/native/host'))) killed(pid);
    await until('an answer', async () => (await flashd.http('GET', path)).status === 200);
    await until('standbys', async () => (await metric('flashd_standbys')) > 0);
  });
});
