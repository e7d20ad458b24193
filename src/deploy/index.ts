/**
 * Deploying: an archive becomes a version, and the version becomes live. Acknowledged means durable: first the bundle, then the registry's
 * commit. Rollback and removal stand here too, since bundles become garbage by them.
 */
import { createHash } from 'node:crypto';
import type { FunctionDefaults } from '../config/index.ts';
import type { Registry, Version } from '../registry/index.ts';
import type { Builder } from './build.ts';
import type { BundleStore } from './bundle-store.ts';
import { checkFunctionName } from './function-name.ts';
import { readManifest, type Manifest } from './manifest.ts';

export { Builder, type Recipe } from './build.ts';
export { BundleStore } from './bundle-store.ts';
export { checkFunctionName, isFunctionName } from './function-name.ts';
export { MANIFEST_FILE, bandwidthOf, egressOf, interceptionOf, readManifest, type Bandwidth, type Manifest } from './manifest.ts';

export type Deployment = {
  readonly version: Version;
  /** What was live before; undefined for a new function. */
  readonly previous: string | undefined;
  /** False when exactly this was live already. */
  readonly changed: boolean;
};

export class Deployer {
  readonly #registry: Registry;
  readonly #bundles: BundleStore;
  readonly #builder: Builder;
  readonly #defaults: FunctionDefaults;
  readonly #onGarbageError: (error: unknown) => void;
  readonly #admit: (manifest: Manifest) => void;

  /** admit: throws when this machine, or its operator, does not give the function what it asks for. */
  constructor(registry: Registry, bundles: BundleStore, builder: Builder, defaults: FunctionDefaults, onGarbageError: (error: unknown) => void, admit: (manifest: Manifest) => void = () => {}) {
    this.#registry = registry;
    this.#bundles = bundles;
    this.#builder = builder;
    this.#defaults = defaults;
    this.#onGarbageError = onGarbageError;
    this.#admit = admit;
  }

  async deploy(name: string, archive: AsyncIterable<Uint8Array>): Promise<Deployment> {
    checkFunctionName(name);
    let staged = await this.#bundles.receive(archive);
    let manifest: Manifest;
    try {
      const read = await readManifest(staged.directory, this.#defaults);
      manifest = read.manifest;
      this.#admit(manifest);
      if (read.unbuilt !== undefined) {
        const { recipe } = read.unbuilt;
        const product = await this.#builder.build(staged.directory, staged.digest, recipe);
        staged = await (recipe.unpacks === true ? staged.unpack(recipe.product, product) : staged.add(recipe.product, product));
      }
    } catch (error) {
      await staged.discard();
      throw error;
    }
    const unpin = await staged.keep();
    try {
      const previous = this.#registry.live(name)?.version;
      const version = this.#registry.publish({
        functionName: name,
        version: versionOf(staged.digest, manifest),
        digest: staged.digest,
        manifest,
      });
      return { version, previous, changed: previous !== version.version };
    } finally {
      unpin();
      this.collectGarbage();
    }
  }

  rollback(name: string, to?: string): Deployment {
    checkFunctionName(name);
    const previous = this.#registry.live(name)?.version;
    const version = this.#registry.rollback(name, to);
    return { version, previous, changed: previous !== version.version };
  }

  remove(name: string): void {
    this.#registry.remove(checkFunctionName(name));
    this.collectGarbage();
  }

  /** Before the registry is closed. */
  async close(): Promise<void> {
    await this.#bundles.close();
  }

  /** In the background; also called at start. */
  collectGarbage(): void {
    this.#bundles.collectGarbage().catch(this.#onGarbageError);
  }
}

export function versionOf(digest: string, manifest: Manifest): string {
  return createHash('sha256')
    .update(`${digest}\n${canonicalJson(manifest)}`)
    .digest('hex')
    .slice(0, 16);
}

/** Keys sorted at every depth, so that equal values are equal texts. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
