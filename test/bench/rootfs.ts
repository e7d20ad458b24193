/**
 * The hello functions as programs, and the root filesystem that they have in every sandbox of another system: the host's interpreters with what they load, at the host's paths, with the host's
 * timestamps. Nothing is downloaded.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { root, run } from '../../build/steps.ts';
import { LANGUAGES, type Language } from './series.ts';

const source = join(import.meta.dirname, 'programs');

/** Where flashd looks for it, too. */
export const interpreter = (name: string): string => ['/usr/local/bin', '/usr/bin', '/bin'].map(folder => join(folder, name)).find(path => existsSync(path)) ?? join('/usr/bin', name);

type Program = {
  /** As its user would type it, absolute; what is in /function is made by makeRootfs. */
  readonly command: readonly string[];
  /** Of functions/hello-LANGUAGE, and of programs. */
  readonly handler?: string;
  readonly main?: string;
  /** Directories that the interpreter loads from, beside the libraries it is linked with. */
  trees?(): readonly string[];
};

/** The version is in the path, if anywhere: /usr/lib/php/20220829. */
const found = (...paths: readonly string[]): string[] => paths.filter(path => existsSync(path));
const home = (): string => dirname(dirname(realpathSync(interpreter('java'))));

const PROGRAMS: Readonly<Record<Language, Program>> = {
  python: { command: ['/usr/bin/python3', '-I', '-B', '/function/main.py'], handler: 'handler.py', main: 'main.py', trees: () => [join('/usr/lib', basename(realpathSync('/usr/bin/python3')))] },
  c: { command: ['/function/hello'] },
  node: { command: [interpreter('node'), '/function/main.mjs'], handler: 'index.mjs', main: 'main.mjs', trees: () => found('/usr/share/nodejs') },
  java: { command: [interpreter('java'), '-cp', '/function/classes', 'Main'], trees: () => [home()] },
  ruby: { command: [interpreter('ruby'), '/function/main.rb'], handler: 'handler.rb', main: 'main.rb', trees: () => found('/usr/lib/ruby', '/usr/lib/x86_64-linux-gnu/ruby', '/usr/share/rubygems-integration') },
  php: { command: [interpreter('php'), '/function/main.php'], handler: 'handler.php', main: 'main.php', trees: () => found('/usr/lib/php', '/usr/share/php', '/etc/php') },
  perl: { command: [interpreter('perl'), '/function/main.pl'], handler: 'handler.pl', main: 'main.pl', trees: () => perlPaths() },
};
export const COMMANDS = Object.fromEntries(LANGUAGES.map(language => [language, PROGRAMS[language].command])) as Readonly<Record<Language, readonly string[]>>;

/**
 * With other timestamps Python would take its compiled modules for stale, and compile each at every start; so would Java its archive of classes. Neither static libraries nor test suites, documentation
 * and modules for other images are of use to a program; Debian's sitecustomize would point out of the root filesystem.
 */
const NEEDLESS = /\/(config-[^/]*|test|sitecustomize\.py|jmods|docs|legal|man|include|src\.zip)$/;

export async function makeRootfs(rootfs: string): Promise<void> {
  for (const folder of ['usr/bin', 'usr/lib/x86_64-linux-gnu', 'usr/lib64', 'function/classes', 'proc', 'sys', 'dev', 'tmp', 'etc', 'run']) mkdirSync(join(rootfs, folder), { recursive: true });
  symlinkSync('usr/lib', join(rootfs, 'lib'));
  symlinkSync('usr/lib64', join(rootfs, 'lib64'));
  cpSync(realpathSync('/lib64/ld-linux-x86-64.so.2'), join(rootfs, 'usr/lib64/ld-linux-x86-64.so.2'));
  for (const language of LANGUAGES) {
    const { command, handler, main, trees } = PROGRAMS[language];
    const copied = trees?.() ?? [];
    for (const tree of copied) copyTree(tree, rootfs);
    if (!command[0]!.startsWith('/function/')) copyInterpreter(command[0]!, rootfs, copied);
    if (handler !== undefined) cpSync(join(root, `functions/hello-${language}`, handler), join(rootfs, 'function', handler));
    if (main !== undefined) cpSync(join(source, main), join(rootfs, 'function', main));
  }
  await run('gcc', ['-O2', '-o', join(rootfs, 'function/hello'), join(source, 'hello.c')]);
  await run('javac', [
    '-proc:none', '-d', join(rootfs, 'function/classes'), '-sourcepath', join(root, 'src/runtimes/java'), join(root, 'functions/hello-java/Handler.java'), join(source, 'Main.java'),
  ]);
}

/** Links become what they lead to; the few that lead nowhere are left out. */
function copyTree(tree: string, rootfs: string): void {
  cpSync(realpathSync(tree), join(rootfs, tree), { recursive: true, preserveTimestamps: true, dereference: true, filter: path => !NEEDLESS.test(path) && existsSync(path) });
}

/** With the libraries that it and its extensions are linked with, except those that came along. */
function copyInterpreter(path: string, rootfs: string, trees: readonly string[]): void {
  const real = realpathSync(path);
  if (!existsSync(join(rootfs, real))) {
    mkdirSync(dirname(join(rootfs, real)), { recursive: true });
    cpSync(real, join(rootfs, real));
  }
  if (real !== path) {
    mkdirSync(dirname(join(rootfs, path)), { recursive: true });
    symlinkSync(real, join(rootfs, path));
  }
  const extensions = trees.flatMap(tree => readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.so')).map(name => join(tree, name)));
  const libraries = execFileSync('ldd', [real, ...extensions], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 64 << 20 }).matchAll(/=> (\/\S+)/g);
  for (const library of new Set([...libraries].map(([, file]) => file!))) {
    const to = join(rootfs, 'usr/lib/x86_64-linux-gnu', basename(library));
    if (!existsSync(to) && !trees.some(tree => library.startsWith(`${tree}/`))) cpSync(realpathSync(library), to);
  }
}

/** Where this Perl looks, as far as Debian's own packages fill it. */
function perlPaths(): string[] {
  const paths = execFileSync(interpreter('perl'), ['-e', 'print join "\\n", @INC'], { encoding: 'utf8' }).split('\n');
  return paths.filter(path => /^\/usr\/(lib|share)\/.*perl(-base|\/)/.test(path) && existsSync(path));
}
