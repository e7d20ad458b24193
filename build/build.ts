/** Builds what is out of date: native → runtimes' shims and their pack → bundle → package. Started by build/run, which has set the machine up. */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { bundle } from './bundle.ts';
import { compiledRuntimes, packRuntimes } from './pack-runtimes.ts';
import { packageBinary } from './package.ts';
import { cache, out, run, script, step } from './steps.ts';

await script(async () => {
  mkdirSync(out, { recursive: true });
  mkdirSync(cache, { recursive: true });
  await step('build: compile sandboxd, the addon and the native host', () => run('make', ['-C', 'native', '-s', `-j${availableParallelism()}`, 'all']));
  for (const folder of compiledRuntimes()) await step(`build: compile the shim of ${basename(folder)}`, () => run('make', ['-C', folder, '-s', `OUT=${join(out, basename(folder))}`]));
  packRuntimes(join(out, 'runtimes.pack'));
  await step('build: bundle the TypeScript', bundle);
  await packageBinary();
});
