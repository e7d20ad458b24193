/**
 * The same attempts from the light class ("isolation": "process"), whose instances share one process table, network, user and mount namespace (native/sandbox/light.h). The victim is another
 * instance of the class: who is in the same room is nearest. An attempt is refused as in the full class, or stands in light.ts with what comes of it and why; that list is exact.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveConfig } from '../../src/config/index.ts';
import { run } from '../../build/steps.ts';
import { family } from '../e2e/footprint.ts';
import { ANSWERS, compare, PROGRAM } from './answers.ts';
import { Attack, HERE, LIMITS, type Answers } from './attack.ts';
import { answersOf, DIFFERENCES, NOT_PROMISED } from './light.ts';

const UIDS_PER_SLOT = 65_536;
const INNER_UID = 1000;
const BOMB_MS = 1000;
const GONE_MS = 5000;
/** sandboxd's, and the allow-list of its template. */
const FILTERS_PARKED = 2;
/** More processes than the room comes to, and than the machine does until its targets are there. */
const ROOM_PIDS = 5000;
const base = resolveConfig({}).uidBase;
const LIGHT = { isolation: 'process', functionTemplate: 0 };
const STARTS: Readonly<Record<string, object>> = {
  'language-template': LIGHT,
  'function-template': { ...LIGHT, functionTemplate: 1 },
  'warm': { ...LIGHT, keepWarmSeconds: 3600, maxInstances: 1 },
};

describe('escapes from the light class', () => {
  let attack: Attack;
  let instead: Record<string, string | number>;
  before(async () => {
    apart();
    attack = await Attack.start({ FLASHD_ALLOW_PROCESS_ISOLATION: '1' });
    const attempts = globSync(join(HERE, 'attempts/*.c')), object = join(attack.folder, 'handler.so');
    await run('gcc', ['-O1', '-shared', '-fPIC', '-I', join(HERE, '../../src/runtimes/native'), '-o', object, ...attempts]);
    const sources = (directory: string): void => cpSync(object, join(directory, 'handler.so'));
    for (const [start, settings] of Object.entries(STARTS)) await attack.deploy(start, sources, { ...settings, ...LIMITS });
    await attack.flashd.frozen('function-template');
    await attack.deploy('neighbour', sources, { ...LIGHT, keepWarmSeconds: 3600, maxInstances: 1 });
    await attack.deploy('bombs', sources, { ...LIGHT, timeoutMs: BOMB_MS, memoryMb: 64, ...LIMITS });
    assert.equal(await held(attack), 'held');
    const { slot, pid } = neighbour(attack.flashd.pid);
    instead = { 'victim': pid, "victim's file": `/slots/${slot}/tmp/victim` };
    await run('gcc', ['-O1', '-o', join(attack.folder, 'handler'), join(HERE, 'program/main.c'), ...attempts.filter((file) => !file.endsWith('/handler.c'))]);
    await attack.deploy('program', (directory) => cpSync(join(attack.folder, 'handler'), join(directory, 'handler')), { ...LIGHT, ...LIMITS });
  });
  after(() => attack?.stop());

  /** Who it is differs from instance to instance, and is the uid of its slot: taken for the 1000 of the full class from there on. */
  function ids(found: Answers): Answers {
    const uid = found['fsuid'];
    if (uid === undefined) return found;
    assert.equal((Number(uid) - base) % UIDS_PER_SLOT, INNER_UID, uid);
    return Object.fromEntries(Object.entries(found).map(([name, answer]) => [name, answer.replaceAll(uid, String(INNER_UID))]));
  }

  for (const start of Object.keys(STARTS)) {
    for (const group of Object.keys(ANSWERS)) {
      test(`${group}, from ${start}: every attempt is refused, or stands in the list of what is not promised`, async () => {
        if (start === 'warm') await attack.flashd.http('GET', '/function/warm');
        compare(ids(await attack.attempt(start, group, start, instead)), { ...ANSWERS[group]!, ...answersOf(group) }, `${group}, ${start}`);
      });
    }
  }

  for (const group of Object.keys(ANSWERS)) {
    test(`${group}, from a program: every attempt is refused, or stands in the list of what is not promised`, async () => {
      compare(ids(await attack.attempt('program', group, 'language-template', instead)), { ...ANSWERS[group]!, ...PROGRAM[group], ...answersOf(group, true) }, `${group}, program`);
    });
  }

  test('what is refused to others is done where the victim itself tries it', async () => {
    const found = await attack.attempt('neighbour', 'network', 'warm', instead);
    assert.deepEqual(['abstract socket of the victim', 'named shared memory of the victim'].map((name) => found[name]), ['done', 'done']);
  });

  test('SIGKILL to everybody ends one instance, and nobody else, in the same room or out of it', async () => {
    const answer = await attack.flashd.http('POST', '/function/bombs/kill-everybody');
    assert.equal(answer.status, 502, answer.body.toString());
    assert.equal(await held(attack), 'held');
    await attack.unharmed();
  });

  test('a bomb of processes stays in its sandbox, and nothing of it is left', async () => {
    const before = roomMates(attack.flashd.pid).map(({ uid }) => uid);
    const answer = await attack.flashd.http('POST', '/function/bombs/fork-bomb');
    assert.ok(answer.status === 502 || answer.status === 504, answer.body.toString());
    assert.equal(await held(attack), 'held');
    await attack.unharmed();
    for (const end = performance.now() + GONE_MS; roomMates(attack.flashd.pid).some(({ uid }) => !before.includes(uid)); await sleep(20)) assert.ok(performance.now() < end, 'nobody is left who was not there before');
  });
});

test('the list of differences is exact, and what is not promised stands in the documentation', () => {
  const readme = readFileSync(join(HERE, '../../native/README.md'), 'utf8');
  for (const { why } of NOT_PROMISED) assert.ok(readme.includes(why), why);
  const named = DIFFERENCES.flatMap(({ answers }) => Object.entries(answers).flatMap(([group, names]) => Object.entries(names).map(([name, answer]) => ({ group, name, answer }))));
  assert.equal(new Set(named.map(({ group, name }) => `${group} ${name}`)).size, named.length, 'each stands there once');
  for (const { group, name, answer } of named) {
    const full = ANSWERS[group]?.[name];
    assert.ok(full !== undefined, `${group}: ${name} is an attempt`);
    assert.ok(typeof full === 'string' ? answer !== full : !full.test(String(answer)), `${group}: ${name} differs from the full class`);
    const through = ['done', 'EADDRINUSE', 'listed'].includes(String(answer));
    assert.ok(!through || NOT_PROMISED.some(({ answers }) => answers[group]?.[name] === answer), `${group}: ${name} is let through, so it is not promised`);
  }
});

/** Processes of the host and of the room are counted each by themselves: a number that both have would be somebody else's in the room. */
function apart(): void {
  const [last, most] = ['ns_last_pid', 'pid_max'].map((name) => Number(readFileSync(`/proc/sys/kernel/${name}`, 'utf8'))) as [number, number];
  if (last < ROOM_PIDS || last > most - ROOM_PIDS) writeFileSync('/proc/sys/kernel/ns_last_pid', String(ROOM_PIDS));
}

async function held(attack: Attack): Promise<string> {
  return (await attack.flashd.http('GET', '/function/neighbour/hold-light')).body.toString().trim();
}

/** Those whose user namespace is the room's, its init aside: with their uids on the host. */
function roomMates(supervisor: number): { pid: number; uid: number }[] {
  return family(supervisor).flatMap(({ pid, name }) => {
    try {
      const room = name !== 'flashd-init' && readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split('\n').length === 2;
      const { uid } = statSync(`/proc/${pid}`);
      return room && uid >= base && !parked(pid) ? [{ pid, uid }] : [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

/** A spare waits for its assignment, behind which it is nobody's yet: its filter is that of its template alone. */
function parked(pid: number): boolean {
  return /^Seccomp_filters:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1] === String(FILTERS_PARKED);
}

/** By what it holds; its slot follows from its uid, which no other process has. And its pid in the room. */
function neighbour(supervisor: number): { slot: number; pid: number } {
  const found = roomMates(supervisor).find(({ pid }) => existsSync(`/proc/${pid}/root/tmp/victim`));
  if (found === undefined) throw new Error('the neighbour is not found');
  return { slot: Math.floor((found.uid - base) / UIDS_PER_SLOT), pid: Number(/^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${found.pid}/status`, 'utf8'))![1]) };
}
