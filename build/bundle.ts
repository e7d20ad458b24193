/** esbuild: src/main.ts and all it imports → one CommonJS file, the only form that a single-executable application of Node 22 can start. */
import { join } from 'node:path';
import type { Ajv, ValidateFunction } from 'ajv';
import standalone from 'ajv/dist/standalone/index.js';
import { build, type Plugin } from 'esbuild';
import { out, root } from './steps.ts';

export const bundlePath = join(out, 'main.cjs');

/** A *.validator.ts compiles a schema when it is imported: here it becomes the code that comes out of it, and the compiler stays outside. */
const compiledValidators: Plugin = {
  name: 'compiled-validators',
  setup({ onLoad }) {
    onLoad({ filter: /\.validator\.ts$/ }, async ({ path }) => {
      const { ajv, default: validate } = (await import(path)) as { ajv: Ajv; default: ValidateFunction };
      return { contents: standalone.default(ajv, validate), loader: 'js', resolveDir: root };
    });
  },
};

export async function bundle(entry = 'src/main.ts', outfile = bundlePath): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
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
    plugins: [compiledValidators],
  });
}
