/**
 * The CLI's half: a function directory as a tar stream. What only the version control system or the language's cache put there stays out.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { create } from 'tar';

const LEFT_OUT = new Set(['.git', '.hg', '.svn', '.DS_Store', '__pycache__']);

export type Archive = {
  readonly stream: AsyncIterable<Uint8Array>;
  /** What the files hold together, for showing progress. */
  readonly bytes: number;
};

export async function packDirectory(directory: string): Promise<Archive> {
  const bytes = await sizeOf(directory);
  const stream = create({ cwd: directory, portable: true, noMtime: true, filter: (path) => !LEFT_OUT.has(basename(path)) }, ['.']);
  return { stream: stream as AsyncIterable<Uint8Array>, bytes };
}

async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (LEFT_OUT.has(entry.name)) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) bytes += await sizeOf(path);
    else if (entry.isFile()) bytes += (await stat(path)).size;
  }
  return bytes;
}
