/**
 * The bundles' directory: bundles/<sha256>/, immutable, each standing there whole or not at all.
 *
 *   archive ─▶ .staging-…/ ─▶ digest, fsync of all ─▶ rename to <sha256>/ ─▶ fsync of bundles/ ─▶ (registry) ─▶ acknowledged
 *   garbage ─▶ rename to .removing-…/ ─▶ removed
 *
 * What a crash leaves is either named with a dot, or a whole bundle that no version refers to: both are garbage at the next start.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { chmod, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError } from '../errors/index.ts';
import { digestDirectory, syncDirectory } from './digest.ts';
import { makeDirectory, unpack, type UnpackLimits } from './unpack.ts';

const CHUNK_BYTES = 256 * 1024;
const DIGEST = /^[0-9a-f]{64}$/;

/** An unpacked archive that is not a bundle yet. Exactly one of keep() and discard() ends it. */
export type StagedBundle = {
  readonly directory: string;
  readonly digest: string;
  /** The same with one file more. */
  add(file: string, bytes: Uint8Array): Promise<StagedBundle>;
  /** The same with what the archive holds in a directory more. */
  unpack(directory: string, archive: Uint8Array): Promise<StagedBundle>;
  /** Durable when it returns. The bundle is pinned until the returned function is called: by then a version has to refer to it. */
  keep(): Promise<() => void>;
  discard(): Promise<void>;
};

export class BundleStore {
  readonly directory: string;
  readonly #limits: UnpackLimits;
  /** Of the versions in the registry; asked at the very moment of a removal. */
  readonly #referenced: () => ReadonlySet<string>;
  readonly #pins = new Map<string, number>();
  readonly #staging = new Set<string>();
  #collecting: Promise<void> | undefined;
  #again = false;

  constructor(directory: string, limits: UnpackLimits, referenced: () => ReadonlySet<string>) {
    this.directory = directory;
    this.#limits = limits;
    this.#referenced = referenced;
    mkdirSync(directory, { recursive: true, mode: 0o755 });
  }

  path(digest: string): string {
    return join(this.directory, digest);
  }

  async receive(source: AsyncIterable<Uint8Array>): Promise<StagedBundle> {
    const name = `.staging-${randomBytes(8).toString('hex')}`;
    const staging = join(this.directory, name);
    this.#staging.add(name);
    const discard = async () => {
      await rm(staging, { recursive: true, force: true });
      this.#staging.delete(name);
    };
    try {
      await makeDirectory(staging);
      await unpack(source, staging, this.#limits);
      return await this.#stage(staging, discard);
    } catch (error) {
      await discard();
      throw error;
    }
  }

  async #stage(staging: string, discard: () => Promise<void>): Promise<StagedBundle> {
    const digest = await digestDirectory(staging, { sync: true });
    const add = async (file: string, bytes: Uint8Array): Promise<StagedBundle> => {
      await writeFile(join(staging, file), bytes, { flag: 'wx', mode: 0o600 });
      await chmod(join(staging, file), 0o644);
      return this.#stage(staging, discard);
    };
    const unpackInto = async (directory: string, archive: Uint8Array): Promise<StagedBundle> => {
      const { bytes, files } = await sizeOf(staging);
      await makeDirectory(join(staging, directory));
      await unpack(chunksOf(archive), join(staging, directory), { maxBytes: this.#limits.maxBytes - bytes, maxFiles: this.#limits.maxFiles - files });
      return this.#stage(staging, discard);
    };
    return { directory: staging, digest, add, unpack: unpackInto, discard, keep: () => this.#keep(staging, digest, discard) };
  }

  /** Keeps a bundle from being collected, as long as instances have it mounted, even when its function is removed. */
  pin(digest: string): () => void {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    let pinned = true;
    return () => {
      if (!pinned) return;
      pinned = false;
      const left = this.#pins.get(digest)! - 1;
      if (left > 0) this.#pins.set(digest, left);
      else this.#pins.delete(digest);
    };
  }

  /** Removes what no version refers to and nobody has pinned. Calls during a run make one more run follow. */
  collectGarbage(): Promise<void> {
    this.#again = true;
    this.#collecting ??= (async () => {
      while (this.#again) {
        this.#again = false;
        await this.#collectOnce();
      }
    })().finally(() => (this.#collecting = undefined));
    return this.#collecting;
  }

  /** Waits for a collection under way: the registry may be closed after it. */
  async close(): Promise<void> {
    await this.#collecting?.catch(() => {});
  }

  /** The bundles that exist. */
  async digests(): Promise<string[]> {
    return (await readdir(this.directory)).filter((name) => DIGEST.test(name));
  }

  async #keep(staging: string, digest: string, discard: () => Promise<void>): Promise<() => void> {
    const unpin = this.pin(digest);
    try {
      if (await exists(this.path(digest))) await discard();
      else {
        await rename(staging, this.path(digest)).catch((error: unknown) => {
          // The same content came in twice at once: the other one stands already.
          if (!isSystemError(error) || (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST')) throw error;
        });
        await discard();
      }
      await syncDirectory(this.directory);
      return unpin;
    } catch (error) {
      unpin();
      throw error;
    }
  }

  async #collectOnce(): Promise<void> {
    const names = await readdir(this.directory);
    const first = this.#referenced();
    for (const name of names) {
      if (DIGEST.test(name)) {
        if (first.has(name) || this.#pins.has(name)) continue;
        // No await between the question and the rename: a deployment of the same content cannot come in between.
        if (this.#referenced().has(name)) continue;
        const removing = `.removing-${randomBytes(8).toString('hex')}`;
        renameSync(this.path(name), join(this.directory, removing));
        await rm(join(this.directory, removing), { recursive: true, force: true });
      } else if (name.startsWith('.removing-') || (name.startsWith('.staging-') && !this.#staging.has(name))) {
        await rm(join(this.directory, name), { recursive: true, force: true });
      }
    }
  }
}

/** What counts towards the limits. */
async function sizeOf(directory: string): Promise<{ bytes: number; files: number }> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(entries.filter((entry) => entry.isFile()).map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size));
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), files: entries.length };
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
