/** System calls of functions told of, refused, ruled and learnt, behind the packaged binary. Programs and rules themselves are tested one by one in test/native/interception.c. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFixture, type Fixture } from '../conformance/fixtures.ts';
import { Flashd, startOf } from '../conformance/packaged.ts';
import { family } from './footprint.ts';
import { RACES } from './fixtures/interception/races.ts';

/** What comes of an attempt, or the name of the error. */
const PROBE = `
import ctypes, errno, os, socket, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
def attempt(act):
  try: return act()
  except OSError as error: return errno.errorcode.get(error.errno, repr(error))
def read(*path): return open('/' + '/'.join(path)).read(24)
def write(*path):
  with open('/' + '/'.join(path), 'w') as file: file.write('x')
  return oct(os.stat('/' + '/'.join(path)).st_mode & 0o777)
def link(*path):
  if os.path.islink('/tmp/link'): os.unlink('/tmp/link')
  os.symlink('/' + '/'.join(path), '/tmp/link')
  return open('/tmp/link').read(24)
def pipe():
  if not os.path.exists('/tmp/pipe'): os.mkfifo('/tmp/pipe')
  return open('/tmp/pipe').read()
def relative(*path):
  os.chdir('/tmp'); os.makedirs('/tmp/below', exist_ok=True); os.chdir('/tmp/below')
  return open('/'.join(path)).read(24)
def serve(port):
  server = socket.create_server(('127.0.0.1', int(port)))
  threading.Thread(target=lambda: [server.accept() for _ in range(99)], daemon=True).start()
  return 'listens'
def connect(port):
  with socket.socket() as s: s.connect(('127.0.0.1', int(port))); return s.getpeername()[1]
def hurried(port):
  with socket.socket() as s: s.settimeout(1); s.connect(('127.0.0.1', int(port))); return s.getpeername()[1]
def local():
  with socket.socket(socket.AF_UNIX) as s: s.connect('/tmp/none'); return 'connected'
def datagram(port):
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: return s.sendto(b'x', ('127.0.0.1', int(port)))
def message(port):
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: return s.sendmsg([b'x'], [], 0, ('127.0.0.1', int(port)))
def run(*path): return subprocess.run(['/' + '/'.join(path), 'hello'], capture_output=True, text=True).stdout
def parents(count):
  for _ in range(int(count)): os.getppid()
  return 'asked'
def listeners(): return [each for each in os.listdir('/proc/self/fd') if 'seccomp' in os.path.realpath('/proc/self/fd/' + each)]
def knock():
  ctypes.set_errno(0); result = libc.syscall(317, 0x464c4b00, 0, 0); return [result, errno.errorcode.get(ctypes.get_errno())]
def nested():
  class Filter(ctypes.Structure): _fields_ = [('code', ctypes.c_uint16), ('jt', ctypes.c_uint8), ('jf', ctypes.c_uint8), ('k', ctypes.c_uint32)]
  class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_uint16), ('filter', ctypes.POINTER(Filter))]
  allow = (Filter * 1)(Filter(6, 0, 0, 0x7fff0000)); program = Program(1, allow)
  result = libc.syscall(317, 1, 8, ctypes.byref(program)); return errno.errorcode.get(ctypes.get_errno()) if result < 0 else 'listens'
def hidden():
  libc.prctl(4, 0); return attempt(lambda: run('bin', 'echo'))
ACTS = {each.__name__: each for each in (read, write, link, pipe, relative, serve, connect, hurried, local, datagram, message, run, parents, listeners, knock, nested, hidden)}
ACTS['mkdir'] = lambda *path: os.mkdir('/' + '/'.join(path)) or 'made'
ACTS['none'] = lambda: 'nothing'
def handler(event, context):
  act, *arguments = event['rawPath'].strip('/').split('/')
  return {'result': attempt(lambda: ACTS[act](*arguments))}
`;

type Entry = { readonly stream: string; readonly message: string; readonly syscall?: { readonly call: string; readonly verdict: string; readonly errno?: string; readonly pid: number; readonly detail?: string } };

describe('interception', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const fixtures: Fixture[] = [];
  let flashd: Flashd;
  before(async () => {
    flashd = await Flashd.start();
  });
  after(async () => {
    await flashd?.stop();
    for (const fixture of fixtures) fixture.remove();
    rmSync(folder, { recursive: true });
  });

  const deploy = async (name: string, handler: [file: string, text: string], interception: object | undefined, more: object = { standby: 0, functionTemplate: 0 }): Promise<void> => {
    const directory = join(folder, name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, handler[0]), handler[1]);
    writeFileSync(join(directory, 'function.json'), JSON.stringify({ ...more, interception }));
    await flashd.cli('deploy', directory);
  };
  const probe = (name: string, interception: object | undefined, more?: object): Promise<void> => deploy(name, ['handler.py', PROBE], interception, more);
  const ask = async (name: string, ...act: (string | number)[]): Promise<unknown> => {
    const answer = await flashd.http('GET', `/function/${name}/${act.join('/')}`);
    assert.equal(answer.status, 200, answer.body.toString());
    return (JSON.parse(answer.body.toString()) as { result: unknown }).result;
  };
  const log = async (name: string): Promise<Entry[]> => {
    await sleep(100);
    return (await flashd.cli('logs', name, '--json')).trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Entry);
  };
  const told = async (name: string): Promise<string[]> => (await log(name)).filter(({ stream }) => stream === 'audit').map(({ message }) => message);
  const counted = async (name: string, call: string, verdict: string): Promise<number> => {
    const text = (await flashd.http('GET', '/metrics')).body.toString();
    return Number(new RegExp(`^flashd_syscalls_total\\{function="${name}",call="${call}",verdict="${verdict}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  };
  const monitors = (): number[] => family(flashd.pid).filter(({ name }) => name === 'flashd-monitor').map(({ pid }) => pid);

  test('without a policy there is no monitor', async () => {
    await probe('plain', undefined);
    assert.equal(await ask('plain', 'run', 'bin', 'echo'), 'hello\n');
    assert.deepEqual([monitors(), await told('plain')], [[], []]);
  });

  test('what is audited is carried out, told with its arguments, and counted', async () => {
    await probe('audit', { audit: ['exec', 'mkdir'] });
    assert.equal(await ask('audit', 'run', 'bin', 'echo'), 'hello\n');
    assert.equal(await ask('audit', 'mkdir', 'tmp', 'made'), 'made');
    const entries = (await log('audit')).flatMap(({ syscall }) => syscall ?? []);
    assert.deepEqual(entries.map(({ call, verdict, detail }) => [call, verdict, detail]), [['execve', 'audited', '/bin/echo'], ['mkdir', 'audited', '/tmp/made']]);
    assert.ok(entries.every(({ pid }) => pid > 1 && pid < 10_000_000));
    assert.equal(await counted('audit', 'mkdir', 'audited'), 1);
    assert.equal(monitors().length, 1);
  });

  test('who forbids to be looked at is looked at all the same', async () => {
    await probe('hidden', { audit: ['exec'] });
    await ask('hidden', 'hidden');
    assert.deepEqual(await told('hidden'), ['execve /bin/echo audited']);
  });

  test('what is denied fails with its errno, and is told unless that is not wanted', async () => {
    await probe('deny', { deny: { mkdir: 'EROFS', exec: 'EACCES' } });
    await probe('quiet', { deny: { mkdir: 'EROFS', exec: 'EACCES' }, log: false });
    for (const name of ['deny', 'quiet']) {
      assert.equal(await ask(name, 'mkdir', 'tmp', 'x'), 'EROFS');
      assert.equal(await ask(name, 'run', 'bin', 'echo'), 'EACCES');
    }
    assert.deepEqual(await told('deny'), ['mkdir /tmp/x denied (EROFS)', 'execve /bin/echo denied (EACCES)']);
    assert.deepEqual(await told('quiet'), []);
  });

  test('files are opened below the listed paths, wherever links and dots lead', async () => {
    await probe('files', { allow: { read: ['/function', '/usr/lib', '/proc'], write: ['/tmp'] } });
    assert.match(String(await ask('files', 'read', 'function', 'handler.py')), /^\nimport/);
    assert.equal(await ask('files', 'write', 'tmp', 'a'), '0o644');
    assert.equal(await ask('files', 'read', 'tmp', 'a'), 'x');
    assert.equal(await ask('files', 'link', 'function', 'handler.py'), '\nimport ctypes, errno, o');
    assert.equal(await ask('files', 'relative', '..', 'a'), 'x');
    assert.match(String(await ask('files', 'read', 'proc', 'self', 'stat')), /^\d+ \(/);
    for (const refused of [['read', 'etc', 'passwd'], ['link', 'etc', 'passwd'], ['relative', '..', '..', 'etc', 'passwd'], ['write', 'home', 'function', 'x'], ['write', 'function', 'x'], ['read', 'proc', '1', 'environ']]) {
      assert.equal(await ask('files', ...refused), 'EACCES', refused.join(' '));
    }
    assert.equal(await ask('files', 'read', 'tmp', 'none'), 'ENOENT');
    assert.equal(await ask('files', 'pipe'), 'ENXIO');
    assert.equal(await ask('files', 'link', 'proc', 'self', 'fd', '0'), 'ENOENT');
    assert.ok((await told('files')).includes('openat /etc/passwd denied (EACCES)'));
  });

  test('connections go to the listed addresses, with sockets that block and that do not', async () => {
    await probe('connect', { audit: ['connect'], allow: { connect: ['127.0.0.1:5555', '127.0.0.1:5557'] } }, { standby: 0, functionTemplate: 0, maxInstances: 1 });
    for (const port of [5555, 5556]) await ask('connect', 'serve', port);
    for (const act of ['connect', 'hurried']) {
      assert.equal(await ask('connect', act, 5555), 5555);
      assert.equal(await ask('connect', act, 5556), 'EACCES');
      assert.equal(await ask('connect', act, 5557), 'ECONNREFUSED');
    }
    for (const other of [['local'], ['datagram', 5555], ['message', 5555]]) assert.equal(await ask('connect', ...other), 'EACCES', other.join(' '));
    const messages = await told('connect');
    assert.ok(messages.includes('connect 127.0.0.1:5555 allowed') && messages.includes('connect 127.0.0.1:5556 denied (EACCES)') && messages.includes('sendto 127.0.0.1:5555 denied (EACCES)'));
  });

  test('programs are executed that are listed', async () => {
    await probe('exec', { allow: { exec: ['/usr/bin/echo', '/bin/echo'] } });
    assert.equal(await ask('exec', 'run', 'bin', 'echo'), 'hello\n');
    assert.equal(await ask('exec', 'run', 'usr', 'bin', 'env'), 'EACCES');
  });

  test('a path or an address that another thread changes is never used unjudged', async () => {
    await deploy('races', ['handler.c', RACES], { allow: { connect: ['127.0.0.1:5555'], read: ['/function', '/usr/lib', '/proc'], write: ['/tmp'] }, log: false });
    const answer = await flashd.http('GET', '/function/races');
    const [opened, astray, connected, elsewhere] = answer.body.toString().trim().split(' ').map(Number);
    assert.ok(opened! > 0 && connected! > 0, answer.body.toString());
    assert.deepEqual([astray, elsewhere], [0, 0]);
  });

  test('the listener is not in the instance, nor can it make one, nor speak to the monitor', async () => {
    for (const [name, audit] of [['listener-sent', ['mkdir']], ['listener-taken', ['mkdir', 'sendmsg']]] as const) {
      await probe(name, { audit });
      assert.deepEqual(await ask(name, 'listeners'), [], name);
      assert.deepEqual(await ask(name, 'knock'), [-1, 'ENOSYS'], name);
      assert.equal(await ask(name, 'nested'), 'ENOSYS', name);
    }
  });

  test('a flood is answered, counted, told in part, and nobody else waits for it', async () => {
    await probe('flood', { audit: ['getppid'] });
    await probe('beside', { audit: ['getppid'] });
    await ask('beside', 'parents', 1);
    const flood = ask('flood', 'parents', 40_000);
    await sleep(200);
    const began = performance.now();
    await ask('beside', 'parents', 1);
    assert.ok(performance.now() - began < 1000);
    assert.equal(await flood, 'asked');
    await ask('flood', 'parents', 1);
    await sleep(100);
    await ask('flood', 'parents', 1);
    assert.ok((await told('flood')).length < 1000);
    assert.ok((await counted('flood', 'getppid', 'audited')) + (await counted('flood', 'untold', 'audited')) > 39_000);
  });

  test('when the monitor is killed, what it watched ends, and the next instance has a new one', async () => {
    await probe('killed', { audit: ['getppid'] });
    await ask('killed', 'parents', 1);
    const [monitor] = monitors();
    const pending = flashd.http('GET', '/function/killed/parents/200000');
    await sleep(100);
    process.kill(monitor!, 'SIGKILL');
    assert.equal((await pending).status, 502);
    assert.equal(await ask('killed', 'parents', 1), 'asked');
    assert.ok(monitors().length === 1 && monitors()[0] !== monitor);
    assert.match(flashd.output, /the monitor of system calls ended/);
  });

  test('it holds for standbys and for forks of function templates, too', async () => {
    await probe('frozen', { audit: ['mkdir'], deny: ['exec'] }, { standby: 1, keepWarmSeconds: 0 });
    const starts = new Set<string>();
    for (const end = performance.now() + 20_000; starts.size < 2 && performance.now() < end; await sleep(50)) {
      const answers = await Promise.all([1, 2, 3].map(() => flashd.http('GET', '/function/frozen/run/bin/echo')));
      for (const answer of answers) {
        assert.equal(answer.body.toString(), '{"result": "EPERM"}');
        starts.add(startOf(answer)!);
      }
      starts.delete('language-template');
      starts.delete('warm');
    }
    assert.deepEqual([...starts].toSorted(), ['function-template', 'standby']);
    assert.ok((await counted('frozen', 'execve', 'denied')) > 0);
  });

  for (const language of ['python', 'node', 'java', 'native']) {
    test(`${language}: what is learnt can be enforced, and what was not seen is refused by name`, async () => {
      const fixture = prepareFixture(language, 'echo');
      fixtures.push(fixture);
      const manifest = join(fixture.directory, 'function.json');
      const name = fixture.name;
      await flashd.cli('deploy', fixture.directory);
      assert.equal((await flashd.http('GET', `/function/${name}`)).status, 200);
      const profile = flashd.cli('profile', name, '--requests', '60', '--json', '--write', manifest);
      let done = false;
      void profile.finally(() => (done = true)).catch(() => {});
      const pair = async (): Promise<void> => {
        for (const answer of await Promise.all([1, 2].map(() => flashd.http('GET', `/function/${name}`)))) assert.equal(answer.status, 200, answer.body.toString());
      };
      for (; !done; await sleep(20)) await pair();
      const reply = JSON.parse(await profile) as { calls: string[]; allowed: number; base: number; requests: number; interception: { enforce: string[] } };
      assert.ok(reply.requests >= 60 && reply.allowed < reply.base / 2 && reply.calls.includes('read') && reply.interception.enforce[0] === 'self', JSON.stringify(reply));
      assert.deepEqual((JSON.parse(readFileSync(manifest, 'utf8')) as { interception: object }).interception, reply.interception);
      await flashd.cli('deploy', fixture.directory);
      for (let round = 0; round < 20; round++) await pair();
      assert.deepEqual(await told(name), []);
    });
  }

  test('a violation of what is enforced is told, counted, and harms nothing else', async () => {
    await probe('enforced', undefined, { standby: 0, functionTemplate: 0 });
    const profile = flashd.cli('profile', 'enforced', '--requests', '5', '--write', join(folder, 'enforced/function.json'));
    let done = false;
    void profile.finally(() => (done = true)).catch(() => {});
    for (; !done; await sleep(20)) assert.equal(await ask('enforced', 'none'), 'nothing');
    await profile;
    await flashd.cli('deploy', join(folder, 'enforced'));
    assert.equal(await ask('enforced', 'none'), 'nothing');
    assert.equal(await ask('enforced', 'mkdir', 'tmp', 'x'), 'EPERM');
    assert.deepEqual(await told('enforced'), ['mkdir /tmp/x denied (EPERM)']);
    assert.equal(await counted('enforced', 'mkdir', 'denied'), 1);
  });

  test('rules hold while a function is profiled', async () => {
    await probe('ruled', { allow: { read: ['/function', '/usr/lib', '/proc'] } }, { standby: 0, functionTemplate: 0 });
    const profile = flashd.cli('profile', 'ruled', '--requests', '5', '--json');
    let done = false;
    void profile.finally(() => (done = true)).catch(() => {});
    for (; !done; await sleep(20)) assert.equal(await ask('ruled', 'read', 'etc', 'passwd'), 'EACCES');
    assert.ok((JSON.parse(await profile) as { calls: string[] }).calls.includes('openat'));
  });

  test('what a manifest cannot mean is refused when it is deployed', async () => {
    for (const [interception, message] of [
      [{ audit: ['mkdri'] }, /did you mean "mkdir"/],
      [{ deny: ['munmap'] }, /cannot be intercepted/],
      [{ deny: { mkdir: 'ENONSENSE' } }, /not the name of an errno/],
      [{ allow: { read: ['/tmp/../etc'] } }, /not an absolute path/],
      [{ allow: { connect: ['example.org'] } }, /host name/],
      [{ enforce: [] }, /interception/],
    ] as const) {
      await assert.rejects(probe('wrong', interception), message);
    }
    assert.deepEqual(readdirSync(folder).includes('wrong'), true);
  });
});
