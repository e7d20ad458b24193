/** Host names in egress lists, with real packets and a name server that lies, behind the packaged binary. Packets of DNS and what the kernel opens are tested one by one in test/native/names.c. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { family, isSandboxd, member } from './footprint.ts';
import { HOST_ADDRESSES, Lab, METADATA, PRIVATE, PUBLIC } from './lab.ts';

const PROBE = `
import errno, socket, struct, threading, time
def attempt(act):
  try: return act()
  except socket.timeout: return 'timeout'
  except socket.gaierror: return 'no such name'
  except OSError as error: return errno.errorcode.get(error.errno, repr(error))
def tcp(host, port):
  with socket.create_connection((host, int(port)), 2) as connection: return connection.recv(100).decode()
def query(name, kind=1, more=b''):
  return b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + b''.join(bytes([len(label)]) + label.encode() for label in name.split('.')) + b'\\0' + struct.pack('>HH', int(kind), 1) + more
def ask(packet, wait=2):
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(wait); s.connect(('169.254.53.53', 53)); s.send(packet)
    reply = s.recv(600)
    return [reply[3] & 15, struct.unpack('>H', reply[6:8])[0], struct.unpack('>I', reply[-10:-6])[0] if reply[7] else 0]
def reply_of(reply): return [reply[3] & 15, struct.unpack('>H', reply[6:8])[0]]
def stream():
  s = socket.create_connection(('169.254.53.53', 53), 2); s.settimeout(8); return s
def sent(packet): return struct.pack('>H', len(packet)) + packet
def heard(s):
  try: size = s.recv(2, socket.MSG_WAITALL)
  except ConnectionResetError: return 'closed'
  return reply_of(s.recv(struct.unpack('>H', size)[0], socket.MSG_WAITALL)) if len(size) == 2 else 'closed'
def converse(*packets, drip=False):
  said = []
  with stream() as s:
    for packet in packets:
      if 'closed' in said: break
      for part in ([packet[n:n + 1] for n in range(len(packet))] if drip else [packet]): s.sendall(part)
      said.append(heard(s))
  return said
def questions(count): return [sent(query(['api.example.org', 'secret.exfiltrated.net', 'www.example.org'][n % 3])) for n in range(int(count))]
def ahead(count):
  with stream() as s:
    s.sendall(b''.join(questions(count)))
    return [heard(s) for _ in range(int(count))]
def after(text=''):
  with stream() as s:
    if text: s.sendall(bytes.fromhex(text))
    begin = time.monotonic()
    try: end = 'closed' if s.recv(1) == b'' else 'said'
    except ConnectionResetError: end = 'closed'
    return [end, round(time.monotonic() - begin)]
def crowd(count):
  each = [stream() for _ in range(int(count))]
  time.sleep(0.3)
  said = []
  for s in each:
    try: s.sendall(sent(query('api.example.org'))); said.append(heard(s) != 'closed')
    except OSError: said.append(False)
  return said.count(True)
def deaf():
  with stream() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048); s.settimeout(1)
    try:
      for packet in questions(4000): s.sendall(packet)
    except OSError as error: return 'cut off'
def flood(name, seconds):
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('169.254.53.53', 53)); packet, end, sent = query(name), time.monotonic() + float(seconds), 0
  while time.monotonic() < end:
    try: s.send(packet); sent += 1
    except OSError: pass
  return sent
def many(count): return [ask(query(f'93-{n // 250}-{n % 250}-1.numbers.example'))[0] for n in range(int(count))]
def own():
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.connect(('169.254.53.53', 53)); return s.getsockname()[0]
def listen():
  server = socket.create_server(('0.0.0.0', 8443))
  threading.Thread(target=lambda: [server.accept()[0].sendall(b'sandbox') for _ in range(9)], daemon=True).start()
  return own()
ACTS = {'tcp': tcp, 'name': socket.gethostbyname, 'ask': lambda name, kind: ask(query(name, kind)), 'patient': lambda name: ask(query(name), 8), 'behind': lambda name: ask(query(name, 1, b'x')), 'raw': lambda text: ask(bytes.fromhex(text), 0.5),
        'flood': flood, 'stream': lambda name, kind: converse(sent(query(name, kind)))[0], 'drip': lambda name: converse(sent(query(name)), drip=True)[0], 'one': lambda count: converse(*questions(count)), 'ahead': ahead, 'crowd': crowd, 'deaf': deaf, 'after': after,
         'many': many, 'same': lambda count: [ask(query('api.example.org'))[0] for _ in range(int(count))], 'own': own, 'listen': listen}
def handler(event, context):
  act, *arguments = event['rawPath'].strip('/').split('/')
  return attempt(lambda: ACTS[act](*arguments))
`;

const LIST = ['api.example.org:443', 'www.example.org:80', '*.wild.example:443', 'told-nothing.example:443', '*.numbers.example:443', '*.numbers.example:8443', '*.hostile.example:443'];
const NETWORKS: Record<string, unknown> = {
  addresses: { egress: [`${PUBLIC}:443`] },
  named: { egress: LIST },
  twin: { egress: LIST },
  both: { egress: [...LIST, `${PRIVATE}:443`] },
  restored: { egress: LIST },
};
const dashes = (address: string): string => address.replaceAll('.', '-');

describe('host names in egress lists', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let lab: Lab;
  let flashd: Flashd;
  const deploy = async (name: string): Promise<void> => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'handler.py'), PROBE);
    writeFileSync(join(folder, name, 'function.json'), JSON.stringify({ network: NETWORKS[name], timeoutMs: 10_000, ...(name === 'restored' ? { requestIsolation: 'restore' } : { maxInstances: 1 }) }));
    await flashd.cli('deploy', join(folder, name));
  };
  before(async () => {
    lab = await Lab.build();
    flashd = await Flashd.startWithin(lab.within(lab.host), { FLASHD_EGRESS_DNS: PUBLIC });
    await deploy('addresses');
  });
  after(async () => {
    await flashd?.stop();
    await lab?.dispose();
    rmSync(folder, { recursive: true });
  });
  const ask = async (name: string, ...path: (string | number)[]): Promise<unknown> => {
    const answer = await flashd.http('GET', `/function/${name}/${path.join('/')}`);
    assert.equal(answer.status, 200, `${path.join('/')}: ${answer.body.toString()}`);
    return JSON.parse(answer.body.toString());
  };
  const asked = (): string => lab.onHost('/usr/bin/python3', '-c', `import socket; s = socket.create_connection(('${PUBLIC}', 5353)); print(b''.join(iter(lambda: s.recv(65536), b'')).decode(), end='')`);
  const forwarders = (): number[] => family(flashd.pid).filter(({ name }) => name === 'flashd-names').map(({ pid }) => pid);
  const opened = (): number => [...lab.onHost('nft', 'list', 'ruleset').matchAll(/expires/g)].length;

  test('without one there is no forwarder, and names are asked of the name server itself', async () => {
    assert.equal(await ask('addresses', 'name', 'example.org'), PUBLIC);
    assert.deepEqual(forwarders(), []);
    for (const name of ['named', 'twin', 'both', 'restored']) await deploy(name);
  });

  test('a listed name is resolved, and reached by its port alone', async () => {
    assert.equal(await ask('named', 'tcp', PUBLIC, 443), 'ECONNREFUSED');
    assert.equal(await ask('named', 'name', 'API.example.org'), PUBLIC);
    assert.equal(await ask('named', 'tcp', 'api.example.org', 443), 'internet');
    assert.equal(await ask('named', 'tcp', PUBLIC, 80), 'ECONNREFUSED');
    assert.equal(await ask('named', 'tcp', 'www.example.org', 80), 'internet');
    assert.equal(await ask('named', 'tcp', 'www.example.org', 5432), 'ECONNREFUSED');
    assert.equal(forwarders().length, 1);
  });

  test('what is open for one sandbox is not for another with the same list', async () => {
    assert.equal(await ask('named', 'tcp', 'api.example.org', 443), 'internet');
    assert.equal(await ask('twin', 'tcp', PUBLIC, 443), 'ECONNREFUSED');
    assert.equal(await ask('twin', 'tcp', 'api.example.org', 443), 'internet');
  });

  test('a name that is not listed is refused, and the name server does not hear of it', async () => {
    for (const name of ['secret.exfiltrated.net', 'example.org', 'xapi.example.org', 'a.api.example.org', 'localhost.localdomain']) {
      assert.equal(await ask('named', 'name', name), 'no such name', name);
      assert.deepEqual(await ask('named', 'ask', name, 1), [5, 0, 0], name);
    }
    assert.doesNotMatch(asked(), /exfiltrated|xapi|localdomain/);
  });

  test('a wildcard is what is below it, at any depth, and not itself', async () => {
    assert.equal(await ask('named', 'tcp', 'a.wild.example', 443), 'internet');
    assert.equal(await ask('named', 'tcp', 'a.b.c.wild.example', 443), 'internet');
    for (const name of ['wild.example', 'awild.example', 'wild.example.net']) assert.equal(await ask('named', 'name', name), 'no such name', name);
  });

  test('a name for a private address, the host, a neighbour or the metadata service opens nothing', async () => {
    const neighbour = (await ask('twin', 'listen')) as string;
    for (const address of [PRIVATE, METADATA, ...HOST_ADDRESSES, neighbour, '127.0.0.1', '169.254.53.53', '0.0.0.0', '100.64.0.1']) {
      const name = `${dashes(address)}.numbers.example`;
      assert.equal(await ask('named', 'name', name), address);
      for (const port of [443, 8443]) assert.match(String(await ask('named', 'tcp', name, port)), /ECONNREFUSED|ENETUNREACH|EHOSTUNREACH/, address);
    }
    assert.equal(await ask('both', 'tcp', `${dashes(PRIVATE)}.numbers.example`, 443), 'internet');          // which its list names
    assert.equal(await ask('both', 'tcp', `${dashes(PRIVATE)}.numbers.example`, 80), 'ECONNREFUSED');
  });

  test('what a name server says that is no answer is none', async () => {
    for (const what of ['garbage', 'loop', 'nothing']) assert.deepEqual(await ask('named', 'patient', `told-${what}.hostile.example`), [2, 0, 0], what);
    for (const what of ['stranger', 'none']) assert.equal(await ask('named', 'name', `told-${what}.hostile.example`), 'no such name', what);
    assert.equal(await ask('named', 'tcp', 'told-alias.hostile.example', 443), 'internet');
    assert.equal(await ask('named', 'tcp', 'told-mixed.hostile.example', 443), 'internet');
    assert.equal(await ask('named', 'tcp', PRIVATE, 443), 'ECONNREFUSED');
  });

  test('only addresses are asked for, and only by questions', async () => {
    for (const kind of [28, 16, 255, 65]) assert.deepEqual(await ask('named', 'ask', 'api.example.org', kind), [0, 0, 0]);
    assert.deepEqual(await ask('named', 'ask', 'api.example.org', 1), [0, 1, 5]);
    assert.deepEqual(await ask('named', 'behind', 'api.example.org'), [1, 0, 0]);
    assert.equal(await ask('named', 'raw', '00'.repeat(11)), 'timeout');
    assert.equal(await ask('named', 'raw', `123481000001${'00'.repeat(6)}00`), 'timeout');
    assert.deepEqual(await ask('named', 'raw', '123401000001000000000000c00c00010001'), [1, 0, 0]);
    assert.ok(!asked().split(' ').some((each) => /example\.org:(?!1$)/.test(each)));
  });

  test('questions over TCP are questions: what is listed is answered and open, all else is refused', async () => {
    assert.equal(await ask('twin', 'tcp', '93.1.1.1', 443), 'ECONNREFUSED');
    assert.deepEqual(await ask('twin', 'stream', 'api.example.org', 1), [0, 1]);
    assert.equal(await ask('twin', 'tcp', PUBLIC, 443), 'internet');
    assert.deepEqual(await ask('named', 'drip', 'www.example.org'), [0, 1]);
    assert.deepEqual(await ask('named', 'stream', 'secret.exfiltrated.net', 1), [5, 0]);
    assert.deepEqual(await ask('named', 'stream', 'api.example.org', 28), [0, 0]);
    assert.doesNotMatch(asked(), /exfiltrated|example\.org:\d+\/tcp/); // what goes on is a question of its own, by a datagram
    for (const way of ['one', 'ahead']) assert.deepEqual(await ask('named', way, 6), [[0, 1], [5, 0], [0, 1], [0, 1], [5, 0], [0, 1]], way);
    assert.deepEqual(await ask('addresses', 'stream', 'api.example.org', 1), [0, 1]); // by the name server itself
  });

  test('an answer that is cut short is asked for again over TCP, and what comes is judged like any other', async () => {
    for (const [what, expected] of [['empty', [0, 1, 5]], ['drip', [0, 1, 5]], ['some', [0, 1, 5]], ['many', [0, 8, 5]]] as const) assert.deepEqual(await ask('named', 'patient', `cut-${what}.hostile.example`), expected, what);
    assert.equal(await ask('named', 'tcp', 'cut-empty.hostile.example', 443), 'internet');
    assert.match(asked(), /cut-empty\.hostile\.example:1\/tcp/);
    for (const what of ['silent', 'another', 'long']) assert.deepEqual(await ask('named', 'patient', `cut-${what}.hostile.example`), [2, 0, 0], what);
    assert.equal(await ask('named', 'name', 'cut-private.hostile.example'), PRIVATE);
    assert.equal(await ask('named', 'tcp', PRIVATE, 443), 'ECONNREFUSED');
    assert.deepEqual(await ask('named', 'stream', 'cut-many.hostile.example', 1), [0, 8]);
  });

  test('connections have limits: of one sandbox, of questions, of a message, of silence', async () => {
    assert.equal(await ask('named', 'crowd', 7), 4);
    const said = (await ask('named', 'one', 80)) as unknown[];
    assert.deepEqual([said.filter((each) => each !== 'closed').length, said.at(-1)], [64, 'closed']);
    for (const bytes of ['0000', '0201', 'ffff', `000c${'00'.repeat(2)}8100${'00'.repeat(8)}`, `0005${'00'.repeat(5)}`]) assert.deepEqual(await ask('named', 'after', bytes), ['closed', 0], bytes);
    assert.equal(await ask('named', 'deaf'), 'cut off');
    assert.deepEqual(await Promise.all([ask('named', 'after'), ask('twin', 'after', '001d1234')]), [['closed', 5], ['closed', 5]]);
    assert.equal(await ask('named', 'tcp', 'www.example.org', 80), 'internet');
  });

  test('what an answer opened passes', async () => {
    assert.ok(opened() > 0);
    const times = [...lab.onHost('nft', 'list', 'ruleset').matchAll(/timeout (?:(\d+)m)?(?:(\d+)s)?(?:\d+ms)? expires/g)].map(([, minutes, seconds]) => Number(minutes ?? 0) * 60 + Number(seconds ?? 0));
    assert.ok(times.length > 0 && times.every((seconds) => seconds >= 60 && seconds <= 3605), String(times));
  });

  test('a request that is restored does not find open what the one before has asked for', async () => {
    assert.equal(await ask('restored', 'tcp', 'api.example.org', 443), 'internet');
    assert.equal(await ask('restored', 'tcp', PUBLIC, 443), 'ECONNREFUSED');
  });

  test('who asks without end is cut off, and others are answered', async () => {
    const flooding = ask('twin', 'flood', 'api.example.org', 3);
    for (const end = performance.now() + 2500; performance.now() < end; await sleep(50)) assert.deepEqual(await ask('named', 'ask', 'www.example.org', 1), [0, 1, 5]);
    assert.ok(((await flooding) as number) > 1000);
  });

  test('new addresses are opened at a pace, and what is open costs nothing', async () => {
    assert.deepEqual(new Set((await ask('both', 'same', 150)) as number[]), new Set([0]));
    const codes = (await ask('both', 'many', 300)) as number[];
    assert.deepEqual(new Set(codes.slice(0, 50)), new Set([0]));
    assert.ok(codes.includes(2), String(codes));
    assert.equal(await ask('named', 'tcp', 'www.example.org', 80), 'internet');
  });

  test('the forwarder is nobody, in a network of its own, filtered', async () => {
    const [pid] = forwarders();
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    const status = Object.fromEntries(readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').map((line) => line.split(':\t') as [string, string]));
    assert.match(status['Uid']!, /^(\d+)(\t\1){3}$/);
    assert.ok(Number(status['Uid']!.split('\t')[0]) > 65_536);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(status[set]!, /^0+$/, set);
    assert.deepEqual([status['Groups']!.trim(), status['NoNewPrivs'], status['Seccomp']], ['', '1', '2']);
    assert.ok(Number(status['Seccomp_filters']) > 1);
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${sandboxd}/ns/net`));
    const kinds = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) > 2).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:?\[.*/, ''));
    assert.deepEqual([...new Set(kinds)].toSorted(), ['anon_inode', 'net', 'socket']);
    // It reaches nothing but the name server: neither the internet, nor the host, nor a sandbox.
    const reach = (address: string, port: number): string => {
      try {
        return lab.onHost('nsenter', `--net=/proc/${pid}/ns/net`, '/usr/bin/python3', '-c', `import socket; s = socket.create_connection(('${address}', ${port}), 1); print('reached')`);
      } catch {
        return 'refused';
      }
    };
    for (const address of [PUBLIC, PRIVATE, METADATA, ...HOST_ADDRESSES, (await ask('twin', 'own')) as string]) assert.equal(reach(address, 443), 'refused', address);
  });

  test('after the forwarder was killed another answers, also what was asked meanwhile', async () => {
    const [before] = forwarders();
    process.kill(before!, 'SIGKILL');
    const answers = await Promise.all(['named', 'twin', 'both'].map((name) => ask(name, 'tcp', 'api.example.org', 443)));
    assert.deepEqual(answers, ['internet', 'internet', 'internet']);
    const [next] = forwarders();
    assert.ok(next !== undefined && next !== before);
    assert.match(flashd.output, /the forwarder of names ended with status 0x9: another takes its place/);
    assert.deepEqual(await ask('named', 'stream', 'api.example.org', 1), [0, 1]);
    assert.equal(await ask('named', 'name', 'secret.exfiltrated.net'), 'no such name');
  });

  test('after the rules were flushed, and after sandboxd was killed, names are there again', async () => {
    const again = async (): Promise<void> => {
      for (const end = performance.now() + 10_000; performance.now() < end; await sleep(100)) {
        const answer = await flashd.http('GET', '/function/named/tcp/api.example.org/443');
        if (answer.status === 200 && answer.body.toString() === '"internet"') return;
      }
      assert.fail(flashd.output.slice(-2000));
    };
    lab.onHost('nft', 'flush', 'ruleset');
    await again();
    process.kill(member(flashd.pid, isSandboxd).pid, 'SIGKILL');
    await again();
    assert.equal(forwarders().length, 1);
    assert.equal(await ask('named', 'name', 'secret.exfiltrated.net'), 'no such name');
  });

  test('nothing stays open for a sandbox that has ended, and nothing is left when flashd stops', async () => {
    for (const name of ['named', 'twin', 'both', 'restored']) await flashd.cli('remove', name);
    for (const end = performance.now() + 5000; performance.now() < end && opened() > 0; await sleep(50));
    assert.equal(opened(), 0);
    assert.doesNotMatch(lab.onHost('nft', 'list', 'ruleset'), /set t\d+/);
    await flashd.stop();
    assert.doesNotMatch(lab.onHost('nft', 'list', 'ruleset'), /flashd-/);
    assert.doesNotMatch(lab.onHost('ip', '-o', 'link'), /\bf[0-9a-f]{8}-\d+@/);
  });
});
