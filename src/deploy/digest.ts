/**
 * A bundle's identity: sha256 over the sorted paths of a directory with each one's kind, mode and content. Times, owners and the order of
 * the archive do not count.
 *
 * "flashd-bundle-1\0", then per path in byte order:  kind ("d" | "f" | "x" executable | "l") path "\0" sha256 of the content, or a link's
 * target "\0"
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

const PARALLEL = 8;
const CHUNK_BYTES = 256 * 1024;

type Item = { path: string; kind: 'd' | 'f' | 'x' | 'l'; content: string };

/** With `sync` every file and directory is also made durable: after that a rename of the directory publishes it whole. */
export async function digestDirectory(directory: string, options: { sync: boolean }): Promise<string> {
  const items: Item[] = [];
  const files: string[] = [];
  const directories: string[] = [''];
  for (let at = 0; at < directories.length; at++) {
    const parent = directories[at]!;
    for (const entry of await readdir(join(directory, parent), { withFileTypes: true })) {
      const path = parent === '' ? entry.name : `${parent}/${entry.name}`;
      if (entry.isDirectory()) {
        directories.push(path);
        items.push({ path, kind: 'd', content: '' });
      } else if (entry.isSymbolicLink()) {
        items.push({ path, kind: 'l', content: await readlink(join(directory, path)) });
      } else files.push(path);
    }
  }
  const take = files.values();
  const worker = async () => {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (const path of take) items.push(await digestFile(directory, path, buffer, options.sync));
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  if (options.sync) for (const path of directories.reverse()) await syncDirectory(join(directory, path));

  items.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const hash = createHash('sha256').update('flashd-bundle-1\0');
  for (const item of items) hash.update(`${item.kind}${item.path}\0${item.content}\0`);
  return hash.digest('hex');
}

async function digestFile(directory: string, path: string, buffer: Buffer, sync: boolean): Promise<Item> {
  const handle = await open(join(directory, path), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { mode } = await handle.stat();
    const hash = createHash('sha256');
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
    }
    if (sync) await handle.sync();
    return { path, kind: (mode & 0o100) === 0 ? 'f' : 'x', content: hash.digest('hex') };
  } finally {
    await handle.close();
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
