/**
 * Fixture directories ready to deploy: a copy per test under a temporary directory, with handler.c compiled as an author would do it.
 * A fixture is test/conformance/fixtures/<language>/<case>; the language "executable" is any program under the native runtime.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RUNTIMES, type Runtime } from '../../src/runtimes/index.ts';

export const root = join(import.meta.dirname, '../..');
const source = join(import.meta.dirname, 'fixtures');

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

export function compileHandler(directory: string): void {
  if (existsSync(join(directory, 'Handler.java'))) {
    const shim = join(root, 'build/out/java/flashd.jar');
    execFileSync('javac', ['-J-XX:TieredStopAtLevel=1', '-J-XX:+UseSerialGC', '-g', '-proc:none', '-cp', shim, '-sourcepath', directory, '-d', directory, join(directory, 'Handler.java')]);
  }
  if (!existsSync(join(directory, 'handler.c'))) return;
  const include = join(root, 'src/runtimes/native');
  execFileSync('gcc', ['-O1', '-Wall', '-Wextra', '-shared', '-fPIC', '-I', include, '-o', join(directory, 'handler.so'), join(directory, 'handler.c')]);
}

export function prepareFixture(language: Language, name: string): Fixture {
  const parent = mkdtempSync(join(tmpdir(), 'flashd-fixture-'));
  chmodSync(parent, 0o755); // the instance is not root
  const directory = join(parent, `${language}-${name}`);
  cpSync(join(source, language, name), directory, { recursive: true });
  compileHandler(directory);
  const manifestPath = join(directory, 'function.json');
  const manifest = existsSync(manifestPath) ? (JSON.parse(readFileSync(manifestPath, 'utf8')) as Manifest) : {};
  return { name: `${language}-${name}`, directory, runtime: runtimeOf(language), manifest, remove: () => rmSync(parent, { recursive: true, force: true }) };
}
