/** Who works though nobody has asked it to yields, as the kernel tells it. What its neighbours have of that is the benchmark's affair. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { attempt, cgroupName, cgroups, family, isSandboxd, member } from './footprint.ts';

/** Long enough to be found at it, and to be called meanwhile. */
const BURN_MS = 8000;
const FOUND_MS = 20_000;
/** Longer than what one call takes of it makes it yield. */
const STEADILY_MS = 2000;
const CALL_EVERY_MS = 10;
/** Of one instance: it is never asked for nothing. */
const CALLERS = 3;
/** More than it may use at once: its own calls wait for its next share, too. */
const BURNERS = 4;

/** Each has a name that is seen from outside. */
const BURN = `
import os, time
def burn(name, children):
  for _ in range(children):
    if os.fork() == 0:
      open('/proc/self/comm', 'w').write(name)
      end = time.monotonic() + ${BURN_MS / 1000}
      while time.monotonic() < end: pass
      time.sleep(3600)
`;
const FUNCTIONS = {
  calm: `open('/proc/self/comm', 'w').write('calm')\ndef handler(event, context): return sum(range(1000))\n`,
  answered: `${BURN}\ndef handler(event, context): burn('answered', 1)\n`,
  called: `${BURN}\nbegun = []\ndef handler(event, context):\n  if not begun: burn('called', ${BURNERS})\n  begun.append(1)\n`,
  loaded: `${BURN}\nburn('loaded', 1)\ndef handler(event, context): pass\n`,
} as const;
type Name = keyof typeof FUNCTIONS;

describe('who works unasked', () => {
  let below: string;
  let flashd: Flashd;

  const deploy = async (name: Name): Promise<void> => {
    mkdirSync(join(below, name));
    writeFileSync(join(below, name, 'handler.py'), FUNCTIONS[name]);
    writeFileSync(join(below, name, 'function.json'), JSON.stringify({ maxInstances: 1 }));
    await flashd.cli('deploy', join(below, name));
  };
  const call = async (name: Name): Promise<void> => assert.equal((await flashd.http('GET', `/function/${name}`)).status, 200);
  /** Of all instances in which somebody has that name; false when there is none. */
  const yields = (name: Name): boolean => {
    const leaves = cgroups(cgroupName(member(flashd.pid, isSandboxd).pid)).filter((leaf) => existsSync(join(leaf, 'cpu.idle')));
    const at = family(flashd.pid).filter((process) => process.name === name).flatMap(({ pid }) => leaves.find((leaf) => attempt(() => readFileSync(join(leaf, 'cgroup.procs'), 'utf8').split('\n').includes(String(pid)))) ?? []);
    return at.length > 0 && at.every((leaf) => attempt(() => readFileSync(join(leaf, 'cpu.idle'), 'utf8')) === '1\n');
  };
  /** For so long without a break. */
  const until = async (condition: () => boolean, forMs: number, what: string): Promise<void> => {
    for (let now = Date.now(), since = now, end = now + FOUND_MS; now - since < forMs || !condition(); now = Date.now()) {
      assert.ok(now < end, what);
      if (!condition()) since = now;
      await call('calm');
      await sleep(CALL_EVERY_MS);
    }
  };

  before(async () => {
    below = mkdtempSync(join(tmpdir(), 'flashd-unasked-'));
    flashd = await Flashd.start();
    await deploy('calm');
  });
  after(async () => {
    await flashd?.stop();
    rmSync(below, { recursive: true, force: true });
  });

  const found = async (name: Name): Promise<void> => {
    await deploy(name);
    if (name !== 'loaded') await call(name);
    let going = true;
    const calls = Array.from({ length: name === 'called' ? CALLERS : 0 }, async () => { while (going) await call(name); });
    await until(() => yields(name), STEADILY_MS, `${name} does not yield`);
    assert.equal(yields('calm'), false);
    const metrics = (await flashd.http('GET', '/metrics')).body.toString();
    for (const [each, restless] of [[name, 1], ['calm', 0]] as const) assert.match(metrics, new RegExp(`^flashd_restless\\{function="${each}"\\} ${restless}$`, 'm'));
    await until(() => !yields(name), 0, `${name} goes on yielding`).finally(() => { going = false; });
    await Promise.all(calls);
  };
  // Beside others it would have too little of the processors to be answered in time, and yield for that.
  for (const names of [['called'], ['answered', 'loaded']] as const) {
    test(`${names.join(' and ')}: yields until a while after, and who is calm does not`, async () => {
      await Promise.all(names.map(found));
    });
  }
});
