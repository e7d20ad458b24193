/** One function's neighbours take whatever they can get, all at once. How fast it answers meanwhile is the benchmark's affair: `npm run bench -- --only noisy`. */
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { NEIGHBOURS, neighbourFunctions, Noise, type Neighbour } from './neighbours.ts';

const VICTIM = join(import.meta.dirname, '../../functions/hello-python');
const MEMORY_MB = 64;
/** Until each of them has met its limit once. */
const NOISE_MS = 4000;
const LOG_LINES_PER_SECOND = 100;

const BUSY_CPU = 0.4;
/** Two processes that compute for a second. */
const BUSY = `
import os, time
def spin(end):
  while time.monotonic() < end: pass
def handler(event, context):
  begin = time.monotonic(); child = os.fork()
  spin(begin + 1)
  if child == 0: os._exit(0)
  os.waitpid(child, 0); times = os.times()
  return {'used': times.user + times.system + times.children_user + times.children_system, 'asked': time.monotonic() - begin}
`;

const BOMB = join(import.meta.dirname, 'fixtures/bomb');
const BOMB_SECONDS = 2;
/** Of a processor: what it has at once is a tenth of a second's until somebody looks. */
const HELD_CPU = 0.5;
const FREE_CPU = 0.3;
const FREE_WITHIN_MS = 20_000;
/** Forks as long as it may, and gives up. */
const FEW = `
import os, time
def handler(event, context):
  try:
    while True:
      if os.fork() == 0: time.sleep(60)
  except OSError:
    os._exit(7)
`;
const FEW_PIDS = 6;

/** Sends to itself what it never reads, in as many connections as it may have. */
const UNREAD = `
import socket
def handler(event, context):
  server, kept, sent = socket.create_server(('127.0.0.1', 4242), backlog=256), [], 0
  server.settimeout(1)
  try:
    while True:
      client = socket.create_connection(('127.0.0.1', 4242), timeout=1); kept.append(client); kept.append(server.accept()[0]); client.setblocking(False)
      try:
        while True: sent += client.send(bytes(1 << 16))
      except BlockingIOError: pass
  except OSError: pass
  return {'sent': sent, 'connections': len(kept) // 2}
`;
/** More sockets than it may have, of which next to none is a descriptor of its own: connections that wait to be accepted, and answers of the kernel's that nobody reads in processes of their own. */
const DESCRIPTORS = 256;
const SOCKETS = `
import os, socket, struct, time
def wait(event):
  listeners = [socket.create_server(('127.0.0.1', 5000 + port), backlog=128) for port in range(100)]
  for server in listeners:
    for _ in range(100):
      client = socket.socket(); client.setblocking(False); client.connect_ex(server.getsockname()); client.setblocking(True)
      client.send(bytes(event)); client.close()
def unread(event):
  for _ in range(8):
    if os.fork() == 0:
      kept = []
      while len(kept) < 200:
        kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
        for _ in range(event): kept[-1].send(struct.pack('=IHHIIB3x', 20, 18, 0x301, 1, 0, 0))
      time.sleep(60)
def few(event):
  kept = [socket.socketpair() for _ in range(100)]
def handler(event, context):
  query = event['queryStringParameters']
  {'wait': wait, 'unread': unread, 'few': few}[query['what']](int(query['each']))
  time.sleep(float(query['seconds']))
  return 'not ended'
`;
const MIB = 2 ** 20;
/** A connection takes a few pages whatever the limit. */
const LEAST_BYTES = 64 * 1024;

type Told = { code: string; details?: { errorMessage?: string; memoryPeakBytes?: number } };
/** What the neighbours' callers are told. A fork bomb and a log flood go on at their limits until their time is over, or what the kernel keeps of ended processes for a while is too much memory. */
const MEETS: Readonly<Record<Neighbour, (told: Told) => void>> = {
  loop: ({ code }) => assert.equal(code, 'function_timeout'),
  forks: ({ code }) => assert.match(code, /^function_(timeout|out_of_memory)$/),
  log: ({ code }) => assert.equal(code, 'function_timeout'),
  memory: ({ code, details }) => {
    assert.equal(code, 'function_out_of_memory');
    assert.ok(details!.memoryPeakBytes! > MEMORY_MB * 0.9 * MIB && details!.memoryPeakBytes! <= MEMORY_MB * MIB, String(details!.memoryPeakBytes));
  },
  disk: (told) => refused(told, 'No space left on device'),
  files: (told) => refused(told, 'No space left on device'),
  sockets: (told) => refused(told, 'Too many open files'),
};

function refused({ code, details }: Told, words: string): void {
  assert.equal(code, 'function_error');
  assert.equal(details!.errorMessage, words);
}

describe('noisy neighbours', () => {
  let flashd: Flashd;
  let below: string;
  let noise: Noise;
  const wrong: string[] = [];
  let asked = 0;

  before(async () => {
    below = mkdtempSync(join(tmpdir(), 'flashd-neighbours-'));
    chmodSync(below, 0o755);
    flashd = await Flashd.start({ FLASHD_LOG_LINES_PER_SECOND: String(LOG_LINES_PER_SECOND) });
    cpSync(VICTIM, join(below, 'victim'), { recursive: true });
    await flashd.cli('deploy', join(below, 'victim'), ...neighbourFunctions(below, { memoryMb: MEMORY_MB, tmpMb: 16, timeoutMs: 2000, pids: 8 }));
    mkdirSync(join(below, 'busy'));
    writeFileSync(join(below, 'busy/handler.py'), BUSY);
    writeFileSync(join(below, 'busy/function.json'), JSON.stringify({ cpu: BUSY_CPU }));
    mkdirSync(join(below, 'few'));
    writeFileSync(join(below, 'few/handler.py'), FEW);
    writeFileSync(join(below, 'few/function.json'), JSON.stringify({ pids: FEW_PIDS }));
    cpSync(BOMB, join(below, 'bomb'), { recursive: true });
    mkdirSync(join(below, 'unread'));
    writeFileSync(join(below, 'unread/handler.py'), UNREAD);
    writeFileSync(join(below, 'unread/function.json'), JSON.stringify({ memoryMb: MEMORY_MB, timeoutMs: 30_000 }));
    mkdirSync(join(below, 'sockets'));
    writeFileSync(join(below, 'sockets/handler.py'), SOCKETS);
    writeFileSync(join(below, 'sockets/function.json'), JSON.stringify({ descriptors: DESCRIPTORS, timeoutMs: 30_000 }));
    await flashd.cli('deploy', join(below, 'sockets'), join(below, 'busy'), join(below, 'few'), join(below, 'bomb'), join(below, 'unread'));
    noise = new Noise(flashd);
    for (const end = performance.now() + NOISE_MS; performance.now() < end; await sleep(10)) {
      const { status, body } = await flashd.http('GET', `/function/victim?name=${++asked}`);
      if (status !== 200 || !body.includes(`Hello, ${asked}!`)) wrong.push(`${asked}: ${status} ${body.toString()}`);
    }
    await noise.stop();
  });
  after(async () => {
    await flashd?.stop();
    rmSync(below, { recursive: true, force: true });
  });

  test('one that behaves goes on answering', () => {
    assert.deepEqual(wrong, []);
    assert.ok(asked >= 10, `${asked} answers in ${NOISE_MS} ms`);
  });

  for (const kind of NEIGHBOURS) {
    test(`${kind}: meets its limit, which its caller is told`, () => {
      const answers = noise.answers.get(kind)!;
      assert.ok(answers.length > 0);
      for (const { body } of answers) MEETS[kind]((JSON.parse(body.toString()) as { error: Told }).error);
    });
  }

  const met = async (name: string, limit: string): Promise<number> =>
    Number(new RegExp(`^flashd_limits_met_total\\{function="${name}",limit="${limit}"\\} (\\d+)$`, 'm').exec((await flashd.http('GET', '/metrics')).body.toString())![1]);
  const limitsToldBy = async (name: string): Promise<{ message: string; invocation?: string }[]> => {
    const entries = (await flashd.cli('logs', name, '--json', '-n', '10000')).trim().split('\n').filter(Boolean).map((line) => JSON.parse(line) as { stream: string; message: string });
    return entries.filter(({ stream }) => stream === 'limit');
  };

  test('who meets a limit is counted and told in its log, though its time was over before it ended', async () => {
    for (const [name, limit, words] of [['neighbour-forks', 'pids', 'out of processes: '], ['neighbour-memory', 'memory', 'out of memory: ']] as const) {
      const told = (await limitsToldBy(name)).filter(({ message }) => message.startsWith(words));
      assert.ok(told.length > 0 && told.every(({ invocation }) => invocation !== undefined), name);
      assert.equal(await met(name, limit), told.length);
    }
    for (const limit of ['pids', 'memory']) assert.equal(await met('victim', limit), 0);
  });

  test('who ends because it was refused a process has an error of its own', async () => {
    const { status, body } = await flashd.http('GET', '/function/few');
    const { error } = JSON.parse(body.toString()) as { error: Told & { details: { refusedForks: number; exitStatus: number } } };
    assert.deepEqual([status, error.code, error.details], [502, 'function_out_of_processes', { exitStatus: 7, refusedForks: 1 }]);
    assert.deepEqual((await limitsToldBy('few')).map(({ message }) => message), [`out of processes: 1 refused beyond ${FEW_PIDS}`]);
    assert.equal(await met('few', 'pids'), 1);
  });

  test('processor time ends at its limit, however many processors there are', async () => {
    const { used, asked } = JSON.parse((await flashd.http('GET', '/function/busy')).body.toString()) as { used: number; asked: number };
    // A tenth of a second is the scheduler's period: what the last one had left comes on top.
    assert.ok(used <= (asked + 0.1) * BUSY_CPU * 1.2, `${used} s of ${asked} s`);
  });

  test('what its connections hold ends at its limit', async () => {
    const { status, body } = await flashd.http('GET', '/function/unread');
    if (status !== 200) return assert.equal((JSON.parse(body.toString()) as { error: Told }).error.code, 'function_out_of_memory', body.toString());
    const { sent, connections } = JSON.parse(body.toString()) as { sent: number; connections: number };
    assert.ok(connections > 16 && sent <= MEMORY_MB * MIB / 2 + connections * LEAST_BYTES, `${sent / MIB} MiB in ${connections} connections`);
  });

  for (const what of ['wait', 'unread']) {
    test(`sockets that are no descriptors of one process end at a limit (${what})`, async () => {
      const before = await met('sockets', 'sockets');
      const { status, body } = await flashd.http('GET', `/function/sockets?what=${what}&each=1&seconds=20`);
      const { code, details } = (JSON.parse(body.toString()) as { error: Told & { details: { sockets: number } } }).error;
      assert.deepEqual([status, code], [502, 'function_out_of_sockets'], body.toString());
      assert.ok(details.sockets > DESCRIPTORS, String(details.sockets));
      assert.equal(await met('sockets', 'sockets'), before + 1);
      assert.match((await limitsToldBy('sockets')).at(-1)!.message, /^out of sockets: ended with \d+, beyond 256 and one full backlog$/);
    });
  }

  test('who has as many sockets as it may is not ended', async () => {
    assert.equal((await flashd.http('GET', '/function/sockets?what=few&each=0&seconds=3')).body.toString(), '"not ended"');
  });

  test('who forks without end at its limit is held back, and no longer than that', async () => {
    const share = async (query: string): Promise<number> => {
      const { used, passed } = JSON.parse((await flashd.http('GET', `/function/bomb?${query}`)).body.toString()) as { used: number; passed: number };
      return used / passed;
    };
    const held = await share(`bomb=${BOMB_SECONDS}`);
    assert.ok(held < HELD_CPU, `${held} of a processor`);
    let free = 0;
    for (const end = performance.now() + FREE_WITHIN_MS; free < FREE_CPU && performance.now() < end;) free = await share('spin=0.5');
    assert.ok(free >= FREE_CPU, `${free} of a processor afterwards`);
  });

  test('what a flood of lines lost is counted in its log', async () => {
    const entries = (await flashd.cli('logs', 'neighbour-log', '--json', '-n', '10000')).trim().split('\n').map((line) => JSON.parse(line) as { dropped?: { lines: number } });
    const dropped = entries.reduce((sum, entry) => sum + (entry.dropped?.lines ?? 0), 0);
    assert.ok(dropped > entries.length, `${dropped} lines dropped, ${entries.length} kept`);
  });

  test('when they are silent, all is as it was', async () => {
    assert.equal((await flashd.http('GET', '/function/victim')).status, 200);
    assert.equal((await flashd.http('GET', '/healthz')).status, 200);
  });
});
