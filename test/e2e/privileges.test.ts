/** What flashd's own processes may do: their ids, capabilities and filters as the kernel tells them, and what somebody with their rights tries on them. (Instances: test/escape.) */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../conformance/fixtures.ts';
import { Flashd } from '../conformance/packaged.ts';
import { family, isBuilder, isGateway, isInit, isSandboxd, isTemplate, member } from './footprint.ts';

const SETTLED_MS = 300;
const NONE = '0000000000000000';
const CAPABILITY_SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'];
const NUMBERS: Readonly<Record<string, number>> = {
  DAC_OVERRIDE: 1, KILL: 5, SETGID: 6, SETUID: 7, SETPCAP: 8, NET_ADMIN: 12, SYS_CHROOT: 18, SYS_PTRACE: 19, SYS_ADMIN: 21, SYS_RESOURCE: 24, MKNOD: 27,
};
/** Of what these tests were started with themselves: a container's root does not have all. */
const mask = (names: readonly string[]): string => {
  const own = BigInt(`0x${statuses(process.pid)[0]!['CapBnd']!}`);
  return (own & names.reduce((sum, name) => sum | (1n << BigInt(NUMBERS[name]!)), 0n)).toString(16).padStart(16, '0');
};
/** Everything that a sealed file of memory can be sealed against, and that no seal is taken off. */
const ALL_SEALS = 0xf;
const SEALS = 'import fcntl, os, sys\nprint(fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), 1034))';
/** Tries to open each path and prints which error that gave. */
const OPEN = "import errno, os, sys\nfor path in sys.argv[1:]:\n  try:\n    os.open(path, os.O_RDWR if path.endswith('mem') else os.O_RDONLY)\n    print('opened')\n  except OSError as error:\n    print(errno.errorcode[error.errno])";

/** A thread's slice in nanoseconds, as sched_getattr(2) tells it; 0 before Linux 6.12. */
const TURN = "import ctypes, struct, sys\nbuffer = ctypes.create_string_buffer(48)\nassert ctypes.CDLL(None).syscall(315, int(sys.argv[1]), buffer, 48, 0) == 0\nprint(struct.unpack('<IIQiIQQQ', buffer)[5])";

type Status = Readonly<Record<string, string>>;

/** Of each of its threads; none when it is over. */
function statuses(pid: number): Status[] {
  const texts = unlessOver(() => readdirSync(`/proc/${pid}/task`).flatMap((thread) => unlessOver(() => [readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')]) ?? [])) ?? [];
  return texts.map((text) => Object.fromEntries(text.trim().split('\n').map((line) => line.split(/:\s*/, 2) as [string, string])));
}

function unlessOver<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

const coreLimit = (pid: number): string | undefined => unlessOver(() => /^Max core file size\s+(\S+)\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))!.slice(1).join(' '));

describe("flashd's own processes", () => {
  let flashd: Flashd;
  let sandboxd: number;
  let gateway: number;
  let uid: number;
  before(async () => {
    flashd = await Flashd.start();
    await flashd.cli('deploy', join(root, 'functions/hello-python'));
    await flashd.http('GET', '/function/hello-python');
    sandboxd = member(flashd.pid, isSandboxd).pid;
    gateway = member(flashd.pid, isGateway).pid;
    uid = Number(statuses(gateway)[0]!['Uid']!.split('\t')[0]);
  });
  after(() => flashd?.stop());

  const asUser = (id: number, ...paths: string[]): string[] => {
    const { stdout, stderr } = spawnSync('setpriv', [`--reuid=${id}`, `--regid=${id}`, '--clear-groups', '--bounding-set=-all', '--inh-caps=-all', '/usr/bin/python3', '-c', OPEN, ...paths]);
    assert.equal(stderr.toString(), '');
    return stdout.toString().trim().split('\n');
  };

  test('sandboxd has the capabilities that stand in supervisor.c, each with its reason, and no others', () => {
    const table = /sandboxd_capabilities\[\] = \{([^}]*)\}/.exec(readFileSync(join(root, 'native/sandboxd/supervisor.c'), 'utf8'))![1]!;
    for (const line of table.trim().split('\n')) assert.match(line, /^\s*(CAP_\w+, ?)+\s*\/\* .{10,} \*\/$/);
    const expected = mask([...table.matchAll(/CAP_(\w+),/g)].map((match) => match[1]!));
    for (const pid of [sandboxd, member(flashd.pid, isBuilder).pid]) {
      for (const status of statuses(pid)) {
        for (const set of ['CapPrm', 'CapEff', 'CapBnd']) assert.equal(status[set], expected, set);
        for (const set of ['CapInh', 'CapAmb']) assert.equal(status[set], NONE, set);
      }
    }
  });

  /** Those that stay: a fork is root, in its own user namespace, for a moment. */
  const templates = async (): Promise<number[]> => {
    const roots = (): number[] => family(flashd.pid).filter((process) => isTemplate(process, sandboxd) && statuses(process.pid)[0]?.['Uid']!.startsWith('0\t') === true).map(({ pid }) => pid);
    const before = roots();
    await sleep(SETTLED_MS);
    return roots().filter((pid) => before.includes(pid));
  };

  test('a template has the two capabilities that setns needs, and an init has none', async () => {
    const pids = await templates();
    assert.ok(pids.length > 0);
    for (const status of pids.flatMap(statuses)) for (const set of ['CapPrm', 'CapEff', 'CapBnd']) assert.equal(status[set], mask(['SYS_ADMIN', 'SYS_PTRACE']), set);
    const inits = family(flashd.pid).filter(isInit).flatMap(({ pid }) => statuses(pid)).filter((status) => !status['Uid']!.startsWith('0\t')); // one that is still being made is root
    assert.ok(inits.length > 0);
    for (const status of inits) for (const set of CAPABILITY_SETS) assert.equal(status[set], NONE, set);
  });

  test('sandboxd and whatever it starts are filtered, gain nothing by executing, and dump no core', () => {
    const below = family(flashd.pid).filter(({ pid }) => pid !== flashd.pid && pid !== gateway);
    assert.ok(below.length > 3);
    for (const { pid, name } of below) {
      for (const status of statuses(pid)) assert.deepEqual([status['NoNewPrivs'], status['Seccomp']], ['1', '2'], name);
      assert.equal(coreLimit(pid) ?? '1 1', '1 1', name);
    }
    assert.ok(statuses(sandboxd).length > 0);
    assert.equal(coreLimit(flashd.pid), '1 1');
  });

  test("sandboxd's program is sealed, and nobody writes to it", () => {
    for (const pid of [flashd.pid, sandboxd]) {
      assert.equal(Number(execFileSync('/usr/bin/python3', ['-c', SEALS, `/proc/${pid}/exe`])) & ALL_SEALS, ALL_SEALS);
      assert.notEqual(spawnSync('sh', ['-c', `printf x > /proc/${pid}/exe`]).status, 0);
    }
  });

  test('root without capabilities reaches neither supervisor, nor sandboxd, nor a template', async () => {
    const template = (await templates())[0]!;
    for (const pid of [flashd.pid, sandboxd, member(flashd.pid, isBuilder).pid, template]) {
      assert.deepEqual(asUser(0, `/proc/${pid}/mem`, `/proc/${pid}/environ`, `/proc/${pid}/maps`, `/proc/${pid}/ns/mnt`), Array(4).fill('EACCES'), String(pid));
    }
  });

  test('every thread of the gateway is an unprivileged user, without capabilities, filtered', () => {
    assert.ok(uid > 0);
    for (const status of statuses(gateway)) {
      for (const set of CAPABILITY_SETS) assert.equal(status[set], NONE, set);
      assert.deepEqual([status['Uid'], status['Groups']!.trim(), status['NoNewPrivs'], status['Seccomp']], [Array(4).fill(uid).join('\t'), '', '1', '2']);
    }
    assert.equal(coreLimit(gateway), '1 1');
  });

  test("whoever has the gateway's rights reads no other user's files, and not the gateway either", () => {
    assert.deepEqual(asUser(uid, '/etc/shadow', '/root/.', `/proc/${sandboxd}/environ`, `/proc/${sandboxd}/mem`), Array(4).fill('EACCES'));
    assert.deepEqual(asUser(uid, `/proc/${gateway}/environ`, `/proc/${gateway}/mem`, `/proc/${gateway}/maps`), Array(3).fill('EACCES'));
    assert.equal(statSync(`/proc/${gateway}/environ`).uid, 0, 'not dumpable');
  });

  test("the gateway's main thread asks for short turns, on kernels that have them (6.12), and nobody else inherits that", async () => {
    const turn = (pid: number): number => Number(execFileSync('/usr/bin/python3', ['-c', TURN, String(pid)]));
    if (turn(process.pid) === 0) return;
    assert.equal(turn(gateway), 100_000);
    for (const pid of [flashd.pid, sandboxd, member(flashd.pid, isBuilder).pid, ...(await templates())]) assert.ok(turn(pid) > 100_000, String(pid));
  });

  test('the gateway still sees its own numbers', async () => {
    const text = (await flashd.http('GET', '/metrics')).body.toString();
    for (const name of ['process_open_fds', 'process_resident_memory_bytes', 'process_max_fds']) assert.match(text, new RegExp(`^${name} [1-9]`, 'm'));
  });
});
