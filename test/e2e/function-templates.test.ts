/** Function templates: what comes out of them is as isolated and as fresh as any instance, what cannot be frozen goes on without one, and losing one costs no request. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LANGUAGES, prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { family, killed } from './footprint.ts';

const WAIT_MS = 10_000;

/** Seen at a call, in a fork: what was there while loading is another instance's. */
const LOOK = `import ctypes, errno, os, re
kept = []
libc = ctypes.CDLL(None, use_errno=True)

def refused(*call):
  return errno.errorcode[ctypes.get_errno()] if libc.syscall(*map(ctypes.c_long, call)) < 0 else 'allowed'

def handler(event, context):
  kept.append(event['requestContext']['requestId'])
  status = dict(line.split(':', 1) for line in open('/proc/self/status'))
  maps = open('/proc/self/maps').read()
  return {'calls': len(kept), 'pid': os.getpid(), 'descriptors': sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)), 'cwd': os.getcwd(),
    'capabilities': [status[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')], 'uid': status['Uid'].split(), 'sealed': [refused(308, 0, 0), refused(429, -1, 0, -1, 0, 4), refused(161, 0), refused(425, 1, 0), refused(435, 0, 0)],
    'namespaces': {name: os.readlink('/proc/self/ns/' + name) for name in os.listdir('/proc/self/ns')}, 'processes': [int(name) for name in os.listdir('/proc') if name.isdigit()],
    'foreign': [line for line in maps.splitlines() if 'memfd' in line or re.search(r' ..x. 0+ 00:00 0\\s*$', line) or re.search(r' ---p 0+ 00:00 0\\s*$', line)], 'tmp': os.listdir('/tmp')}
`;

/** What the function does while it is loaded, and what is said about it. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['a thread', 'import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()', /has started or ended threads/],
  ['a child process', "import subprocess\nchild = subprocess.Popen(['/bin/sleep', '1000'])", /has child processes/],
  ['an orphan', "import os\nif os.fork() == 0:\n  if os.fork() == 0:\n    os.execv('/bin/sleep', ['sleep', '1000'])\n  os._exit(0)\nos.wait()", /has child processes/],
  ['a connected socket', 'import socket\npair = socket.socketpair()', /descriptor \d+ \(socket:.*is open/],
  ['a file of its own', "open('/tmp/cache', 'w').write('x')", /has written files/],
  ['shared memory', 'import mmap\nshared = mmap.mmap(-1, 4096)', /maps shared or deleted memory/],
  ['an alarm', 'import signal\nsignal.setitimer(signal.ITIMER_REAL, 1e6)', /has set an alarm/],
  ['another directory', "import os\nos.chdir('/')", /has left its directory/],
  ['another umask', 'import os\nos.umask(0)', /has changed its umask/],
  ['a signal that waits', 'import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\nos.kill(os.getpid(), signal.SIGUSR1)', /has signals pending/],
];

/** Each tells what has happened so far. */
const HOOKS: Readonly<Record<string, readonly [string, string]>> = {
  python: ['handler.py', "from snapshot_restore_py import register_before_snapshot, register_after_restore\nsteps = ['loaded']\nregister_before_snapshot(steps.append, 'before')\nregister_after_restore(steps.append, 'after')\ndef handler(event, context):\n  return ' '.join(steps)\n"],
  ruby: ['handler.rb', "STEPS = ['loaded']\nFlashd.before_snapshot { STEPS << 'before' }\nFlashd.after_restore { STEPS << 'after' }\ndef handler(event:, context:) = STEPS.join(' ')\n"],
  perl: ['handler.pl', "my @steps = ('loaded');\nFlashd::before_snapshot(sub { push @steps, 'before' });\nFlashd::after_restore(sub { push @steps, 'after' });\nsub handler { return join ' ', @steps }\n1;\n"],
  php: ['handler.php', "<?php\n$steps = ['loaded'];\nFlashd\\before_snapshot(function () use (&$steps) { $steps[] = 'before'; });\nFlashd\\after_restore(function () use (&$steps) { $steps[] = 'after'; });\nreturn function () use (&$steps) { return implode(' ', $steps); };\n"],
  node: ['index.mjs', "const steps = ['loaded'];\nprocess.on('beforeSnapshot', () => steps.push('before'));\nprocess.on('afterRestore', () => steps.push('after'));\nexport const handler = async () => steps.join(' ');\n"],
  java: ['Handler.java', 'import org.crac.*;\npublic class Handler implements Resource {\n  private static String steps = "loaded";\n  private static final Handler KEPT = new Handler();\n  static { Core.getGlobalContext().register(KEPT); }\n  public void beforeCheckpoint(Context<? extends Resource> context) { steps += " before"; }\n  public void afterRestore(Context<? extends Resource> context) { steps += " after"; }\n  public Object handle(java.util.Map<String, Object> event) { return steps; }\n}\n'],
  native: ['handler.c', '#include <flashd.h>\n#include <string.h>\nstatic char steps[64] = "loaded";\nint flashd_before_snapshot(void) { strcat(steps, " before"); return 0; }\nint flashd_after_restore(void) { strcat(steps, " after"); return 0; }\nint flashd_handle(const flashd_request *request, flashd_response *response) { (void)request; return flashd_printf(response, "%s", steps); }\n'],
};

describe('function templates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const fixtures: Fixture[] = [];
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start({ FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', FLASHD_FUNCTION_STANDBY: '0' });
  });
  after(async () => {
    await flashd?.stop();
    rmSync(folder, { recursive: true });
    for (const fixture of fixtures) fixture.remove();
  });
  const deploy = async (name: string, handler: string, manifest: object = {}): Promise<void> => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'handler.py'), handler);
    writeFileSync(join(folder, name, 'function.json'), JSON.stringify(manifest));
    await flashd.cli('deploy', join(folder, name));
  };

  for (const language of LANGUAGES) {
    test(`${language}: forks of it answer as all others do`, async () => {
      const fixture = prepareFixture(language, 'body');
      fixtures.push(fixture);
      await flashd.cli('deploy', fixture.directory);
      if (language === 'executable') return; // a process per request: there is nothing to load
      await flashd.frozen(fixture.name);
      const body = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7) & 255));
      for (let round = 0; round < 20; round++) {
        const answers = await Promise.all([1, 2].map(() => flashd.http('POST', `/function/${fixture.name}`, { 'content-type': 'application/octet-stream' }, body)));
        for (const answer of answers) {
          assert.equal(answer.status, 200, answer.body.toString());
          assert.ok(answer.body.equals(body));
        }
      }
    });
  }

  test('java with the G1 collector: forks of both templates answer', async () => {
    const fixture = prepareFixture('java', 'body');
    fixtures.push(fixture);
    const body = Buffer.alloc(1 << 20, 'x');
    for (const functionTemplate of [0, 1]) {
      writeFileSync(join(fixture.directory, 'function.json'), JSON.stringify({ runtime: 'java-g1', functionTemplate }));
      await flashd.cli('deploy', fixture.directory);
      if (functionTemplate > 0) await flashd.frozen(fixture.name);
      for (let round = 0; round < 25; round++) {
        const answer = await flashd.http('POST', `/function/${fixture.name}`, { 'content-type': 'text/plain' }, body);
        assert.ok(answer.status === 200 && answer.body.equals(body), `${answer.status}`);
      }
    }
  });

  test('a fork of it is isolated like every instance, and nothing of its making is left', async () => {
    await deploy('look', LOOK);
    const pids = new Set<number>();
    for (let round = 0; round < 10; round++) {
      const found = JSON.parse((await flashd.frozen('look')).body.toString());
      assert.equal(found.calls, 1, 'it has served nobody before');
      assert.deepEqual([found.descriptors, found.cwd, found.tmp, found.foreign], [[0, 1, 2, 3], '/function', [], []]);
      assert.deepEqual(found.capabilities, Array(5).fill('0000000000000000'));
      assert.deepEqual(found.sealed, ['EPERM', 'EPERM', 'EPERM', 'EPERM', 'ENOSYS'], 'setns, move_mount, chroot, io_uring_setup, clone3');
      assert.deepEqual(found.uid, Array(4).fill('1000'));
      assert.deepEqual(found.processes, [1, found.pid]);
      for (const [name, link] of Object.entries(found.namespaces).filter(([each]) => !each.startsWith('time'))) assert.notEqual(link, readlinkSync(`/proc/self/ns/${name}`), name);
      pids.add(found.pid);
    }
    assert.ok(pids.size > 1, 'their process ids differ');
  });

  test('what the warm-up event leaves behind is there in every fork', async () => {
    await deploy('warmed', 'seen = []\ndef handler(event, context):\n  seen.append(event.get("rawPath"))\n  return seen\n', { warmup: { rawPath: '/warm', requestContext: { requestId: 'warm' } } });
    assert.deepEqual(JSON.parse((await flashd.frozen('warmed')).body.toString()), ['/warm', '/']);
  });

  for (const [language, [file, code]] of Object.entries(HOOKS)) {
    test(`${language}: hooks run before the freeze and after each fork`, async () => {
      const name = `hooks-${language}`;
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, file), code);
      await flashd.cli('deploy', join(folder, name));
      for (let round = 0; round < 2; round++) assert.equal((await flashd.frozen(name)).body.toString().replaceAll('"', '').trim(), 'loaded before after');
    });
  }

  test('a hook that fails before the freeze is the reason why there is none', async () => {
    await deploy('unwilling', 'from snapshot_restore_py import register_before_snapshot\ndef no():\n  raise RuntimeError("not me")\nregister_before_snapshot(no)\ndef handler(event, context):\n  return 1\n');
    for (const end = performance.now() + WAIT_MS; !/no function template/.test(flashd.output.split('"unwilling"').at(-1)!); await sleep(50)) {
      assert.ok(performance.now() < end);
      assert.equal((await flashd.http('GET', '/function/unwilling')).status, 200);
    }
    assert.match(flashd.output, /RuntimeError: not me/);
  });

  for (const [what, code, reason] of REFUSED) {
    test(`a function that has ${what} when it is loaded goes on without one, and the log says why`, async () => {
      const name = `refused-${what.replaceAll(' ', '-')}`;
      await deploy(name, `${code}\ndef handler(event, context):\n  return 'alive'\n`);
      const logged = (): string | undefined => flashd.output.split('\n').find((line) => line.includes('no function template') && line.includes(`"${name}"`));
      for (const end = performance.now() + WAIT_MS; logged() === undefined; await sleep(50)) {
        assert.ok(performance.now() < end, flashd.output.slice(-2000));
        assert.equal((await flashd.http('GET', `/function/${name}`)).body.toString(), '"alive"');
      }
      assert.match(logged()!, reason);
      assert.match((JSON.parse(await flashd.cli('list', '--json')) as { name: string; template: string }[]).find((each) => each.name === name)!.template, reason);
      const answer = await flashd.http('GET', `/function/${name}`);
      assert.deepEqual([answer.body.toString(), startOf(answer)], ['"alive"', 'language-template']);
    });
  }

  test('a fork that spreads its memory as it serves its first request does no harm when it is looked at', async () => {
    await deploy('sprawling', [
      'import mmap',
      'kept = []',
      'def handler(event, context):',
      '  for size in [1 << 44] + [1 << 12] * 3000:',
      '    try:',
      '      kept.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | 0x4000))',  // MAP_NORESERVE
      '    except (OSError, OverflowError):',
      '      pass',
      '  return len(kept)',
    ].join('\n'), { standby: 0, keepWarmSeconds: 0 });
    await flashd.http('GET', '/function/sprawling');
    await flashd.frozen('sprawling');
    for (let request = 0; request < 10; request++) {
      const answer = await flashd.http('GET', '/function/sprawling');
      assert.deepEqual([answer.status, startOf(answer)], [200, 'function-template'], answer.body.toString());
      assert.ok(Number(answer.body.toString()) >= 3000);
    }
    assert.doesNotMatch(flashd.output, /learn:/);
  });

  test('killing templates costs no request, and new ones come', async () => {
    await deploy('killed', 'def handler(event, context):\n  return 1\n');
    await flashd.frozen('killed');
    for (let round = 0; round < 3; round++) {
      await flashd.frozen('killed');
      const before = templatesOf(flashd.pid);
      await sleep(100); // a fork looks like its template for a moment
      const templates = templatesOf(flashd.pid).filter((pid) => before.includes(pid));
      assert.ok(templates.length > 0);
      assert.ok(templates.filter(killed).length > 0);
      for (let request = 0; request < 5; request++) {
        const answer = await flashd.http('GET', '/function/killed');
        assert.equal(answer.status, 200, answer.body.toString());
      }
    }
    await flashd.frozen('killed');
  });
});

function templatesOf(supervisor: number): number[] {
  return family(supervisor).map(({ pid }) => pid).filter(isTemplate);
}

/** Python as root of the host: a language template or a function template. */
function isTemplate(pid: number): boolean {
  try {
    return /^Uid:\t0\t/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('bootstrap.py');
  } catch {
    return false;
  }
}
