/** The example functions, made ready to deploy as their authors would do it: packages installed, jars fetched, C compiled beside its source. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root, run, step } from './steps.ts';

const INTERFACE = 'src/runtimes/native';
const MAVEN_CENTRAL = 'https://repo1.maven.org/maven2';
const DOWNLOAD_MS = 60_000;

export function functionDirectories(): string[] {
  return readdirSync(join(root, 'functions'), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => join('functions', entry.name))
    .sort();
}

/** What to type to see a function of ours work, from the project's directory: the first such line in the comment at its handler's head, or a plain request. */
export function exampleOf(directory: string, listen: string): string {
  const texts = readdirSync(join(root, directory), { withFileTypes: true }).filter(entry => entry.isFile()).map(entry => readFileSync(join(root, directory, entry.name), 'latin1'));
  const lines = texts.flatMap(text => /^[\s*]*((?:printf .* \| )?curl .*)$/m.exec(text)?.[1] ?? []);
  return (lines[0] ?? `curl http://127.0.0.1:8080/function/${basename(directory)}`).replace('127.0.0.1:8080', listen);
}

export async function prepareFunctions(): Promise<void> {
  for (const directory of functionDirectories()) {
    if (existsSync(join(root, directory, 'package-lock.json')) && !isNewer(join(root, directory, 'node_modules/.package-lock.json'), join(root, directory, 'package-lock.json'))) {
      await step(`build: install the packages of ${directory}`, () => run('npm', ['ci', '--prefix', directory, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']));
    }
    await fetchJars(directory);
    const source = join(root, directory, 'handler.c');
    const library = join(root, directory, 'handler.so');
    if (!existsSync(source) || isNewer(library, source)) continue;
    await step(`build: compile ${directory}/handler.c`, () => run('gcc', ['-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', INTERFACE, '-o', library, source]));
  }
}

/** jars.txt has a line for each, as sha256sum writes it, with the jar's path in Maven Central; it is put into lib. */
async function fetchJars(directory: string): Promise<void> {
  const list = join(root, directory, 'jars.txt');
  if (!existsSync(list)) return;
  for (const line of readFileSync(list, 'utf8').trim().split('\n')) {
    const [wanted, path] = line.split('  ') as [string, string];
    const file = join(root, directory, 'lib', basename(path));
    if (existsSync(file) && sha256(readFileSync(file)) === wanted) continue;
    await step(`build: fetch ${basename(path)} for ${directory}`, async () => {
      const response = await fetch(`${MAVEN_CENTRAL}/${path}`, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
      if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      if (sha256(bytes) !== wanted) throw new Error(`${response.url} has the checksum ${sha256(bytes)}, not ${wanted}`);
      mkdirSync(join(root, directory, 'lib'), { recursive: true });
      writeFileSync(file, bytes);
    });
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function isNewer(made: string, source: string): boolean {
  return existsSync(made) && statSync(made).mtimeMs > statSync(source).mtimeMs;
}
