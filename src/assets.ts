/**
 * The files that travel inside the packaged binary: by name, from the binary when packaged, else from the tree they are built in.
 * The packager embeds exactly this table.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';

/** Name → path below the project's root. */
export const assetFiles = {
  'sandboxd': 'build/out/native/sandboxd',
  'flashd.node': 'build/out/native/flashd.node',
  'better_sqlite3.node': 'node_modules/better-sqlite3/prebuilds/linux-x64.node',
  'uws.node': 'node_modules/uWebSockets.js/dist/bin/uws_linux_x64_127.node',
  'runtimes.pack': 'build/out/runtimes.pack',
  'flashd.h': 'src/runtimes/native/flashd.h',
  'flashd.service': 'systemd/flashd.service',
  'flashd.sysusers': 'systemd/flashd.sysusers',
  'flashd.tmpfiles': 'systemd/flashd.tmpfiles',
} as const;
export type AssetName = keyof typeof assetFiles;

export const packaged: boolean = isSea();

/** Read-only: in the packaged binary these bytes are mapped from the executable, and writing to them is a fault. */
export function readAsset(name: AssetName): Uint8Array {
  return packaged ? new Uint8Array(getRawAsset(name) as ArrayBuffer) : readFileSync(assetPath(name));
}

/** Where an asset stands on disk; only when run from the source tree. */
export function assetPath(name: AssetName): string {
  return join(import.meta.dirname, '..', assetFiles[name]);
}
