/** Whatever process dies, by kill -9 too: service resumes by itself, nothing hangs, nothing of the dead generation stays. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { cgroupName, cgroups, exists, family, isBuilder, isGateway, isInit, isSandboxd, isTemplate, member, type Process } from './footprint.ts';

const RESUME_MS = 2000;
const HANG_MS = 5000;
const LOAD = 4;

describe('kill -9', () => {
  let flashd: Flashd;
  const functions = join(import.meta.dirname, '../../functions');

  before(async () => {
    flashd = await Flashd.start();
    await flashd.cli('deploy', join(functions, 'hello-python'), join(functions, 'hello-sh'));
  });
  after(() => flashd.stop());

  const sandboxd = (): number => member(flashd.pid, isSandboxd).pid;

  /** 200 from both functions again, in time; until then only honest answers. */
  async function resumes(died: number): Promise<number> {
    const start = performance.now();
    let good = 0;
    while (good < 2) {
      const answers = await Promise.all(['hello-python', 'hello-sh'].map((name) => flashd.http('GET', `/function/${name}`).catch(() => undefined)));
      for (const answer of answers) assert.ok(answer === undefined || [200, 502, 503].includes(answer.status), String(answer?.status));
      good = answers.every((answer) => answer?.status === 200) ? good + 1 : 0;
      assert.ok(performance.now() - start < RESUME_MS + HANG_MS, `no service after ${died} was killed:\n${flashd.output.slice(-2000)}`);
      await sleep(20);
    }
    return performance.now() - start;
  }

  async function killUnderLoad(pid: number): Promise<void> {
    let stop = false;
    const load = Array.from({ length: LOAD }, async () => {
      while (!stop) {
        const sent = performance.now();
        await flashd.http('GET', '/function/hello-python').catch(() => undefined);
        assert.ok(performance.now() - sent < HANG_MS, 'a request hung');
        await sleep(1);
      }
    });
    await sleep(50);
    process.kill(pid, 'SIGKILL');
    const resumed = await resumes(pid);
    stop = true;
    await Promise.all(load);
    assert.ok(resumed < RESUME_MS, `service resumed after ${resumed.toFixed(0)} ms`);
    assert.ok(!exists(pid));
  }

  const victims: [string, () => Process][] = [
    ['the gateway', () => member(flashd.pid, isGateway)],
    ['a template', () => member(flashd.pid, (process) => isTemplate(process, sandboxd()))],
    ['a sandbox\'s init', () => member(flashd.pid, isInit)],
    ['the builder', () => member(flashd.pid, isBuilder)],
    ['sandboxd', () => member(flashd.pid, isSandboxd)],
    ['sandboxd, again', () => member(flashd.pid, isSandboxd)],
    ['sandboxd, once more', () => member(flashd.pid, isSandboxd)],
  ];
  for (const [name, find] of victims) test(`of ${name} is survived`, () => killUnderLoad(find().pid));

  test('leaves nothing of a dead sandboxd', async () => {
    const old = family(sandboxd()).map(({ pid }) => pid);
    const name = cgroupName(flashd.pid);
    process.kill(sandboxd(), 'SIGKILL');
    await resumes(old[0]!);
    assert.deepEqual(old.filter(exists), []);
    const slots = cgroups(name).filter((path) => /\/s\d+$/.test(path)).length;
    const inits = family(flashd.pid).filter(isInit).length;
    assert.ok(slots <= (inits + 12) * 4, `${slots} cgroups of slots for ${inits} sandboxes`);
  });

  test('SIGTERM of the supervisor ends everything', async () => {
    const all = family(flashd.pid).map(({ pid }) => pid);
    const name = cgroupName(flashd.pid);
    await flashd.stop();
    assert.deepEqual(all.filter(exists), []);
    assert.deepEqual(cgroups(name), []);
  });
});
