/**
 * Building: a function that comes as source is compiled at its deployment, in a sandbox like a function's (how is the runtime's affair: "build" in its runtime.json).
 * What was built is kept by the content it was built from, so that deploying the same again builds nothing.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FlashdError } from '../errors/index.ts';
import type { Runtime } from '../runtimes/index.ts';

export type Recipe = NonNullable<Runtime['build']>;
/** Runs the recipe's program on the directory; resolves with the product's bytes. */
export type RunBuild = (directory: string, recipe: Recipe) => Promise<Uint8Array>;

const KEPT_MAX = 64;

export class Builder {
  readonly #directory: string;
  readonly #edition: () => Uint8Array;
  readonly #run: RunBuild;

  /** directory: of what is kept. edition: the programs that build; what others have built is not taken. */
  constructor(directory: string, edition: () => Uint8Array, run: RunBuild) {
    this.#directory = directory;
    this.#edition = edition;
    this.#run = run;
  }

  /** source: what identifies the directory's content. */
  async build(directory: string, source: string, recipe: Recipe): Promise<Uint8Array> {
    const kept = join(this.#directory, createHash('sha256').update(`${source}\n${JSON.stringify(recipe)}\n`).update(this.#edition()).digest('hex'));
    const before = await readFile(kept).catch(() => undefined);
    if (before !== undefined) {
      await utimes(kept, new Date(), new Date());
      return before;
    }
    const product = await this.#run(directory, recipe).catch((error: unknown) => {
      throw explained(error);
    });
    await this.#keep(kept, product);
    return product;
  }

  async #keep(path: string, product: Uint8Array): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    // Whole or not at all, also when two deployments build the same at once.
    const partial = `${path}.${process.hrtime.bigint()}`;
    await writeFile(partial, product);
    await rename(partial, path);
    const ages = await Promise.all((await readdir(this.#directory)).map(async (name) => ({ name, used: (await stat(join(this.#directory, name)).catch(() => undefined))?.mtimeMs ?? 0 })));
    for (const { name } of ages.toSorted((one, other) => other.used - one.used).slice(KEPT_MAX)) await rm(join(this.#directory, name), { force: true });
  }
}

/** The compiler's own words, if it had any. */
function explained(error: unknown): unknown {
  if (!(error instanceof FlashdError) || error.kind === 'capacity') return error;
  const said = error.details?.['stackTrace'];
  const text = Array.isArray(said) ? said.join('\n').trim() : '';
  const message = `the function does not build${text === '' ? `: ${error.message}` : `:\n${text}`}`;
  return new FlashdError('build_failed', { message, details: { ...error.details, cause: error.code }, cause: error });
}
