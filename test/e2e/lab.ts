/**
 * A world of its own for tests of the network: a "host" that flashd is started in, and an "internet" with every address it is asked for, each a network namespace; one cable between them.
 * Nothing of it touches the machine's own network. What is made here goes with dispose().
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';

export const HOST_ADDRESSES = ['198.51.100.2', '192.0.2.7'];
/** A package index and a name server (for everything) among others; it answers on ports 80, 443 and 5432. */
export const PUBLIC = '203.0.113.80';
export const PRIVATE = '10.9.9.9';
export const METADATA = '169.254.169.254';

/**
 * TCP: says where it is. Port 53, UDP and TCP: every name is PUBLIC, but for those whose first label says what becomes of the question: told-<what> in HOSTILE, cut-<what> in CUT (a datagram that says that there is more, and what TCP says then), or an address with "-" for ".". All that was asked is repeated on TCP port 5353.
 * TCP port 9000 takes all that comes, 9001 sends without end.
 */
const SERVER = `
import socket, struct, sys, threading
place, *ports = sys.argv[1:]
def serve(port):
  with socket.create_server(('0.0.0.0', int(port))) as server:
    while True:
      connection, _ = server.accept()
      connection.sendall(place.encode()); connection.close()
asked = []
def a(address, ttl=5, owner=b'\\xc0\\x0c'): return owner + b'\\0\\x01\\0\\x01' + struct.pack('>I', ttl) + b'\\0\\x04' + socket.inet_aton(address)
HOSTILE = {
  'nothing': lambda head: None,
  'garbage': lambda head: b'\\xff' * 40,
  'loop': lambda head: head(1) + b'\\xc0' + bytes([head.end]) + b'\\0\\x01\\0\\x01\\0\\0\\0\\x05\\0\\x04\\x08\\x08\\x08\\x08',
  'stranger': lambda head: head(1) + a('${PUBLIC}', 5, b'\\x05other\\x03org\\0'),
  'alias': lambda head: head(2) + b'\\xc0\\x0c\\0\\x05\\0\\x01\\0\\0\\0\\x05\\0\\x07\\x04edge\\xc0\\x0c' + a('${PUBLIC}', 5, b'\\x04edge\\xc0\\x0c'),
  'mixed': lambda head: head(2) + a('${PRIVATE}') + a('${PUBLIC}'),
  'none': lambda head: head(0, 3),
}
CUT = {
  'empty': lambda head: head(1) + a('${PUBLIC}'),
  'some': lambda head: None,
  'many': lambda head: head(300) + b''.join(a(f'93.184.0.{n % 250}') for n in range(300)),
  'silent': lambda head: b'',
  'another': lambda head: b'\\0\\0' + (head(1) + a('${PUBLIC}'))[2:],
  'long': lambda head: 65535,
  'drip': lambda head: head(1) + a('${PUBLIC}'),
  'private': lambda head: head(1) + a('${PRIVATE}'),
}
def answer(query, end, stream=False):
  label = query[13:13 + query[12]].decode().lower()
  class Head:
    def __call__(self, count, code=0, flags=0x81): return query[:2] + bytes([flags, 0x80 | code, 0, 1]) + struct.pack('>H', count) + b'\\0\\0\\0\\0' + query[12:end]
  head = Head(); head.end = end
  if label.startswith('cut-') and stream: return CUT[label[4:]](head)
  if label.startswith('cut-'): return head(1, 0, 0x83) + a('${PUBLIC}') if label == 'cut-some' else head(0, 0, 0x83)
  if label.startswith('told-'): return HOSTILE[label[5:]](head)
  if label.count('-') == 3: return head(1) + a(label.replace('-', '.'))
  return head(1) + a('${PUBLIC}') if query[end - 4:end - 2] == b'\\0\\x01' else head(0)
def tell():
  with socket.create_server(('0.0.0.0', 5353)) as server:
    while True:
      connection, _ = server.accept()
      connection.sendall(' '.join(asked).encode()); connection.close()
def names():
  server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(('${PUBLIC}' if place == 'internet' else '0.0.0.0', 53))
  while True:
    query, peer = server.recvfrom(512)
    end = query.index(b'\\0', 12) + 5
    asked.append(query[13:end - 5].decode('latin1').translate({n: '.' for n in range(32)}) + ':' + str(query[end - 3]))
    said = answer(query, end)
    if said: server.sendto(said, peer)
def converse(connection):
  with connection:
    prefix = connection.recv(2, socket.MSG_WAITALL)
    query = connection.recv(struct.unpack('>H', prefix)[0], socket.MSG_WAITALL)
    end = query.index(b'\\0', 12) + 5
    asked.append(query[13:end - 5].decode('latin1').translate({n: '.' for n in range(32)}) + ':' + str(query[end - 3]) + '/tcp')
    said = answer(query, end, True)
    if said is None: return
    if said == b'': connection.recv(1)
    elif said == 65535: connection.sendall(b'\\xff\\xff' + bytes(1000)); connection.recv(1)
    else:
      message = struct.pack('>H', len(said)) + said
      for part in [message[n:n + 1] for n in range(len(message))] if b'drip' in query else [message]: connection.sendall(part)
def names_by_stream():
  with socket.create_server(('${PUBLIC}' if place == 'internet' else '0.0.0.0', 53)) as server:
    while True: threading.Thread(target=converse, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=names_by_stream, daemon=True).start()
for port in ports: threading.Thread(target=serve, args=(port,), daemon=True).start()
threading.Thread(target=names, daemon=True).start()
def swallow():
  with socket.create_server(('0.0.0.0', 9000)) as server:
    while True:
      connection, _ = server.accept()
      while connection.recv(1 << 16): pass
      connection.close()
def pour():
  with socket.create_server(('0.0.0.0', 9001)) as server:
    while True:
      connection, _ = server.accept()
      try:
        while True: connection.sendall(bytes(1 << 16))
      except OSError: connection.close()
threading.Thread(target=tell, daemon=True).start()
threading.Thread(target=swallow, daemon=True).start(); threading.Thread(target=pour, daemon=True).start()
print('ready', flush=True); sys.stdin.read()
`;

/** Containers are given settings of the kernel that cannot be changed; those of networks of one's own can, through a /proc of one's own. */
const ABLE_TO_SET = isWritable('/proc/sys/net/ipv4/ip_forward') ? [] : ['unshare', '--mount', 'sh', '-c', 'mount -t proc proc /proc && exec "$@"', 'sh'];

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

export class Lab {
  readonly host: string;
  readonly internet: string;
  readonly #servers: ChildProcess[] = [];

  private constructor(name: string) {
    this.host = `${name}-host`;
    this.internet = `${name}-internet`;
  }

  static async build(): Promise<Lab> {
    const lab = new Lab(`flashd-lab-${process.pid}`);
    try {
      for (const place of [lab.host, lab.internet]) {
        ip('netns', 'add', place);
        ip('-n', place, 'link', 'set', 'lo', 'up');
      }
      ip('-n', lab.host, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'in0', 'netns', lab.internet);
      ip('-n', lab.host, 'address', 'add', '198.51.100.2/24', 'dev', 'up0');
      ip('-n', lab.host, 'address', 'add', '192.0.2.7/32', 'dev', 'lo');
      for (const address of ['198.51.100.1/24', `${PUBLIC}/32`, `${PRIVATE}/32`, `${METADATA}/32`]) ip('-n', lab.internet, 'address', 'add', address, 'dev', 'in0');
      ip('-n', lab.host, 'link', 'set', 'up0', 'up');
      ip('-n', lab.internet, 'link', 'set', 'in0', 'up');
      ip('-n', lab.host, 'route', 'add', 'default', 'via', '198.51.100.1');
      lab.onHost('sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward');
      await lab.#serve(lab.internet, 'internet', '80', '443', '5432');
      await lab.#serve(lab.host, 'host', '80', '443', '5432');
      return lab;
    } catch (error) {
      await lab.dispose();
      throw error;
    }
  }

  within(place: string): string[] {
    return ['nsenter', `--net=/run/netns/${place}`, ...ABLE_TO_SET];
  }

  /** Runs a program there and returns what it wrote. */
  onHost(...command: string[]): string {
    return run([...this.within(this.host), ...command]);
  }

  /** A process that lives in the internet until the lab ends. */
  async serve(place: string, ready: RegExp, ...command: string[]): Promise<void> {
    const [program, ...args] = [...this.within(place), ...command];
    const server = spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#servers.push(server);
    let said = '';
    for (const stream of [server.stdout, server.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    while (!ready.test(said)) {
      if (server.exitCode !== null) throw new Error(`${command.join(' ').slice(0, 100)}: ${said}`);
      await Promise.race([once(server.stdout, 'data'), once(server.stderr, 'data'), once(server, 'exit')]);
    }
  }

  async dispose(): Promise<void> {
    for (const server of this.#servers) {
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    }
    for (const place of [this.host, this.internet]) {
      try {
        ip('netns', 'delete', place);
      } catch {
        // It was never made.
      }
    }
  }

  #serve(place: string, ...args: string[]): Promise<void> {
    return this.serve(place, /ready/, '/usr/bin/python3', '-c', SERVER, ...args);
  }
}

function run([program, ...args]: string[]): string {
  return execFileSync(program!, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const ip = (...args: string[]): string => run(['ip', ...args]);

/** Python that makes a package of the name tiny, as the wheel that is its argument. */
export const WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
  wheel.writestr('tiny.py', "WORD = 'tiny indeed'\\n")
  wheel.writestr('tiny-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
  wheel.writestr('tiny-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
  wheel.writestr('tiny-1.0.dist-info/RECORD', '')
`;
