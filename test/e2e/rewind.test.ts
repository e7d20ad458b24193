/**
 * One request hides something, the next one looks for it: in every place where a process can keep anything, under both kinds of request isolation. What a restore undoes is asked of an
 * instance that was restored; what it cannot undo has to end the instance.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileHandler, fixtureNames, LANGUAGES, root } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { family, isSandboxd, killed, living } from './footprint.ts';

const REWOUND_MS = 2000;
const READY_MS = 20_000;
const TRIES = 20;
const KILLS = 5;
const INSTANCES = 4;
const ROUNDS = 12;

const folder = mkdtempSync(join(tmpdir(), 'flashd-rewind-'));
let flashd: Flashd;
before(async () => {
  flashd = await Flashd.start({ FLASHD_FUNCTION_MEMORY_MB: '512' });
});
after(async () => {
  await flashd?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Found = { pid: number; found?: string | null };

async function deploy(language: string, requestIsolation: string, source = join(import.meta.dirname, 'rewind', language)): Promise<string> {
  const name = `${language}-${requestIsolation}-${basename(source)}`;
  cpSync(source, join(folder, name), { recursive: true });
  compileHandler(join(folder, name));
  writeFileSync(join(folder, name, 'function.json'), JSON.stringify({ requestIsolation, maxInstances: INSTANCES }));
  await flashd.cli('deploy', join(folder, name));
  return name;
}

async function ask(name: string, ...path: string[]): Promise<{ start: string | undefined; status: number; text: string }> {
  const answer = await flashd.http('GET', `/function/${name}/${path.map(encodeURIComponent).join('/')}`);
  return { start: startOf(answer), status: answer.status, text: answer.body.toString() };
}

async function metric(name: string): Promise<number> {
  const { body } = await flashd.http('GET', '/metrics');
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(body.toString())?.[1]);
}

const rewound = () => metric('flashd_rewinds_total');
const failed = () => metric('flashd_rewinds_failed_total');

/** Asks until an instance answers that may be rewound, and waits for what becomes of it. */
async function whatComesOf(name: string, ...path: string[]): Promise<{ restored: boolean; status: number; text: string }> {
  for (const end = performance.now() + READY_MS; performance.now() < end; await sleep(20)) {
    const [before, failures] = [await rewound(), await failed()];
    const answer = await ask(name, ...path);
    if (answer.start !== 'warm' && answer.start !== 'standby') continue;
    for (const until = performance.now() + REWOUND_MS; answer.status === 200 && performance.now() < until; await sleep(5)) {
      if ((await rewound()) > before) return { restored: true, ...answer };
      if ((await failed()) > failures) break;
    }
    return { restored: false, ...answer };
  }
  throw new Error(`no instance of ${name} may be rewound:\n${flashd.output}`);
}

const lastRefusal = (): string => `it was not restored: ${flashd.output.split('\n').findLast((line) => /instance \d+: /.test(line))}`;

/** Until the first function template is there, standbys serve one request each. */
async function untilRewound(name: string, ...path: string[]): Promise<string> {
  for (;;) {
    const { restored, text } = await whatComesOf(name, ...path);
    if (restored) return text;
  }
}

/** Asks all there are until that very process answers; undefined: it is not there any more. */
async function findIn(name: string, pid: number, place: string): Promise<Found | undefined> {
  for (let tries = 0; tries < TRIES; tries++, await sleep(5)) {
    const answers = await Promise.all(Array.from({ length: INSTANCES }, () => ask(name, 'find', place)));
    const found = answers.filter(({ status }) => status === 200).map(({ text }) => JSON.parse(text) as Found);
    const same = found.find((each) => each.pid === pid);
    if (same !== undefined) return same;
    for (const each of found) assert.equal(each.found, null);
  }
  return undefined;
}

/** A kernel that cannot watch written pages, as far as flashd can see. */
const UNWATCHED = ['unshare', '--mount', 'sh', '-c', '{ [ ! -e /dev/userfaultfd ] || mount --bind /dev/null /dev/userfaultfd; } && exec "$@"', 'sh'];

for (const watched of [true, false]) describe(watched ? 'rewound in place' : 'rewound in place, by comparing frames', () => {
  let name: string, usual: Flashd;
  let places: string[], hostile: string[];
  before(async () => {
    usual = flashd;
    if (!watched) flashd = await Flashd.startBehind(UNWATCHED, { FLASHD_FUNCTION_MEMORY_MB: '512' });
    assert.match(await flashd.cli('doctor'), existsSync('/dev/userfaultfd') && watched ? /write-watch yes/ : /write-watch no/);
    name = await deploy('python', 'restore');
    let region: boolean;
    ({ places, hostile, region } = JSON.parse(await untilRewound(name, 'list')) as { places: string[]; hostile: string[]; region: boolean });
    assert.ok(places.length > 50 && hostile.length > 14);
    assert.equal(region, existsSync('/dev/userfaultfd') && watched, 'what is done to the region of calls is done to something');
  });
  after(async () => {
    if (!watched) await flashd.stop();
    flashd = usual;
  });

  test('what can be undone is: the next request gets the same process, and finds nothing', async (t) => {
    for (const place of places) await t.test(place, async () => {
      const hidden = await whatComesOf(name, 'hide', place);
      assert.equal(hidden.status, 200, hidden.text);
      assert.ok(hidden.restored, lastRefusal());
      const { pid } = JSON.parse(hidden.text) as Found;
      assert.deepEqual(await findIn(name, pid, place), { pid, found: null }, lastRefusal());
    });
  });

  test('what cannot ends the instance: the next request finds nothing', async (t) => {
    for (const place of hostile) await t.test(place, async () => {
      const { restored, status, text } = await whatComesOf(name, 'hide', place);
      if (restored && status === 200) assert.ok(((await findIn(name, (JSON.parse(text) as Found).pid, place))?.found ?? null) === null);
      const answer = await ask(name, 'find', place);
      assert.equal(answer.status, 200, answer.text);
      assert.equal((JSON.parse(answer.text) as Found).found, null, answer.text);
    });
  });
});

for (const language of LANGUAGES.filter((each) => each !== 'executable' && each !== 'python')) describe(`rewound in place: ${language}`, () => {
  test('the next request gets the same process, and finds nothing', { timeout: 120_000 }, async (t) => {
    const name = await deploy(language, 'restore');
    for (const place of JSON.parse(await untilRewound(name, 'list')) as string[]) await t.test(place, async () => {
      const hidden = await whatComesOf(name, 'hide', place);
      assert.equal(hidden.status, 200, hidden.text);
      assert.ok(hidden.restored, lastRefusal());
      const { pid } = JSON.parse(hidden.text) as Found;
      assert.deepEqual(await findIn(name, pid, place), { pid, found: null }, lastRefusal());
    });
  });
});

/** Drawn once, while the code was loaded. */
const KEPT = 'while loading';

for (const language of LANGUAGES.filter((each) => fixtureNames(each).includes('unique'))) test(`${language}: no random value comes twice from instances that were rewound`, { timeout: 120_000 }, async () => {
  const name = await deploy(language, 'restore', join(root, 'test/conformance/fixtures', language, 'unique'));
  const seen = new Map<string, Set<unknown>>();
  await untilRewound(name);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [kind, value] of Object.entries(JSON.parse(await untilRewound(name)) as Record<string, unknown>)) seen.set(kind, (seen.get(kind) ?? new Set()).add(value));
  }
  for (const [kind, values] of seen) if (kind !== KEPT) assert.equal(values.size, ROUNDS, `${kind}: ${ROUNDS - values.size} values have come before`);
});

test('kill -9 of sandboxd and of keepers while instances are rewound: nothing half restored is ever used', async () => {
  const name = await deploy('perl', 'restore');
  await untilRewound(name, 'list');
  let stopped = false;
  const found: unknown[] = [];
  const clients = Array.from({ length: 4 }, async () => {
    while (!stopped) for (const what of ['hide', 'find']) {
      const { status, text } = await ask(name, what, 'variable').catch(() => ({ status: 0, text: '' }));
      if (status === 200 && what === 'find') found.push((JSON.parse(text) as Found).found);
    }
  });
  try {
    for (let round = 0; round < KILLS; round++) {
      await sleep(100);
      const sandboxd = (await living(flashd.pid, isSandboxd)).pid;
      for (const { pid } of family(sandboxd).filter((each) => each.pid !== sandboxd && isSandboxd(each))) killed(pid);
      if (round % 3 === 2) killed(sandboxd);
      for (const end = performance.now() + READY_MS; !(await ask(name, 'list').catch(() => ({ status: 0 }))).status.toString().startsWith('200') && performance.now() < end;) await sleep(20);
    }
  } finally {
    stopped = true;
    await Promise.all(clients);
  }
  assert.ok(found.length > KILLS);
  assert.deepEqual([...new Set(found)], [null]);
});

test('verify: after each restore the instance is its snapshot, byte for byte', { timeout: 120_000 }, async (t) => {
  for (const language of LANGUAGES.filter((each) => each !== 'executable')) await t.test(language, async () => {
    const name = await deploy(language, 'restore', join(root, 'test/conformance/fixtures', language, 'echo'));
    const { restores, failure } = JSON.parse(await flashd.cli('verify', name, '--restores', '5', '--json')) as { restores: number; failure: string | null };
    assert.deepEqual([restores >= 5, failure], [true, null]);
  });
});

test('verify: the first difference of what cannot be restored is told', async () => {
  const name = await deploy('python', 'restore', join(import.meta.dirname, 'rewind/never-clean'));
  await assert.rejects(flashd.cli('verify', name), /: 1\n.*net\/dev: not as it was/s);
});

test('verify: a function that is not rewound cannot be', async () => {
  const name = await deploy('perl', 'fresh');
  await assert.rejects(flashd.cli('verify', name), /: 100\n.*are not rewound/s);
});

/** Where each instance has the same process id, inside. */
const KEEPS_PID = ['ruby'];

for (const language of LANGUAGES.filter((each) => each !== 'executable')) test(`fresh: the next request gets another instance, and finds nothing: ${language}`, { timeout: 120_000 }, async (t) => {
  const name = await deploy(language, 'fresh');
  const listed = JSON.parse((await ask(name, 'list')).text) as string[] | { places: string[]; hostile: string[] };
  const seen = new Set<number>();
  for (const place of Array.isArray(listed) ? listed : [...listed.places, ...listed.hostile]) await t.test(place, async () => {
    for (const what of ['hide', 'find']) {
      const { status, text } = await ask(name, what, place);
      if (what === 'hide' && status !== 200) continue;          // some of it is the end of the process that does it
      const { pid, found = null } = JSON.parse(text) as Found;
      assert.deepEqual([found, seen.has(pid) && !KEEPS_PID.includes(language)], [null, false]);
      seen.add(pid);
    }
  });
});
