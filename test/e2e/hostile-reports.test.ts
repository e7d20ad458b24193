/** A template that was taken over says what it likes to sandboxd, which kills, reads and reaps whom it names: nobody but the template comes to harm. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { family, isBuilder, isSandboxd, isTemplate, member } from './footprint.ts';

const READY_MS = 5000;
const FORKED = 2, RESUMED = 4, FAILED = 5;
const FUNCTION_REQUEST = 1n << 63n;
/** Takes the template's own socket and bell, and sends one report through them. Arguments: pid, request, kind, step, error, pid that is reported. */
const REPORT = `import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
template, request, kind, step, error, pid = map(int, sys.argv[1:])
of = os.pidfd_open(template)
def take(number):
  fd = libc.syscall(438, of, number, 0)
  assert fd >= 0, ctypes.get_errno()
  return fd
kinds = {int(number): os.readlink(f'/proc/{template}/fd/{number}') for number in os.listdir(f'/proc/{template}/fd')}
sent = 0
for number in [number for number, what in kinds.items() if what.startswith('socket:')]:
  one = socket.socket(fileno=take(number))
  if one.type == socket.SOCK_SEQPACKET:
    one.send(struct.pack('<QIIii3Q8Q', request, kind, step, error, pid, *[0] * 11))
    sent += 1
for number in [number for number, what in kinds.items() if what == 'anon_inode:[eventfd]']: os.write(take(number), struct.pack('<Q', 1))
assert sent == 1, kinds`;

describe('reports that cannot be', () => {
  let flashd: Flashd;
  let victim: ReturnType<typeof spawn>;
  let directory: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
    chmodSync(directory, 0o755);
    mkdirSync(join(directory, 'talks'));
    writeFileSync(join(directory, 'talks/handler.py'), "def handler(event, context):\n    print('here', flush=True)\n    return 'done'\n");
    flashd = await Flashd.start();
    await flashd.cli('deploy', join(directory, 'talks'));
    victim = spawn('sleep', ['1000']);
  });
  after(async () => {
    victim?.kill();
    await flashd?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const sandboxd = () => member(flashd.pid, isSandboxd).pid;
  const holds = (pid: number, what: string) => readdirSync(`/proc/${pid}/fd`).some((number) => readlinkSync(`/proc/${pid}/fd/${number}`) === what);
  /** One that is frozen: of its forks none has its bell any more. */
  const frozen = async (): Promise<number> => {
    for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(10)) {
      try {
        const found = family(flashd.pid).find((process) => isTemplate(process, sandboxd()) && holds(process.pid, 'anon_inode:[eventfd]'));
        if (found !== undefined) return found.pid;
      } catch {
        // One that ended while it was looked at.
      }
    }
    throw new Error('no template is frozen');
  };
  /** The number of the instance that has served the last request, which waits for another. */
  const running = async (): Promise<bigint> => {
    const { status } = await flashd.http('GET', '/function/talks');
    assert.equal(status, 200);
    await sleep(50);
    const lines = (await flashd.cli('logs', 'talks', '--json')).trim().split('\n');
    return BigInt((JSON.parse(lines.at(-1)!) as { instance: number }).instance);
  };
  const lives = (pid: number) => spawnSync('kill', ['-0', String(pid)]).status === 0;

  const cases: [title: string, numbers: (instance: bigint) => [request: bigint, kind: number, step: number, error: number, pid: number]][] = [
    ["a function template's pid that is somebody else's", () => [FUNCTION_REQUEST | 999n, FORKED, 0, 0, victim.pid!]],
    ['everybody', () => [FUNCTION_REQUEST | 999n, FORKED, 0, 0, -1]],
    ["sandboxd's own group", () => [FUNCTION_REQUEST | 999n, FORKED, 0, 0, 0]],
    ["the builder's pid", () => [FUNCTION_REQUEST | 999n, FORKED, 0, 0, member(flashd.pid, isBuilder).pid]],
    ['a second pid of an instance that runs', (instance) => [instance, FORKED, 0, 0, victim.pid!]],
    ['that an instance which runs was resumed', (instance) => [instance, RESUMED, 0, 0, 0]],
    ['that an instance which runs was never cloned', (instance) => [instance, FAILED, 0, 11, 0]],
  ];
  for (const [title, numbers] of cases) {
    test(`${title}: the template ends, and nobody else`, async () => {
      const [request, kind, step, error, pid] = numbers(await running());
      const before = { sandboxd: sandboxd(), builder: member(flashd.pid, isBuilder).pid };
      const template = await frozen();
      const { status, stderr } = spawnSync('/usr/bin/python3', ['-c', REPORT, ...[template, request, kind, step, error, pid].map(String)], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      const told = () => flashd.output.includes(`template ${template}: killed: it reported what cannot be`);
      for (const end = Date.now() + READY_MS; (lives(template) || !told()) && Date.now() < end;) await sleep(10);
      assert.deepEqual([lives(template), told()], [false, true]);
      assert.ok(lives(victim.pid!));
      assert.deepEqual({ sandboxd: sandboxd(), builder: member(flashd.pid, isBuilder).pid }, before);
      await running();
    });
  }
});
