/**
 * Fixture directories ready to deploy: a copy per test under a temporary directory, with handler.c and Handler.java compiled as an author would do it.
 * A fixture is test/conformance/fixtures/<language>/<case>; the language "executable" is any program under the native runtime.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RUNTIMES, type Runtime } from '../../src/runtimes/index.ts';

export const root = join(import.meta.dirname, '../..');
const source = join(import.meta.dirname, 'fixtures');
const compiled = join(root, 'build/out/fixtures');
const SHIM = join(root, 'build/out/java/flashd.jar');
const INTERFACE = join(root, 'src/runtimes/native');

/** A runtime's name, or "executable". */
export type Language = string;
export const LANGUAGES: readonly Language[] = readdirSync(source).sort();
/** Whether handlers take Lambda's event and context. */
export const isLambda = (language: Language): boolean => runtimeOf(language).event === 'json';

/** The values of the secrets that fixtures name. */
export const SECRETS = { TOKEN: 'pass = wörd\nof two lines' };
export type Manifest = { handler?: string; symbol?: string; environment?: Record<string, string>; secrets?: (keyof typeof SECRETS)[]; timeoutMs?: number };
export type Fixture = { name: string; directory: string; runtime: Runtime; manifest: Manifest; remove(): void };

export function runtimeOf(language: Language): Runtime {
  return RUNTIMES.get(language === 'executable' ? 'native' : language)!;
}

export function hasFixture(language: Language, name: string): boolean {
  return existsSync(join(source, language, name));
}

export function fixtureNames(language: Language): string[] {
  return readdirSync(join(source, language));
}

/** What was compiled from the directory's sources, by whichever suite asked first. */
function productsOf(directory: string): string {
  const hash = createHash('sha256').update(readFileSync(import.meta.filename)).update(readFileSync(SHIM)).update(readFileSync(join(INTERFACE, 'flashd.h')));
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) if (/\.(c|h|java)$/.test(file)) hash.update(`${file}\0`).update(readFileSync(join(directory, file)));
  return join(compiled, hash.digest('hex').slice(0, 16));
}

/** Compiles as an author would do it. Java's all at once: starting its compiler takes longer than compiling. */
function compile(directories: readonly string[]): void {
  const missing = [...new Map(directories.map((from) => [productsOf(from), from]))].map(([to, from]) => ({ from, to })).filter(({ to }) => !existsSync(to));
  if (missing.length === 0) return;
  mkdirSync(compiled, { recursive: true });
  const made = missing.map((each) => ({ ...each, part: mkdtempSync(`${each.to}.`) }));
  const java = made.filter(({ from }) => existsSync(join(from, 'Handler.java')));
  if (java.length > 0) execFileSync('java', ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', join(import.meta.dirname, 'Compile.java'), SHIM, ...java.flatMap(({ from, part }) => [from, part])], { stdio: 'pipe' });
  for (const { from, to, part } of made) {
    if (existsSync(join(from, 'handler.c'))) execFileSync('gcc', ['-O1', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', INTERFACE, '-o', join(part, 'handler.so'), join(from, 'handler.c')]);
    try {
      renameSync(part, to);
    } catch {
      rmSync(part, { recursive: true }); // another suite was faster
    }
  }
}

const hasSource = (directory: string): boolean => ['handler.c', 'Handler.java'].some((file) => existsSync(join(directory, file)));

/** Adds what its sources are compiled to. others: what else is compiled when that has not been done before. */
export function compileHandler(directory: string, others: () => readonly string[] = () => []): void {
  if (!hasSource(directory)) return;
  const products = productsOf(directory);
  if (!existsSync(products)) compile([directory, ...others()]);
  cpSync(products, directory, { recursive: true });
}

function fixturesWithSource(): string[] {
  return LANGUAGES.flatMap((language) => fixtureNames(language).map((name) => join(source, language, name))).filter(hasSource);
}

/** All that have not been compiled before. */
export function compileFixtures(): void {
  compile(fixturesWithSource());
}

export function prepareFixture(language: Language, name: string): Fixture {
  const parent = mkdtempSync(join(tmpdir(), 'flashd-fixture-'));
  chmodSync(parent, 0o755); // the instance is not root
  const directory = join(parent, `${language}-${name}`);
  cpSync(join(source, language, name), directory, { recursive: true });
  compileHandler(directory, fixturesWithSource);
  const manifestPath = join(directory, 'function.json');
  const manifest = existsSync(manifestPath) ? (JSON.parse(readFileSync(manifestPath, 'utf8')) as Manifest) : {};
  return { name: `${language}-${name}`, directory, runtime: runtimeOf(language), manifest, remove: () => rmSync(parent, { recursive: true, force: true }) };
}
