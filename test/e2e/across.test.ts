/**
 * Reuse across functions: an instance that one function is done with becomes another's, in the same process, and nothing of the first is found there. What one of the two hides, the other looks for:
 * all that a restore has to undo (rewind/), and what only differs between functions (across/): files, environment, output.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileHandler, fixtureNames, LANGUAGES, root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';
import { family, isSandboxd, killed, living, member } from './footprint.ts';

const PERMITTED = { FLASHD_REUSE_ACROSS_FUNCTIONS: '1', FLASHD_FUNCTION_MEMORY_MB: '512' };
/** An instance is a fork of its runtime's template, and given back after each request. */
const GIVEN_BACK = { standby: 0, functionTemplate: 0, keepWarmSeconds: 0 };
const RESTED_MS = 3000;
const UNCHANGED_MS = 20;
const READY_MS = 20_000;
const TRIES = 20;
const KILLS = 4;
const ROUNDS = 8;
const FUNCTIONS = 12;
const CLIENTS = 8;
const REQUESTS = 60;
/** A busy machine makes new processes while others are not given back yet. */
const SHARED_MS = 30_000;

const folder = mkdtempSync(join(tmpdir(), 'flashd-across-'));
let flashd: Flashd;
before(async () => {
  flashd = await Flashd.start(PERMITTED);
});
after(async () => {
  await flashd?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Found = { pid: number; found?: string | null };

async function deploy(on: Flashd, name: string, source: string, manifest: object = {}): Promise<string> {
  cpSync(source, join(folder, name), { recursive: true });
  compileHandler(join(folder, name));
  writeFileSync(join(folder, name, 'function.json'), JSON.stringify({ ...GIVEN_BACK, ...manifest }));
  await on.cli('deploy', join(folder, name));
  return name;
}

async function ask(name: string, ...path: string[]): Promise<{ status: number; text: string }> {
  const { status, body } = await flashd.http('GET', `/function/${name}/${path.map(encodeURIComponent).join('/')}`);
  return { status, text: body.toString() };
}

async function metric(name: string, of = flashd): Promise<number> {
  const { body } = await of.http('GET', '/metrics');
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(body.toString())?.[1]);
}

const lastWords = async (name: string): Promise<string> => (await flashd.cli('logs', name)).slice(-4000);
const lastRefusal = (): string => `it was not given back: ${flashd.output.split('\n').findLast((line) => /instance \d+: /.test(line))}`;

type Counts = { reused: number; rests: number; failed: number };

/** When each that was a function's is nobody's again, or has ended. One that was asked for and that another had made needless counts only once it is there: so nothing has changed for a moment. */
async function settled(): Promise<Counts> {
  let last = '';
  for (const until = performance.now() + RESTED_MS; ; await sleep(UNCHANGED_MS)) {
    const text = (await flashd.http('GET', '/metrics')).body.toString();
    const [reused, rests, failed] = ['instances_reused', 'rests', 'rests_failed'].map((name) => Number(new RegExp(`^flashd_${name}_total (\\d+)`, 'm').exec(text)?.[1])) as [number, number, number];
    const now = `${reused} reused, ${rests} given back, ${failed} failed`;
    if (reused === rests + failed && now === last) return { reused, rests, failed };
    assert.ok(performance.now() < until, `an instance is neither given back nor over: ${now}\n${flashd.output}`);
    last = now;
  }
}

/** Asks until an instance answers that goes from function to function, and waits for what becomes of it. */
async function whatComesOf(name: string, ...path: string[]): Promise<{ rests: boolean; status: number; text: string }> {
  for (const end = performance.now() + READY_MS; performance.now() < end; await sleep(20)) {
    const before = await settled();
    const answer = await ask(name, ...path);
    const after = await settled();
    if (after.reused > before.reused) return { rests: after.rests > before.rests, ...answer };
  }
  throw new Error(`no instance of ${name} goes from function to function:\n${flashd.output}`);
}

/** Asks all that rest, by way of another function, until that very process answers; undefined: it is not there any more. */
async function findIn(name: string, pid: number, place: string): Promise<Found | undefined> {
  for (let tries = 0; tries < TRIES; tries++) {
    const resting = Math.max(1, await metric('flashd_resting'));
    const answers = await Promise.all(Array.from({ length: Math.min(resting, TRIES) }, () => ask(name, 'find', place)));
    await settled();
    const found = answers.map(({ status, text }) => (assert.equal(status, 200, text), JSON.parse(text) as Found));
    for (const each of found) assert.equal(each.found ?? null, null, JSON.stringify(each));
    const same = found.find((each) => each.pid === pid);
    if (same !== undefined) return same;
  }
  return undefined;
}

async function pairOf(language: string, source: string): Promise<{ hides: string; finds: string; list: string }> {
  const names = await Promise.all(['hides', 'finds'].map((role) => deploy(flashd, `${language}-${role}`, source, { environment: { OWN: `own of ${role}` } })));
  let answer = await ask(names[0]!, 'list');
  for (const end = performance.now() + READY_MS; answer.status !== 200 && performance.now() < end; await sleep(50)) answer = await ask(names[0]!, 'list');
  return { hides: names[0]!, finds: names[1]!, list: answer.text };
}

for (const language of LANGUAGES.filter((each) => each !== 'executable')) describe(`across functions: ${language}`, () => {
  test('another function gets the same process, and finds nothing', { timeout: 170_000 }, async (t) => {
    const { hides, finds, list } = await pairOf(language, join(import.meta.dirname, 'rewind', language));
    const listed = JSON.parse(list) as string[] | { places: string[] };
    for (const place of Array.isArray(listed) ? listed : listed.places) await t.test(place, async () => {
      const hidden = await whatComesOf(hides, 'hide', place);
      assert.equal(hidden.status, 200, `${hidden.text}\n${await lastWords(hides)}`);
      assert.ok(hidden.rests, lastRefusal());
      const { pid } = JSON.parse(hidden.text) as Found;
      assert.deepEqual(await findIn(finds, pid, place), { pid, found: null }, lastRefusal());
    });
  });
});

test('what cannot be undone ends the instance: another function finds nothing', async (t) => {
  const { hides, finds, list } = await pairOf('python', join(import.meta.dirname, 'rewind/python'));
  for (const place of (JSON.parse(list) as { hostile: string[] }).hostile) await t.test(place, async () => {
    const { rests, status, text } = await whatComesOf(hides, 'hide', place);
    if (rests && status === 200) assert.ok(((await findIn(finds, (JSON.parse(text) as Found).pid, place))?.found ?? null) === null);
    const answer = await ask(finds, 'find', place);
    assert.equal(answer.status, 200, answer.text);
    assert.equal((JSON.parse(answer.text) as Found).found ?? null, null, answer.text);
  });
});

function isStopped(pid: number): boolean {
  try {
    return /^State:\tt/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;                               // it has ended meanwhile
  }
}

function isSpoilt(pid: number): boolean {
  try {
    execFileSync('nsenter', ['--target', `${pid}`, '--mount', 'mount', '-t', 'tmpfs', 'none', '/'], { stdio: 'pipe' });
    return true;
  } catch (error) {
    if (isStopped(pid)) throw error;
    return false;                               // as does one that was stopped for a moment only
  }
}

/** Without their names for it, nobody's files can be given to those that rest. */
function spoilRested(): number {
  const sandboxd = member(flashd.pid, isSandboxd).pid;
  return family(sandboxd).filter(({ pid }) => isStopped(pid) && isSpoilt(pid)).length;
}

test('one that cannot be given a function is over, and the request gets another instance', async () => {
  const { hides, finds } = await pairOf('perl', join(import.meta.dirname, 'rewind/perl'));
  await whatComesOf(hides, 'list');
  const { reused } = await settled();
  const spoilt = spoilRested();
  assert.ok(spoilt > 0);
  for (const { status, text } of await Promise.all(Array.from({ length: spoilt }, () => ask(finds, 'find', 'variable')))) assert.equal(status, 200, text);
  assert.equal((await settled()).reused, reused);
  assert.match(flashd.output, /bind: its function's files cannot be mounted/);
});

test("files, environment and output are the function's own", async (t) => {
  const { hides, finds, list } = await pairOf('own', join(import.meta.dirname, 'across/python'));
  for (const place of (JSON.parse(list) as { places: string[] }).places) await t.test(place, async () => {
    const hidden = await whatComesOf(hides, 'hide', place);
    assert.equal(hidden.status, 200, hidden.text);
    assert.ok(hidden.rests, lastRefusal());
    const { pid } = JSON.parse(hidden.text) as Found;
    assert.deepEqual(await findIn(finds, pid, place), { pid, found: null }, lastRefusal());
  });
  const logs = await flashd.cli('logs', finds);
  assert.match(logs, /heard/);
  assert.doesNotMatch(logs, /own of hides/);
});

for (const language of LANGUAGES.filter((each) => fixtureNames(each).includes('unique'))) test(`${language}: no random value comes twice from one process under two functions`, { timeout: 120_000 }, async () => {
  const names = await Promise.all([1, 2].map((number) => deploy(flashd, `${language}-unique-${number}`, join(root, 'test/conformance/fixtures', language, 'unique'))));
  const seen = new Map<string, Set<unknown>>();
  for (let round = 0; round < ROUNDS; round++) {
    const { status, text } = await whatComesOf(names[round % 2]!);
    assert.equal(status, 200, `${text}\n${await lastWords(names[round % 2]!)}`);
    for (const [kind, value] of Object.entries(JSON.parse(text) as Record<string, unknown>)) seen.set(kind, (seen.get(kind) ?? new Set()).add(value));
  }
  for (const [kind, values] of seen) assert.equal(values.size, ROUNDS, `${kind}: ${ROUNDS - values.size} values have come before`);
});

describe('who takes part', () => {
  const source = join(import.meta.dirname, 'rewind/perl');
  const pidsOf = async (name: string): Promise<Set<number>> => {
    const pids = new Set<number>();
    for (let round = 0; round < ROUNDS; round++, await sleep(30)) pids.add((JSON.parse((await ask(name, 'find', 'variable')).text) as Found).pid);
    return pids;
  };

  test('functions whose instances differ in what cannot be replaced have their own', async () => {
    const first = await deploy(flashd, 'takes-part', source);
    await whatComesOf(first, 'find', 'variable');
    const seen = await pidsOf(first);
    assert.ok(seen.size < ROUNDS);
    for (const [name, manifest] of Object.entries({ fresh: { requestIsolation: 'fresh' }, larger: { memoryMb: 256 }, fewer: { descriptors: 64 }, connected: { network: { egress: ['public'] } }, watched: { interception: { audit: ['exec'] } } })) {
      const pids = await pidsOf(await deploy(flashd, name, source, manifest));
      assert.ok([...pids].every((pid) => !seen.has(pid)), `${name} got a process that was another function's`);
    }
  });

  test('nobody, unless the operator permits it', async () => {
    const strict = await Flashd.start();
    try {
      const name = await deploy(strict, 'alone', source);
      for (let round = 0; round < ROUNDS; round++) assert.equal((await strict.http('GET', `/function/${name}/find/variable`)).status, 200);
      assert.equal(await metric('flashd_instances_reused_total', strict), 0);
      assert.equal(await metric('flashd_resting', strict), 0);
    } finally {
      await strict.stop();
    }
  });
});

test('many functions share few processes at once: each answer is of its function, and of nobody before', { timeout: 120_000 }, async () => {
  const source = join(import.meta.dirname, 'across/counts');
  const names: string[] = [];
  for (let index = 0; index < FUNCTIONS; index++) names.push(await deploy(flashd, `counts-${index}`, source, { environment: { OWN: `own of ${index}` } }));
  const seen = new Map<number, Set<string>>();
  const shared = (): boolean => [...seen.values()].some((owners) => owners.size > 3);
  const end = performance.now() + SHARED_MS;
  await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
    for (let request = 0; request < REQUESTS || (!shared() && performance.now() < end); request++) {
      const index = (client * 7 + request * 11) % FUNCTIONS;
      const { status, text } = await ask(names[index]!);
      assert.equal(status, 200, text);
      const { own, calls, pid } = JSON.parse(text) as { own: string; calls: number; pid: number };
      assert.deepEqual([own, calls], [`own of ${index}`, 1]);
      seen.set(pid, (seen.get(pid) ?? new Set()).add(own));
    }
  }));
  assert.ok(shared(), 'no process was several functions\'');
  await settled();
});

test('kill -9 of sandboxd and of keepers while instances are given back: nothing half restored is ever used', { timeout: 120_000 }, async () => {
  const { hides, finds } = await pairOf('perl', join(import.meta.dirname, 'rewind/perl'));
  let stopped = false;
  const found: unknown[] = [];
  const clients = Array.from({ length: 4 }, async () => {
    while (!stopped) for (const [name, what] of [[hides, 'hide'], [finds, 'find']] as const) {
      const { status, text } = await ask(name, what, 'variable').catch(() => ({ status: 0, text: '' }));
      if (status === 200 && what === 'find') found.push((JSON.parse(text) as Found).found);
    }
  });
  try {
    for (let round = 0; round < KILLS; round++) {
      await sleep(150);
      const sandboxd = (await living(flashd.pid, isSandboxd)).pid;
      for (const { pid } of family(sandboxd).filter((each) => each.pid !== sandboxd && isSandboxd(each))) killed(pid);
      if (round % 2 === 1) killed(sandboxd);
      for (const end = performance.now() + READY_MS; (await ask(finds, 'list').catch(() => ({ status: 0 }))).status !== 200 && performance.now() < end;) await sleep(20);
    }
  } finally {
    stopped = true;
    await Promise.all(clients);
  }
  assert.ok(found.length > KILLS);
  assert.deepEqual([...new Set(found)], [null]);
});
