/** The example functions, made ready to deploy as their authors would do it: packages installed, C compiled beside its source. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, step } from './steps.ts';

const INTERFACE = 'src/runtimes/native';

export function functionDirectories(): string[] {
  return readdirSync(join(root, 'functions'), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => join('functions', entry.name))
    .sort();
}

export async function prepareFunctions(): Promise<void> {
  for (const directory of functionDirectories()) {
    if (existsSync(join(root, directory, 'package-lock.json')) && !isNewer(join(root, directory, 'node_modules/.package-lock.json'), join(root, directory, 'package-lock.json'))) {
      await step(`build: install the packages of ${directory}`, () => run('npm', ['ci', '--prefix', directory, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']));
    }
    const source = join(root, directory, 'handler.c');
    const library = join(root, directory, 'handler.so');
    if (!existsSync(source) || isNewer(library, source)) continue;
    await step(`build: compile ${directory}/handler.c`, () => run('gcc', ['-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', INTERFACE, '-o', library, source]));
  }
}

function isNewer(made: string, source: string): boolean {
  return existsSync(made) && statSync(made).mtimeMs > statSync(source).mtimeMs;
}
