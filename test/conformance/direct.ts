/**
 * A runtime's shim as a plain process of the host: fd 3 is a socketpair, and this file is its gateway. No sandbox, no template, no fork;
 * what is tested is the shim's own behaviour.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Runtime } from '../../src/runtimes/index.ts';
import { root, SECRETS, type Fixture } from './fixtures.ts';
import { BODY_BINARY, decodeFrames, encodeFrame, FRAME, splitStrings, type Frame } from './frames.ts';
import type { Answer, Request, Target } from './target.ts';

const FAULT_CODES = ['', 'handler_not_found', 'function_load_failed', 'function_error', 'response_invalid', 'function_exited'];
const O_CLOEXEC = 0o2000000;
export const REQUEST_ID = '3f0c8f4e-0000-4000-8000-000000000001';

export class Shim {
  readonly child: ChildProcess;
  readonly #socket: Duplex;
  #rest: Buffer = Buffer.alloc(0);
  #frames: Frame[] = [];
  #ended: 'end' | 'garbage' | undefined;
  #wake: () => void = () => {};
  output = '';

  constructor(runtime: Runtime, directory: string) {
    const packed = new Map(runtime.files.map((file) => [`/opt/flashd/${runtime.name}/${file.path}`, join(root, file.from)]));
    const argv = runtime.argv.map((argument) => (argument === '/function' ? directory : (packed.get(argument) ?? argument)));
    this.child = spawn(argv[0]!, argv.slice(1), { env: { ...runtime.env, HOME: '/tmp' }, cwd: argv.at(-1)!, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#socket = this.child.stdio[3] as Duplex;
    for (const stream of [this.child.stdout!, this.child.stderr!]) stream.on('data', (chunk: Buffer) => (this.output = (this.output + chunk.toString()).slice(-(1 << 20))));
    this.#socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on('error', () => this.#end('end'));
    this.#socket.on('end', () => this.#end('end'));
    this.#socket.on('close', () => this.#end('end'));
  }

  #receive(chunk: Buffer): void {
    const decoded = this.#ended ? null : decodeFrames(this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk);
    if (!decoded) return this.#end('garbage');
    this.#rest = decoded.rest;
    this.#frames.push(...decoded.frames);
    this.#wake();
  }

  #end(how: 'end' | 'garbage'): void {
    this.#ended ??= how;
    this.#wake();
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  async next(): Promise<Frame | 'end' | 'garbage'> {
    while (!this.#frames.length && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#frames.shift() ?? this.#ended!;
  }

  async ready(): Promise<Frame> {
    const frame = await this.next();
    if (typeof frame === 'string') throw new Error(`the shim did not boot: ${frame}\n${this.output}`);
    return frame;
  }

  /** What is open in it, but for what whoever runs the tests passes on to every process. */
  descriptors(): number[] {
    const passedOn = readdirSync('/proc/self/fd').filter((fd) => Number(fd) > 3 && !closesOnExec(fd));
    return readdirSync(`/proc/${this.child.pid}/fd`).filter((fd) => !passedOn.includes(fd)).map(Number).sort((a, b) => a - b);
  }

  /** No more requests. */
  end(): void {
    this.#socket.end();
  }

  async close(): Promise<void> {
    const ended = this.child.exitCode !== null || this.child.signalCode !== null ? undefined : new Promise((resolve) => this.child.once('exit', resolve));
    this.#socket.destroy();
    this.child.kill('SIGKILL');
    await ended;
  }
}

function closesOnExec(fd: string): boolean {
  try {
    const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
    return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0;
  } catch {
    return true; // gone: it was readdir's own
  }
}

export function initFrame(fixture: Fixture, overrides: Record<string, string> = {}): Buffer {
  const { manifest, runtime, directory } = fixture;
  const file = manifest.handler ?? runtime.handlers.find((name) => readdirSync(directory).includes(name)) ?? runtime.handlers[0]!;
  const values: Record<string, string> = {
    function: fixture.name, version: '0123456789abcdef', handler: file, symbol: manifest.symbol ?? runtime.symbol,
    memory_bytes: String(128 << 20), timeout_ms: '10000', concurrency: '1', ...overrides,
  };
  for (const [name, value] of Object.entries(manifest.environment ?? {})) values[`env.${name}`] = value;
  for (const name of manifest.secrets ?? []) values[`env.${name}`] = SECRETS[name];
  return encodeFrame(FRAME.init, 0, Object.entries(values).map(([name, value]) => `${name}=${value}\0`).join(''));
}

export function requestFrame(runtime: Runtime, id: number, request: Request = {}): Buffer {
  const { method = 'GET', path = '/', query = '', headers = { host: 'localhost' }, body, binary = false } = request;
  const event = {
    version: '2.0', routeKey: '$default', rawPath: path, rawQueryString: query, headers,
    ...(query === '' ? {} : { queryStringParameters: Object.fromEntries(new URLSearchParams(query)) }),
    requestContext: { http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: headers['user-agent'] ?? '' }, requestId: REQUEST_ID },
  };
  const strings = [method, path, query, '127.0.0.1', REQUEST_ID, ...Object.entries(headers).flat()];
  const meta = runtime.event === 'json' ? JSON.stringify(event) : strings.map((text) => `${text}\0`).join('');
  return encodeFrame(FRAME.request, id, meta, body, binary ? BODY_BINARY : 0, 10_000);
}

function toAnswer(frame: Frame): Answer {
  const strings = splitStrings(frame.meta);
  if (frame.type === FRAME.error) return { kind: 'error', code: FAULT_CODES[frame.aux]!, type: strings[0]!, message: strings[1]!, stack: strings[2]! };
  const headers: [string, string][] = [];
  for (let i = 0; i < strings.length; i += 2) headers.push([strings[i]!, strings[i + 1]!]);
  return { kind: 'response', status: frame.aux, headers, body: frame.body };
}

export async function startDirect(fixture: Fixture): Promise<Target> {
  const shim = new Shim(fixture.runtime, fixture.directory);
  await shim.ready();
  let id = 0;
  let pending: Buffer | undefined = initFrame(fixture);
  const silent = (code: string): Answer => ({ kind: 'error', code, type: '', message: '', stack: '' });
  return {
    async invoke(request) {
      id++;
      const bytes = requestFrame(fixture.runtime, id, request);
      shim.write(pending ? Buffer.concat([pending, bytes]) : bytes); // INIT goes with the first request
      pending = undefined;
      const frame = await shim.next();
      if (typeof frame !== 'string') {
        if (frame.id !== id) throw new Error(`the answer is for ${frame.id}, not for ${id}`);
        return toAnswer(frame);
      }
      if (frame === 'garbage') return silent('function_protocol_error');
      await Promise.race([new Promise((resolve) => shim.child.once('exit', resolve)), new Promise((resolve) => setTimeout(resolve, 200))]);
      return silent(shim.child.signalCode ? 'function_crashed' : shim.child.exitCode !== null ? 'function_exited' : 'function_protocol_error');
    },
    async logs() {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return shim.output;
    },
    close: () => shim.close(),
  };
}
