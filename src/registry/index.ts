/**
 * The registry: which functions exist, in which versions, and which one is live. The hot path reads one in-memory map; every change goes to
 * the store first and is durable when the call returns, then the map changes, then the listeners hear of it.
 */
import { join } from 'node:path';
import type { FunctionSummary, NewVersion, RegistryStore, VersionRecord } from './store.ts';

export type { FunctionSummary, NewVersion, RegistryStore } from './store.ts';
export { SqliteStore } from './sqlite.ts';

export type Version = VersionRecord & {
  /** The bundle's directory on this machine. */
  readonly bundlePath: string;
};

export interface Registry {
  /** FAST PATH: the same frozen object until the live version changes. */
  live(name: string): Version | undefined;
  /** The live version of every function. */
  allLive(): Iterable<Version>;
  list(): FunctionSummary[];
  /** What was live last comes first. */
  versions(name: string): Version[];
  publish(version: NewVersion): Version;
  rollback(name: string, to?: string): Version;
  remove(name: string): void;
  /** Called after the live version of a function has changed or the function is gone. Returns the way to stop listening. */
  onChange(listener: (name: string) => void): () => void;
  digests(): Set<string>;
  close(): void;
}

export type RegistryOptions = { bundlesDir: string; keepVersions: number; maxFunctions: number };

export class LiveRegistry implements Registry {
  readonly #store: RegistryStore;
  readonly #options: RegistryOptions;
  readonly #live = new Map<string, Version>();
  readonly #listeners = new Set<(name: string) => void>();

  /** Takes the store over: close() closes it. */
  constructor(store: RegistryStore, options: RegistryOptions) {
    this.#store = store;
    this.#options = options;
    for (const version of store.live()) this.#live.set(version.functionName, this.#located(version));
  }

  live(name: string): Version | undefined {
    return this.#live.get(name);
  }

  allLive(): Iterable<Version> {
    return this.#live.values();
  }

  list(): FunctionSummary[] {
    return this.#store.list();
  }

  versions(name: string): Version[] {
    return this.#store.versions(name).map((version) => this.#located(version));
  }

  publish(version: NewVersion): Version {
    return this.#switch(this.#store.publish(version, { keep: this.#options.keepVersions, maxFunctions: this.#options.maxFunctions }));
  }

  rollback(name: string, to?: string): Version {
    return this.#switch(this.#store.rollback(name, to));
  }

  remove(name: string): void {
    this.#store.remove(name);
    this.#live.delete(name);
    this.#tell(name);
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  digests(): Set<string> {
    return this.#store.digests();
  }

  close(): void {
    this.#listeners.clear();
    this.#store.close();
  }

  #switch(next: VersionRecord): Version {
    const current = this.#live.get(next.functionName);
    if (current?.version === next.version) return current;
    const version = this.#located(next);
    this.#live.set(version.functionName, version);
    this.#tell(version.functionName);
    return version;
  }

  #tell(name: string): void {
    for (const listener of this.#listeners) listener(name);
  }

  #located(version: VersionRecord): Version {
    return Object.freeze({
      ...version,
      manifest: Object.freeze(version.manifest),
      bundlePath: join(this.#options.bundlesDir, version.digest),
    });
  }
}
