/**
 * Writes the runtimes' pack (its format: native/sandbox/pack.h) out of src/runtimes/<language>/runtime.json and the files that these name.
 * The same inputs give the same bytes: runtimes are in order of name, files in the order of their table.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './steps.ts';

type Runtime = { name: string; argv: string[]; env: Record<string, string>; files: { path: string; from: string; mode: string }[] };

const PACK_VERSION = 1;

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

function packRuntime(runtime: Runtime): Buffer {
  const env = Object.entries(runtime.env).map(([name, value]) => str(`${name}=${value}`));
  const files = runtime.files.map(file => {
    const bytes = readFileSync(join(root, file.from));
    return Buffer.concat([str(file.path), u32(Number.parseInt(file.mode, 8)), u32(bytes.length), bytes]);
  });
  const flags = u32(0);
  return Buffer.concat([
    str(runtime.name), flags,
    u32(runtime.argv.length), ...runtime.argv.map(str),
    u32(env.length), ...env,
    u32(files.length), ...files,
  ]);
}

export function encodePack(): Buffer {
  const folder = join(root, 'src/runtimes');
  const runtimes = readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => JSON.parse(readFileSync(join(folder, entry.name, 'runtime.json'), 'utf8')) as Runtime)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return Buffer.concat([Buffer.from('FLPK'), u32(PACK_VERSION), u32(runtimes.length), ...runtimes.map(packRuntime)]);
}

export function packRuntimes(path: string): void {
  writeFileSync(path, encodePack());
}
