/** esbuild: src/main.ts and all it imports → one CommonJS file, the only form that a single-executable application of Node 22 can start. */
import { join } from 'node:path';
import { build } from 'esbuild';
import { out, root } from './steps.ts';

export const bundlePath = join(out, 'main.cjs');

export async function bundle(): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    outfile: bundlePath,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    keepNames: true,
    preserveSymlinks: true,
    legalComments: 'none',
    logLevel: 'silent',
    define: { 'import.meta.dirname': '__dirname' },
    alias: { 'uWebSockets.js': join(root, 'build/uws-shim.cjs') },
  });
}
