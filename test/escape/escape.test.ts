/**
 * Code in deployed functions tries to get out: by raw system calls of a C function, from every kind of start, and of a program. Every attempt must be refused, in the way
 * that answers.ts says; what was a target is alive and unchanged afterwards. (That the filter refuses by itself, without the lack of capabilities: test/native/filter.c.
 * What an instance is at its first own instruction: test/e2e/first-instruction.test.ts. Memory, /tmp and processes driven to their limits in each language: test/conformance.)
 */
import { cpSync, globSync } from 'node:fs';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../../build/steps.ts';
import { ANSWERS, compare, PROGRAM, WITHIN_REACH } from './answers.ts';
import { Attack, HERE, LIMITS } from './attack.ts';

const WAIT_MS = 10_000;
const BOMB_MS = 1500;
const sources = (directory: string): void => cpSync(join(HERE, 'attempts'), directory, { recursive: true });
/** What each function is to be started from, and its settings. */
const STARTS: Readonly<Record<string, object>> = {
  'language-template': { functionTemplate: 0 },
  'function-template': { functionTemplate: 1 },
  'standby': { functionTemplate: 0, standby: 1 },
  'warm': { functionTemplate: 0, keepWarmSeconds: 3600, maxInstances: 1 },
};

describe('escapes', () => {
  let attack: Attack;
  before(async () => {
    attack = await Attack.start();
    for (const [start, settings] of Object.entries(STARTS)) await attack.deploy(start, sources, { ...settings, ...LIMITS });
    await attack.deploy('bombs', sources, { functionTemplate: 0, timeoutMs: BOMB_MS, memoryMb: 64, ...LIMITS });
    await attack.flashd.frozen('function-template');
    const program = globSync(join(HERE, 'attempts/*.c')).filter((file) => !file.endsWith('/handler.c'));
    await run('gcc', ['-O1', '-o', join(attack.folder, 'handler'), join(HERE, 'program/main.c'), ...program]);
    await attack.deploy('program', (directory) => cpSync(join(attack.folder, 'handler'), join(directory, 'handler')), { functionTemplate: 0, ...LIMITS });
  });
  after(() => attack?.stop());

  for (const start of Object.keys(STARTS)) {
    for (const group of Object.keys(ANSWERS)) {
      test(`${group}, from ${start}: every attempt is refused`, async () => {
        if (start === 'standby') await standby(attack);
        if (start === 'warm') await attack.flashd.http('GET', '/function/warm');
        compare(await attack.attempt(start, group, start), ANSWERS[group]!, `${group}, ${start}`);
      });
    }
  }

  for (const group of Object.keys(ANSWERS)) {
    test(`${group}, from a program: every attempt is refused`, async () => {
      compare(await attack.attempt('program', group, 'language-template'), { ...ANSWERS[group]!, ...PROGRAM[group] }, `${group}, program`);
    });
  }

  test('a target that was not named, or a group that does not exist, is noticed', async () => {
    const answer = await attack.flashd.http('POST', '/function/language-template/network');
    assert.match(answer.body.toString(), /^no target\tabstract socket$/m);
    assert.equal((await attack.flashd.http('POST', '/function/language-template/nothing')).status, 502);
  });

  test('what is refused to others is done where the victim itself tries it', async () => {
    const found = await attack.attempt('victim', 'network', 'warm');
    assert.deepEqual(WITHIN_REACH.map((name) => found[name]), WITHIN_REACH.map(() => 'done'));
  });

  test('whoever was a target is alive, and what the victim holds is as it was', () => attack.unharmed());

  test('SIGKILL to everybody and to the init ends one instance, and nobody else', async () => {
    const answer = await attack.flashd.http('POST', '/function/bombs/kill-everybody');
    assert.equal(answer.status, 502, answer.body.toString());
    await attack.unharmed();
    compare(await attack.attempt('language-template', 'memory', 'language-template'), ANSWERS['memory']!, 'the next instance');
  });

  test('bombs of processes, memory and threads stay in their sandbox', async () => {
    for (const bomb of ['fork-bomb', 'memory-bomb', 'thread-bomb']) {
      const bombs = Array.from({ length: 3 }, () => attack.flashd.http('POST', `/function/bombs/${bomb}`));
      const during = await attack.flashd.http('GET', '/function/victim/hold');
      assert.deepEqual([during.status, during.body.toString()], [200, 'held\n'], `the victim during a ${bomb}`);
      for (const answer of await Promise.all(bombs)) assert.ok(answer.status === 502 || answer.status === 504, `${bomb}: ${answer.status} ${answer.body.toString()}`);
      await attack.unharmed();
    }
  });
});

async function standby(attack: Attack): Promise<void> {
  for (const end = performance.now() + WAIT_MS; ; await sleep(20)) {
    const text = (await attack.flashd.http('GET', '/metrics')).body.toString();
    if (/^flashd_standbys [1-9]/m.test(text)) break;
    assert.ok(performance.now() < end, 'there is a standby');
  }
  await sleep(200);
}
