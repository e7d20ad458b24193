/** A function template holds the function's memory and handlers, and has privileges: whatever the function has prepared, none of its code is executed there. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { attempt, family, isSandboxd, isTemplate, member } from '../e2e/footprint.ts';

const ESCAPED = 'escaped';
/** A template is run again and again meanwhile, with pauses: it is sent away when it comes back from one. */
const ROUNDS = 20;
const PAUSE_MS = 25;
/** Nobody can block these. */
const UNBLOCKABLE: readonly string[] = ['SIGKILL', 'SIGSTOP'];
/** All signals but those. */
const BLOCKED = 0xffff_ffff_fffb_feffn;

describe('escapes from a frozen function', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', FLASHD_FUNCTION_STANDBY: '0' });
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
  });

  const templates = (): number[] => {
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    return family(flashd.pid).filter((process) => isTemplate(process, sandboxd) && inHostsNamespace(process.pid)).map(({ pid }) => pid);
  };
  const escapedOnHost = (): number[] => family(flashd.pid).filter(({ name, pid }) => name === ESCAPED && inHostsNamespace(pid)).map(({ pid }) => pid);

  async function freeze(name: string): Promise<number[]> {
    const directory = join(folder, name), before = templates();
    mkdirSync(directory);
    copyFileSync(join(import.meta.dirname, 'frozen', `${name}.c`), join(directory, 'handler.c'));
    writeFileSync(join(directory, 'function.json'), JSON.stringify({ functionTemplate: 1 }));
    await flashd.cli('deploy', directory);
    await flashd.http('GET', `/function/${name}`);
    for (let round = 0; round < ROUNDS; round++) {
      await flashd.http('GET', `/function/${name}`);
      assert.deepEqual(escapedOnHost(), [], 'code of the function was executed outside of a sandbox');
      await sleep(PAUSE_MS);
    }
    assert.equal((await flashd.frozen(name)).body.toString(), 'hello\n');
    return templates().filter((pid) => !before.includes(pid));
  }

  test('restartable sequences that begin where its frame is written', async () => {
    await freeze('section');
    assert.deepEqual(escapedOnHost(), []);
  });

  test('handlers of all signals', async () => {
    const made = await freeze('handlers');
    assert.ok(made.length > 0);
    for (const pid of made) {
      assert.equal(maskOf(pid), BLOCKED);
      for (const name of Object.keys(constants.signals).filter((each) => !UNBLOCKABLE.includes(each))) process.kill(pid, name as NodeJS.Signals);
    }
    await sleep(PAUSE_MS);
    assert.deepEqual(escapedOnHost(), []);
    for (let round = 0; round < ROUNDS; round++) assert.equal((await flashd.frozen('handlers')).body.toString(), 'hello\n');
    assert.deepEqual(templates().filter((pid) => made.includes(pid)), made, 'nobody has ended');
  });
});

function inHostsNamespace(pid: number): boolean {
  return attempt(() => readlinkSync(`/proc/${pid}/ns/user`)) === readlinkSync('/proc/self/ns/user');
}

function maskOf(pid: number): bigint {
  return BigInt(`0x${/SigBlk:\s+(\w+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]}`);
}
