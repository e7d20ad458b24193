/**
 * A tar stream (gzip too) into an empty directory that is ours alone. The archive is hostile: absolute and upward paths, links that lead
 * out, devices, duplicates and everything above the limits end it with bundle_invalid or bundle_too_large. Modes become 0644 or 0755,
 * owners and times are dropped.
 *
 * Why no entry can leave the directory: a path's parents are made here and are real directories, never links, because links are made last;
 * and a link's target goes up only at its beginning, from a real directory, and not further than the root.
 */
import { chmod, link, mkdir, open, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Parser, type ReadEntry } from 'tar';
import { FlashdError } from '../errors/index.ts';

export type UnpackLimits = { maxBytes: number; maxFiles: number };

const PATH_BYTES_MAX = 1024;
const COMPONENT_BYTES_MAX = 255;

/** Of a bundle: functions' users read it. By chmod, as for files: the umask has a say in what mkdir() gives, and the installed service's gives nobody else anything. */
export async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  await chmod(path, 0o755);
}

export async function unpack(source: AsyncIterable<Uint8Array>, directory: string, limits: UnpackLimits): Promise<void> {
  const target = new Target(directory, limits);
  const parser = new Parser({ strict: true });
  let failure: Error | undefined;
  let current: ReadEntry | undefined;
  let wake: () => void = () => {};
  let work = Promise.resolve();
  const fail = (error: unknown) => {
    failure ??= error instanceof Error ? error : new Error(String(error));
    // Nothing more comes for it: whoever reads it must not wait.
    current?.destroy();
    wake();
  };
  parser.on('entry', (entry: ReadEntry) => {
    work = work.then(async () => {
      if (failure !== undefined) return;
      current = entry;
      await target.add(entry).catch(fail);
      current = undefined;
    });
  });
  parser.on('ignoredEntry', (entry: ReadEntry) =>
    fail(refused(`${entry.path} is of a kind (${entry.type}) that a function cannot contain`)),
  );
  parser.on('error', (error: Error) => fail(refused(`the archive is damaged: ${error.message}`)));
  parser.on('drain', () => wake());
  const ended = new Promise<void>((resolve) => parser.on('end', resolve));
  const woken = () => new Promise<void>((resolve) => (wake = resolve));

  try {
    for await (const chunk of source) {
      const drained = woken();
      if (failure === undefined && !parser.write(Buffer.from(chunk)) && failure === undefined) await drained;
      if (failure !== undefined) break;
    }
    const failed = woken();
    if (failure === undefined) {
      parser.end();
      await Promise.race([ended, failed]);
    }
  } catch (error) {
    fail(error);
  }
  await work;
  if (failure !== undefined) throw failure;
  await target.finish();
}

/** The directory being filled: what stands in it, and how much. */
class Target {
  readonly #directory: string;
  readonly #limits: UnpackLimits;
  readonly #kinds = new Map<string, 'directory' | 'file' | 'link'>([['', 'directory']]);
  readonly #links: { path: string; target: string }[] = [];
  #bytes = 0;

  constructor(directory: string, limits: UnpackLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  async add(entry: ReadEntry): Promise<void> {
    const path = cleanPath(entry.path);
    switch (entry.type) {
      case 'Directory':
      case 'GNUDumpDir':
        await this.#addDirectory(path);
        entry.resume();
        return;
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
        await this.#addFile(path, entry);
        return;
      case 'Link':
        await this.#addHardLink(path, cleanPath(entry.linkpath ?? ''));
        entry.resume();
        return;
      case 'SymbolicLink':
        await this.#claim(path, 'link');
        this.#links.push({ path, target: cleanTarget(path, entry.linkpath ?? '') });
        entry.resume();
        return;
      default:
        throw refused(`${path} is of a kind (${entry.type}) that a function cannot contain`);
    }
  }

  async finish(): Promise<void> {
    for (const { path, target } of this.#links) await symlink(target, join(this.#directory, path));
  }

  async #addDirectory(path: string): Promise<void> {
    if (this.#kinds.get(path) === 'directory') return;
    await this.#claim(path, 'directory');
    await makeDirectory(join(this.#directory, path));
  }

  async #addFile(path: string, entry: ReadEntry): Promise<void> {
    if (this.#bytes + entry.size > this.#limits.maxBytes) throw this.#tooLarge();
    await this.#claim(path, 'file');
    const handle = await open(join(this.#directory, path), 'wx', 0o600);
    // The iterator waits for ever when the entry was destroyed while nobody was waiting on it.
    const refuseDestroyed = () => {
      if (entry.destroyed) throw refused(`the archive breaks off in ${path}`);
    };
    try {
      refuseDestroyed();
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        this.#bytes += chunk.length;
        if (this.#bytes > this.#limits.maxBytes) throw this.#tooLarge();
        await handle.writeFile(chunk);
        refuseDestroyed();
      }
      await handle.chmod(((entry.mode ?? 0) & 0o100) === 0 ? 0o644 : 0o755);
    } finally {
      await handle.close();
    }
  }

  async #addHardLink(path: string, existing: string): Promise<void> {
    if (this.#kinds.get(existing) !== 'file') throw refused(`${path} is a hard link to ${existing}, which is not a file of the archive`);
    await this.#claim(path, 'file');
    await link(join(this.#directory, existing), join(this.#directory, path));
  }

  /** Checks that nothing stands at the path yet, and makes its parents. */
  async #claim(path: string, kind: 'directory' | 'file' | 'link'): Promise<void> {
    if (this.#kinds.has(path)) throw refused(`${path || '.'} is contained twice`);
    const parent = path.includes('/') ? dirname(path) : '';
    const parentKind = this.#kinds.get(parent);
    if (parentKind === undefined) await this.#addDirectory(parent);
    else if (parentKind !== 'directory') throw refused(`${path} lies below ${parent}, which is not a directory`);
    if (this.#kinds.size > this.#limits.maxFiles) {
      throw new FlashdError('bundle_too_large', { message: `the function has more than ${this.#limits.maxFiles} files and directories` });
    }
    this.#kinds.set(path, kind);
  }

  #tooLarge(): FlashdError {
    return new FlashdError('bundle_too_large', { message: `the function has more than ${this.#limits.maxBytes} bytes` });
  }
}

function cleanPath(given: string): string {
  if (given.startsWith('/') || given.includes('\0')) throw refused(`"${given}" is not a relative path`);
  const parts = given.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refused(`"${given}" leads out of the function`);
  const path = parts.join('/');
  if (Buffer.byteLength(path) > PATH_BYTES_MAX || parts.some((part) => Buffer.byteLength(part) > COMPONENT_BYTES_MAX)) {
    throw refused(`"${path.slice(0, 80)}…" is longer than ${PATH_BYTES_MAX} bytes, or has a name of more than ${COMPONENT_BYTES_MAX}`);
  }
  if (path.includes('\uFFFD')) throw refused(`the name "${path}" is not UTF-8`);
  return path;
}

function cleanTarget(path: string, target: string): string {
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const ups = up === -1 ? parts.length : up;
  const depth = path.split('/').length - 1;
  const leadsOut = target.startsWith('/') || target.includes('\0') || target === '' || ups > depth || parts.slice(ups).includes('..');
  if (leadsOut || Buffer.byteLength(target) > PATH_BYTES_MAX) {
    throw refused(`the link ${path} leads to "${target.slice(0, 200)}": a link must be relative and stay inside the function`);
  }
  return target;
}

function refused(message: string): FlashdError {
  return new FlashdError('bundle_invalid', { message });
}
