/**
 * Writes the runtimes' pack (its format: native/sandbox/pack.h) out of src/runtimes/<language>/runtime.json and the files that these name.
 * The same inputs give the same bytes: runtimes are in order of name, files in the order of their table.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './steps.ts';

export type Runtime = {
  name: string; event: 'json' | 'http'; argv: string[]; env: Record<string, string>; etc?: string[]; files: { path: string; from: string; mode: string }[];
  warmup?: { handler: string; symbol: string }; keepsProcessId?: boolean; own?: boolean;
};

const PACK_VERSION = 2;
const KEEPS_PID = 1;
const MAY_BE_OWN = 2;
const FRAME_INIT = 1;
const FRAME_REQUEST = 2;
const WARMUP_REQUEST_MS = 1000;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function str(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.includes(0)) throw new Error(`a NUL in ${JSON.stringify(text)}`);
  return Buffer.concat([u32(bytes.length), bytes]);
}

/** One frame of native/include/flashd/frame.h, without body. */
function frame(type: number, id: number, aux: number, meta: Buffer): Buffer {
  const header = Buffer.alloc(32);
  header.writeUInt32LE(meta.length, 0);
  header.writeUInt32LE(meta.length, 4);
  header.writeUInt32LE(id, 8);
  header.writeUInt16LE(type, 12);
  header.writeUInt32LE(aux, 16);
  return Buffer.concat([header, meta]);
}

/** What a template's probe is served (native/sandboxd/probe.c): the runtime's own warm-up handler, called once as a function would be. */
function warmupFrames({ handler, symbol }: { handler: string; symbol: string }, event: Runtime['event']): Buffer {
  const config = ['function=warmup', 'version=0', `handler=${handler}`, `symbol=${symbol}`, 'memory_bytes=134217728', 'timeout_ms=1000', 'concurrency=1'];
  const requestId = '00000000-0000-0000-0000-000000000000';
  const meta = event === 'json'
    ? JSON.stringify({ version: '2.0', routeKey: '$default', rawPath: '/', rawQueryString: '', headers: { host: 'localhost' }, requestContext: { requestId } })
    : ['GET', '/', '', '127.0.0.1', requestId, 'host', 'localhost', ''].join('\0');
  return Buffer.concat([frame(FRAME_INIT, 0, 0, Buffer.from(`${config.join('\0')}\0`)), frame(FRAME_REQUEST, 1, WARMUP_REQUEST_MS, Buffer.from(meta))]);
}

function packFile(path: string, mode: string, bytes: Buffer): Buffer {
  return Buffer.concat([str(path), u32(Number.parseInt(mode, 8)), u32(bytes.length), bytes]);
}

function packRuntime(runtime: Runtime): Buffer {
  const env = Object.entries(runtime.env).map(([name, value]) => str(`${name}=${value}`));
  const files = runtime.files.map(file => packFile(file.path, file.mode, readFileSync(join(root, file.from))));
  if (runtime.warmup) files.push(packFile('warmup.frames', '0644', warmupFrames(runtime.warmup, runtime.event)));
  const flags = u32((runtime.keepsProcessId ? KEEPS_PID : 0) | (runtime.own ? MAY_BE_OWN : 0));
  return Buffer.concat([
    str(runtime.name), flags,
    u32(runtime.argv.length), ...runtime.argv.map(str),
    u32(env.length), ...env,
    u32(runtime.etc?.length ?? 0), ...(runtime.etc ?? []).map(str),
    u32(files.length), ...files,
  ]);
}

/** The folders of those whose shim has to be compiled. */
export function compiledRuntimes(): string[] {
  return readRuntimes().map(({ name }) => join(root, 'src/runtimes', name)).filter(folder => existsSync(join(folder, 'Makefile')));
}

export function readRuntimes(): Runtime[] {
  const folder = join(root, 'src/runtimes');
  return readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => JSON.parse(readFileSync(join(folder, entry.name, 'runtime.json'), 'utf8')) as Runtime)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function encodePack(runtimes: readonly Runtime[] = readRuntimes()): Buffer {
  return Buffer.concat([Buffer.from('FLPK'), u32(PACK_VERSION), u32(runtimes.length), ...runtimes.map(packRuntime)]);
}

export function packRuntimes(path: string): void {
  writeFileSync(path, encodePack());
}
