/** Functions and the network, with real packets, behind the packaged binary. The rules themselves are tested one by one in test/native/egress.c. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { isSandboxd, member } from './footprint.ts';
import { HOST_ADDRESSES, Lab, METADATA, PRIVATE, PUBLIC, WHEEL } from './lab.ts';

/** What comes of an attempt: the other end's words, or the name of the error. */
const PROBE = `
import errno, fcntl, socket, struct, threading, time
def attempt(act):
  try: return act()
  except socket.timeout: return 'timeout'
  except OSError as error: return errno.errorcode.get(error.errno, repr(error))
def tcp(host, port):
  with socket.create_connection((host, int(port)), 2) as connection: return connection.recv(100).decode()
def own():
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(('203.0.113.80', 9)); return s.getsockname()[0]
def listen():
  server = socket.create_server(('0.0.0.0', 7777))
  threading.Thread(target=lambda: [server.accept()[0].sendall(b'sandbox') for _ in range(9)], daemon=True).start()
  return own()
def rate(act, host, port, seconds):
  total, end = 0, time.monotonic() + float(seconds)
  with socket.create_connection((host, int(port)), 2) as connection:
    while time.monotonic() < end: total += act(connection)
  return total
def add_address():
  s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
  s.send(struct.pack('=IHHII', 40, 20, 0x605, 1, 0) + struct.pack('=BBBBI', 2, 32, 0, 0, 2) + struct.pack('=HH4sHH4s', 8, 2, b'\\x0a\\x01\\x02\\x03', 8, 1, b'\\x0a\\x01\\x02\\x03')[:16])
  code = -struct.unpack('=i', s.recv(200)[16:20])[0]
  return errno.errorcode.get(code, str(code))
def transparent():
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.setsockopt(socket.SOL_IP, 19, 1); return 'permitted'
def spoof():
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_IP, 15, 1); s.bind(('198.51.100.77', 0)); s.sendto(b'x', ('203.0.113.80', 80)); return 'sent'
def six(host, port=80, kind=socket.SOCK_STREAM):
  with socket.socket(socket.AF_INET6, kind) as s:
    s.settimeout(2); s.connect(socket.getaddrinfo(host.replace('@', '%'), int(port), socket.AF_INET6, kind)[0][4])
    return 'sent' if kind == socket.SOCK_DGRAM and s.send(b'x') else s.recv(100).decode()
def raw(family, kind): socket.socket(family, kind).close(); return 'permitted'
ACTS = {'send': lambda *to: rate(lambda c: c.send(bytes(1 << 16)), *to), 'receive': lambda *to: rate(lambda c: len(c.recv(1 << 16)), *to), 'tcp': tcp, 'own': own, 'listen': listen, 'name': socket.gethostbyname, 'add': add_address, 'transparent': transparent, 'spoof': spoof, 'six': six, 'six-datagram': lambda host: six(host, 53, socket.SOCK_DGRAM), 'six-interfaces': lambda: sorted({line.split()[5] for line in open('/proc/net/if_inet6')}),
        'raw': lambda: raw(socket.AF_INET, socket.SOCK_RAW), 'packet': lambda: raw(socket.AF_PACKET, socket.SOCK_RAW), 'netfilter': lambda: socket.socket(16, socket.SOCK_RAW, 12).close() or 'permitted'}
def handler(event, context):
  act, *arguments = event['rawPath'].strip('/').split('/')
  return attempt(lambda: ACTS[act](*arguments))
`;

const NETWORKS: Record<string, unknown> = {
  none: undefined,
  public: 'egress',
  other: 'egress',
  narrow: { egress: [`${PUBLIC}:443`] },
  reopened: { egress: ['public', '10.0.0.0/8:5432'] },
  wide: { egress: ['0.0.0.0/0'] },
  slow: { egress: ['public'], bandwidthMbit: 8 },
  greedy: { egress: ['public'], bandwidthMbit: 10_000 },
};

const MBIT_MAX = 40;
const SECONDS = 3;

describe('functions and the network', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let lab: Lab;
  let flashd: Flashd;
  before(async () => {
    lab = await Lab.build();
    flashd = await Flashd.startWithin(lab.within(lab.host), { FLASHD_EGRESS_DNS: PUBLIC, FLASHD_EGRESS_MBIT_MAX: String(MBIT_MAX), FLASHD_EGRESS_MBIT: String(MBIT_MAX) });
    for (const [name, network] of Object.entries(NETWORKS)) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'handler.py'), PROBE);
      writeFileSync(join(folder, name, 'function.json'), JSON.stringify({ ...(network === undefined ? {} : { network }), timeoutMs: 10_000 }));
      await flashd.cli('deploy', join(folder, name));
    }
  });
  after(async () => {
    await flashd?.stop();
    await lab?.dispose();
    rmSync(folder, { recursive: true });
  });
  const ask = async (name: string, ...path: (string | number)[]): Promise<string> => {
    const answer = await flashd.http('GET', `/function/${name}/${path.join('/')}`);
    assert.equal(answer.status, 200, `${path.join('/')}: ${answer.body.toString()}`);
    return JSON.parse(answer.body.toString()) as string;
  };
  const ours = (): { links: number; tables: number; claims: number; forwarding: string } => ({
    links: lab.onHost('ip', '-o', 'link').split('\n').filter((line) => /^\d+: f[0-9a-f]{8}-\d+@/.test(line)).length,
    tables: lab.onHost('nft', 'list', 'tables').split('\n').filter((line) => line.includes('flashd-')).length,
    claims: lab.onHost('ip', 'route').split('\n').filter((line) => line.startsWith('unreachable')).length,
    forwarding: lab.onHost('cat', '/proc/sys/net/ipv4/conf/up0/forwarding').trim(),
  });

  test('without a word in function.json connect nowhere', async () => {
    for (const address of [PUBLIC, PRIVATE, METADATA, ...HOST_ADDRESSES]) assert.equal(await ask('none', 'tcp', address, 80), 'ENETUNREACH');
    assert.notEqual(await ask('none', 'name', 'example.org'), PUBLIC);
  });

  test('with egress reach public addresses, and names', async () => {
    assert.equal(await ask('public', 'tcp', PUBLIC, 80), 'internet');
    assert.equal(await ask('public', 'name', 'example.org'), PUBLIC);
    assert.equal(await ask('public', 'tcp', 'example.org', 443), 'internet');
  });

  test('never reach the host, on any of its addresses, nor metadata, nor private addresses', async () => {
    for (const address of [...HOST_ADDRESSES, '127.0.0.1', '169.254.53.53', METADATA, PRIVATE]) assert.equal(await ask('public', 'tcp', address, 80), 'ECONNREFUSED', address);
    assert.equal(await ask('public', 'tcp', HOST_ADDRESSES[0]!, flashd.port), 'ECONNREFUSED');
    for (const address of [...HOST_ADDRESSES, METADATA]) assert.equal(await ask('wide', 'tcp', address, 80), 'ECONNREFUSED', address);
  });

  test('reach what their list says, and nothing else', async () => {
    assert.equal(await ask('narrow', 'tcp', PUBLIC, 443), 'internet');
    assert.equal(await ask('narrow', 'tcp', PUBLIC, 80), 'ECONNREFUSED');
    assert.equal(await ask('reopened', 'tcp', PRIVATE, 5432), 'internet');
    assert.equal(await ask('reopened', 'tcp', PRIVATE, 80), 'ECONNREFUSED');
    assert.equal(await ask('reopened', 'tcp', PUBLIC, 80), 'internet');
    assert.equal(await ask('wide', 'tcp', PRIVATE, 80), 'internet');
  });

  for (const act of ['send', 'receive'] as const) {
    test(`${act} no faster than they may, nor than anybody may`, async () => {
      for (const [name, mbit] of [['slow', 8], ['greedy', MBIT_MAX], ['public', MBIT_MAX]] as const) {
        const bytes = Number(await ask(name, act, PUBLIC, act === 'send' ? 9000 : 9001, SECONDS));
        // A second's worth comes at once, and what is dropped slows a connection down further; a sender's buffers take a megabyte or two that never arrive.
        const most = (mbit * 125_000) * (SECONDS + 1) * 1.2 + 4e6, least = (mbit * 125_000) * 0.5;
        assert.ok(bytes > least && bytes < most, `${name}: ${bytes} bytes in ${SECONDS} s at ${mbit} Mbit/s`);
      }
    });
  }

  test('do not reach each other, and nobody reaches them', async () => {
    const address = await ask('public', 'listen');
    assert.match(address, /^10\.2(2[4-9]|3\d)\./);
    for (const name of ['other', 'wide', 'reopened']) assert.equal(await ask(name, 'tcp', address, 7777), 'ECONNREFUSED');
    assert.throws(() => lab.onHost('curl', '-s', '--max-time', '1', `http://${address}:7777/`));
  });

  test('have no IPv6: no address but loopback, no way out, to the host or to a neighbour, link-local and multicast included', async () => {
    lab.onHost('sh', '-c', 'echo 0 >/proc/sys/net/ipv6/conf/up0/disable_ipv6; ip -6 address add 2001:db8::2/64 dev up0 nodad; ip -6 route add default dev up0');
    assert.doesNotMatch(lab.onHost('ip', '-6', '-o', 'address'), / f[0-9a-f]{8}-\d+ /, 'a cable has an address');
    const nowhere = /^(ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT|EINVAL|ENODEV)$/;
    for (const [name, link] of [['none', 'lo'], ['public', 'eth0'], ['wide', 'eth0']] as const) {
      assert.deepEqual((await ask(name, 'six-interfaces') as unknown as string[]).filter((each) => each !== 'lo'), [], name);
      for (const host of ['2001:db8::1', '2001:db8::2', '64:ff9b::cb00:7150', '2002:cb00:7150::1', `fe80::1@${link}`]) {
        for (const act of ['six', 'six-datagram']) assert.match(await ask(name, act, host), nowhere, `${name} ${act} ${host}`);
      }
    }
    for (const host of ['ff02::1@eth0', 'ff02::2@eth0', 'ff05::1']) assert.match(await ask('public', 'six-datagram', host), nowhere, host);
  });

  test('are held by the same rules when they write IPv4 addresses as IPv6 ones', async () => {
    assert.equal(await ask('narrow', 'six', `::ffff:${PUBLIC}`, 443), 'internet');
    assert.equal(await ask('narrow', 'six', `::ffff:${PUBLIC}`, 80), 'ECONNREFUSED');
    for (const address of [PRIVATE, METADATA, ...HOST_ADDRESSES]) assert.equal(await ask('public', 'six', `::ffff:${address}`), 'ECONNREFUSED', address);
    for (const address of [PUBLIC, PRIVATE, METADATA]) assert.equal(await ask('none', 'six', `::ffff:${address}`), 'ENETUNREACH', address);
  });

  test('have no raw sockets, and no say over their network', async () => {
    for (const act of ['raw', 'packet', 'netfilter', 'add', 'transparent']) assert.match(await ask('public', act), /^(EPERM|EACCES|EINVAL|EPROTONOSUPPORT|EAFNOSUPPORT)$/, act);
    assert.match(await ask('public', 'spoof'), /EINVAL|ENETUNREACH/);
  });

  test('get the network of their own function from function templates too', async () => {
    const starts = await Promise.all(Array.from({ length: 6 }, () => ask('public', 'own')));
    assert.ok(starts.every((address) => address.startsWith('10.')));
    const [narrow, open] = await Promise.all([Promise.all(Array.from({ length: 4 }, () => ask('narrow', 'tcp', PUBLIC, 80))), Promise.all(Array.from({ length: 4 }, () => ask('public', 'tcp', PUBLIC, 80)))]);
    assert.deepEqual([new Set(narrow), new Set(open)], [new Set(['ECONNREFUSED']), new Set(['internet'])]);
  });

  test('are refused at deployment with a list that cannot hold', async () => {
    const bad = async (network: unknown, words: RegExp): Promise<void> => {
      writeFileSync(join(folder, 'other', 'function.json'), JSON.stringify({ network }));
      await assert.rejects(flashd.cli('deploy', join(folder, 'other')), words);
    };
    await bad({ egress: ['pypi.org'] }, /manifest_invalid.*without a port/s);
    await bad({ egress: ['10.0.0.1/8'] }, /bits set beyond its prefix/);
    await bad({ egress: ['169.254.169.254:80'] }, /no function may reach/);
    await bad('all', /manifest_invalid.*network in function\.json/);
  });

  test('are back after sandboxd was killed, and the dead one has left nothing', async () => {
    assert.ok(ours().links > 0);
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    /** Numbers of links are not given twice. */
    const numbers = (): string[] => [...lab.onHost('ip', '-o', 'link').matchAll(/^(\d+): f[0-9a-f]{8}-\d+@/gm)].map((match) => match[1]!);
    const before = numbers();
    process.kill(sandboxd, 'SIGKILL');
    for (const end = performance.now() + 10_000; performance.now() < end; await sleep(100)) {
      const answer = await flashd.http('GET', `/function/public/tcp/${PUBLIC}/80`);
      if (answer.status === 200 && answer.body.toString() === '"internet"') break;
    }
    assert.equal(await ask('public', 'tcp', PUBLIC, 80), 'internet');
    assert.equal(await ask('narrow', 'tcp', PUBLIC, 80), 'ECONNREFUSED');
    const { tables, claims, forwarding } = ours();
    assert.deepEqual({ tables, claims, forwarding }, { tables: 1, claims: 1, forwarding: '1' });
    assert.deepEqual(numbers().filter((number) => before.includes(number)), []);
  });

  test('are ended when somebody flushes the rules, and come back behind new ones', async () => {
    const address = await ask('public', 'own');
    lab.onHost('nft', 'flush', 'ruleset');
    for (const end = performance.now() + 10_000; performance.now() < end && ours().tables === 0; await sleep(50)) await flashd.http('GET', `/function/other/tcp/${PUBLIC}/80`);
    assert.equal(await ask('public', 'tcp', HOST_ADDRESSES[0]!, 80), 'ECONNREFUSED');
    assert.equal(await ask('public', 'tcp', PUBLIC, 80), 'internet');
    assert.match(flashd.output, /somebody has removed flashd's rules/);
    assert.match(address, /^10\./);
  });

  test('also where sandboxes were being built just then', async () => {
    for (let round = 0; round < 5; round++) {
      const burst = Array.from({ length: 6 }, () => flashd.http('GET', '/function/public/own'));
      await sleep(round * 3);
      lab.onHost('nft', 'flush', 'ruleset');
      await Promise.all(burst);
      for (const end = performance.now() + 10_000; performance.now() < end && ours().tables === 0; await sleep(50)) await flashd.http('GET', '/function/public/own');
      await sleep(200); // those from before are being ended
      assert.deepEqual(await Promise.all(Array.from({ length: 6 }, () => ask('public', 'tcp', PUBLIC, 80))), Array(6).fill('internet'), `round ${round}`);
    }
  });

  test('are told of a firewall that drops what they send', async () => {
    lab.onHost('nft', 'flush ruleset; add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }');
    const told = /firewall drops what is forwarded \(filter FORWARD\)/;
    for (const end = performance.now() + 10_000; performance.now() < end && !told.test(flashd.output); await sleep(100)) await flashd.http('GET', '/function/public/own');
    assert.match(flashd.output, told);
    lab.onHost('nft', 'delete table ip filter');
    assert.equal(await ask('public', 'tcp', PUBLIC, 80), 'internet');
  });

  test('leave nothing on the host when flashd stops', async () => {
    await flashd.stop();
    assert.deepEqual(ours(), { links: 0, tables: 0, claims: 0, forwarding: '0' });
  });
});

describe('a function that names packages', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  let lab: Lab;
  before(async () => {
    lab = await Lab.build();
    makeIndex(join(folder, 'index'));
    await lab.serve(lab.internet, /Serving/, '/usr/bin/python3', '-u', '-m', 'http.server', '8080', '--bind', PUBLIC, '--directory', join(folder, 'index'));
  });
  after(async () => {
    await lab?.dispose();
    rmSync(folder, { recursive: true });
  });
  const source = (name: string, requirements: string): string => {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'handler.py'), 'import tiny\ndef handler(event, context): return tiny.WORD\n');
    writeFileSync(join(folder, name, 'requirements.txt'), requirements);
    return join(folder, name);
  };
  const index = `--index-url http://${PUBLIC}:8080/simple\n--trusted-host ${PUBLIC}\n`;

  test('gets them from an index that the build may reach, and from nowhere else', async () => {
    const open = await Flashd.startWithin(lab.within(lab.host), { FLASHD_EGRESS_DNS: PUBLIC });
    try {
      await open.cli('deploy', source('indexed', `${index}tiny==1.0\n`));
      assert.equal((await open.http('GET', '/function/indexed')).body.toString(), '"tiny indeed"');
      await assert.rejects(open.cli('deploy', source('wrong', `${index}tiny==1.0 --hash=sha256:${'0'.repeat(64)}\n`)), /build_failed.*DO NOT MATCH THE HASHES/s);
      await assert.rejects(open.cli('deploy', source('inside', `--index-url http://${HOST_ADDRESSES[0]}/simple\ntiny==1.0\n`)), /build_failed.*tiny/s);
    } finally {
      await open.stop();
    }
    const named = await Flashd.startWithin(lab.within(lab.host), { FLASHD_EGRESS_DNS: PUBLIC, FLASHD_BUILD_EGRESS: 'index.example:8080' });
    try {
      await named.cli('deploy', source('listed', '--index-url http://index.example:8080/simple\n--trusted-host index.example\ntiny==1.0\n'));
      await assert.rejects(named.cli('deploy', source('unlisted', '--index-url http://other.example:8080/simple\n--trusted-host other.example\ntiny==1.0\n')), /build_failed.*tiny/s);
    } finally {
      await named.stop();
    }
    const closed = await Flashd.startWithin(lab.within(lab.host), { FLASHD_BUILD_EGRESS: `${PUBLIC}:443` });
    try {
      await assert.rejects(closed.cli('deploy', source('closed', `${index}tiny==1.0\n`)), /build_failed.*tiny/s);
    } finally {
      await closed.stop();
    }
  });
});

/** A package index of one package, as a directory of files. */
function makeIndex(directory: string): void {
  mkdirSync(join(directory, 'simple/tiny'), { recursive: true });
  execFileSync('/usr/bin/python3', ['-c', WHEEL, join(directory, 'simple/tiny/tiny-1.0-py3-none-any.whl')]);
  writeFileSync(join(directory, 'simple/tiny/index.html'), '<!DOCTYPE html><a href="tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>\n');
}
