/**
 * Loads the native addons. In the packaged binary they come out of memory and leave no file behind: our own addon through a nameless
 * file, the others through memfds that our addon makes. The descriptors stay open for the life of the process: glibc
 * recognises a library by its path, so a reused /proc/self/fd/N would silently give the library that was there before.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { assetPath, packaged, readAsset, type AssetName } from './assets.ts';
import type { Addon } from './sandbox/addon.ts';

/** O_TMPFILE of Linux on x86-64 and aarch64's generic value; node:fs does not name it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

const loaded = new Map<AssetName, unknown>();

function load(name: AssetName, pathOf: (name: AssetName) => string): unknown {
  let exports = loaded.get(name);
  if (exports === undefined) {
    const target = { exports: {} as unknown };
    process.dlopen(target, packaged ? pathOf(name) : assetPath(name));
    exports = target.exports;
    loaded.set(name, exports);
  }
  return exports;
}

/** The first place that takes a nameless file and lets it be mapped executable wins: noexec mounts are common. */
function loadFromNamelessFile(name: AssetName): unknown {
  const folders = [...(process.env['RUNTIME_DIRECTORY']?.split(':') ?? []), tmpdir(), '/dev/shm', '/run', '/var/tmp'];
  let failure: unknown;
  for (const folder of folders) {
    try {
      return load(name, () => {
        const bytes = readAsset(name);
        const writable = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700);
        try {
          for (let done = 0; done < bytes.length;) done += writeSync(writable, bytes, done);
          return `/proc/self/fd/${openSync(`/proc/self/fd/${writable}`, constants.O_RDONLY)}`;
        } finally {
          closeSync(writable);
        }
      });
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`no folder among ${folders.join(', ')} can hold the native addon`, { cause: failure });
}

function loadFromMemory(name: AssetName): unknown {
  return load(name, () => `/proc/self/fd/${loadAddon().memfd(name, readAsset(name))}`);
}

export function loadAddon(): Addon {
  return loadFromNamelessFile('flashd.node') as Addon;
}

/** What better-sqlite3 takes as its option `nativeBinding`. */
export function loadSqlite(): object {
  return loadFromMemory('better_sqlite3.node') as object;
}

/** The exports of uWebSockets.js; the bundle's module of that name is made of them (build/uws-shim.cjs). */
export function loadUws(): unknown {
  return loadFromMemory('uws.node');
}
