/**
 * The table of runtimes, read from src/runtimes/<name>/runtime.json: all that the TypeScript side knows of a language.
 * A new language is its folder and its line here; a test compares the two.
 */
import java from './java/runtime.json' with { type: 'json' };
import javaG1 from './java-g1/runtime.json' with { type: 'json' };
import native from './native/runtime.json' with { type: 'json' };
import node from './node/runtime.json' with { type: 'json' };
import perl from './perl/runtime.json' with { type: 'json' };
import php from './php/runtime.json' with { type: 'json' };
import python from './python/runtime.json' with { type: 'json' };
import ruby from './ruby/runtime.json' with { type: 'json' };

export type Build = {
  readonly sources: readonly string[];
  readonly product: string;
  readonly program: string;
  readonly timeoutMs: number;
  readonly memoryMb: number;
  readonly again?: boolean;
  /** Of its writable files. */
  readonly tmpMb?: number;
  /** The product is a directory, stdout an archive of it; it stands beside the handler that the function has. */
  readonly unpacks?: boolean;
  /** It may connect to what buildEgress in the configuration permits, unless the function has a directory of the name `vendored`. */
  readonly network?: boolean;
  readonly vendored?: string;
};

export type Runtime = {
  readonly name: string;
  readonly description: string;
  /** What REQUEST.meta is (native/include/flashd/frame.h): the Lambda event as JSON, or the bare HTTP request. */
  readonly event: 'json' | 'http';
  /**
   * Names of handler files in the order of preference; one `*` stands for anything. A function directory with one of them is of this
   * runtime.
   */
  readonly handlers: readonly string[];
  /** The entry point inside the handler when function.json names none. */
  readonly symbol: string;
  readonly argv: readonly string[];
  /** Its program is the one that flashd is packaged with: the packaged binary can stand in for it. */
  readonly own?: boolean;
  readonly env: Readonly<Record<string, string>>;
  /** What is packed for it: where the file stands under /opt/flashd/<name>/, where it comes from in this repository. */
  readonly files: readonly { readonly path: string; readonly from: string; readonly mode: string }[];
  /**
   * How a function that has no handler but a file of one of these names gets one: the program (a path as in `handler`) runs under the native runtime with the function's directory
   * on /function, and what it writes to stdout becomes the product. again: a function that has a handler may ask for it too ("bundle" in function.json).
   */
  readonly build?: Build;
  /** Its forks have the process id of their template, because it remembers it; in a process table that is shared they cannot. */
  readonly keepsProcessId?: boolean;
  /** false: only for functions that name it. */
  readonly detected?: boolean;
  /** The most requests that one instance can work on at a time. */
  readonly maxConcurrency: number;
};

const described = [python, node, java, javaG1, native, perl, php, ruby] as readonly unknown[] as readonly Runtime[];

export const RUNTIMES: ReadonlyMap<string, Runtime> = new Map(described.map((runtime) => [runtime.name, runtime]));

/** Whether the file is a handler as this runtime names them. */
export function isHandlerOf(runtime: Runtime, fileName: string): boolean {
  return runtime.handlers.some((pattern) => matches(pattern, fileName));
}

export function matches(pattern: string, fileName: string): boolean {
  const star = pattern.indexOf('*');
  if (star === -1) return pattern === fileName;
  const [before, after] = [pattern.slice(0, star), pattern.slice(star + 1)];
  return fileName.length >= before.length + after.length && fileName.startsWith(before) && fileName.endsWith(after);
}
