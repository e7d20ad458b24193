/** The real server on a free port, over a dispatcher with a fake sandbox; and clients that show every byte. */
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { loadAddon } from '../../../src/native-addon.ts';
import { HttpServer, type HttpServerOptions } from '../../../src/http/server.ts';
import { fixture, type FixtureOptions } from '../invocation/fixture.ts';

export async function serve(t: TestContext, options: Partial<HttpServerOptions> & FixtureOptions = {}) {
  const base = await fixture(options);
  const server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    sharedPort: false,
    domain: '',
    maxConnections: 10_000,
    maxBodyBytes: 1000,
    bodyBudgetBytes: 10_000,
    bodyTimeoutMs: 10_000,
    unreadBudgetBytes: 64 << 20,
    unreadGraceMs: 10_000,
    clientRequestsPerSecond: 0,
    credentials: { hasTokens: () => false, acceptsToken: () => false, acceptsKey: () => false },
    managementSocket: '',
    tls: undefined,
    preferSuccessor: (to) => loadAddon().preferSuccessor(to),
    renewed: () => {},
    dispatcher: base.dispatcher,
    health: () => ({ healthy: base.sandbox.connected, detail: {} }),
    metrics: () => Promise.resolve({ contentType: 'text/plain', text: 'metric 1\n' }),
    report: (error) => base.reported.push(error),
    ...options,
  });
  const port = await server.listen();
  t.after(() => server.close());
  return { ...base, server, port, url: `http://127.0.0.1:${port}` };
}

export type Reply = { status: number; headers: Record<string, string>; body: string; raw: string; closed: boolean };

/** Sends raw bytes and reads until the server closes, or one response is complete, or nothing has come for waitMs. */
export async function exchange(port: number, text: string | Buffer, waitMs = 500): Promise<Reply> {
  const socket = connect(port, '127.0.0.1');
  let raw = '';
  let closed = false;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, waitMs);
    const finish = () => (clearTimeout(timer), resolve());
    socket.on('data', (chunk) => {
      raw += chunk.toString('latin1');
      // A close follows at once if it follows at all.
      if (isComplete(raw)) setTimeout(finish, 20);
    });
    socket.on('close', () => ((closed = true), finish()));
    socket.on('error', () => {});
    socket.write(text);
  });
  socket.destroy();
  return { ...parse(raw), raw, closed };
}

export function open(port: number): Socket {
  return connect(port, '127.0.0.1').on('error', () => {});
}

function isComplete(raw: string): boolean {
  const { headers, body, status } = parse(raw);
  return status !== 0 && status !== 100 && body.length >= Number(headers['content-length'] ?? 0);
}

function parse(raw: string): { status: number; headers: Record<string, string>; body: string } {
  const end = raw.indexOf('\r\n\r\n');
  if (end === -1) return { status: 0, headers: {}, body: '' };
  const [line, ...lines] = raw.slice(0, end).split('\r\n');
  const headers = Object.fromEntries(lines.map((each) => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 1).trim()]));
  return { status: Number(line!.split(' ')[1]), headers, body: raw.slice(end + 4) };
}
