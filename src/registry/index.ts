/**
 * The registry: which functions exist, in which versions, and which one is live. The hot path reads one in-memory map; every change goes to
 * the store first and is durable when the call returns, then the map changes, then the listeners hear of it.
 */
import { join } from 'node:path';
import { FlashdError } from '../errors/index.ts';
import { Credentials, type CredentialSummary } from './credentials.ts';
import { SecretVault } from './secrets.ts';
import type { FunctionSummary, NewVersion, RegistryStore, SecretSummary, VersionRecord } from './store.ts';

export type { CredentialSummary } from './credentials.ts';
export { SECRET_BYTES_MAX } from './secrets.ts';
export type { FunctionSummary, NewVersion, RegistryStore, SecretSummary } from './store.ts';
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
  /** Of a deployed function, by name; never their values. */
  secrets(functionName: string): SecretSummary[];
  /** False: it had this value already. */
  setSecret(functionName: string, name: string, value: Uint8Array): boolean;
  removeSecret(functionName: string, name: string): void;
  /** What the version names and nobody has set. */
  missingSecrets(version: Version): string[];
  /** The values of what the version names and somebody has set. Throws secrets_unreadable. */
  secretValues(version: Version): Record<string, string>;
  /** Keys of a deployed function, or with null tokens. */
  credentials(functionName: string | null): CredentialSummary[];
  /** Returns it: only its hash is kept. */
  createCredential(functionName: string | null, name: string): string;
  revokeCredential(functionName: string | null, name: string): void;
  hasTokens(): boolean;
  acceptsToken(presented: string): boolean;
  acceptsKey(functionName: string, presented: string): boolean;
  /** Called after the live version of a function or a secret that it names has changed, or the function is gone. Returns the way to stop listening. */
  onChange(listener: (name: string) => void): () => void;
  digests(): Set<string>;
  close(): void;
}

export type RegistryOptions = { bundlesDir: string; secretKeyPath: string; keepVersions: number; maxFunctions: number };

export class LiveRegistry implements Registry {
  readonly #store: RegistryStore;
  readonly #options: RegistryOptions;
  readonly #vault: SecretVault;
  readonly #credentials: Credentials;
  readonly #live = new Map<string, Version>();
  readonly #listeners = new Set<(name: string) => void>();

  /** Takes the store over: close() closes it. */
  constructor(store: RegistryStore, options: RegistryOptions) {
    this.#store = store;
    this.#options = options;
    this.#vault = new SecretVault(store, options.secretKeyPath);
    this.#credentials = new Credentials(store);
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
    this.#credentials.forget(name);
    this.#tell(name);
  }

  secrets(functionName: string): SecretSummary[] {
    this.#deployed(functionName);
    return this.#vault.list(functionName);
  }

  setSecret(functionName: string, name: string, value: Uint8Array): boolean {
    const version = this.#deployed(functionName);
    const changed = this.#vault.set(functionName, name, value);
    if (changed && namedBy(version).includes(name)) this.#tell(functionName);
    return changed;
  }

  removeSecret(functionName: string, name: string): void {
    const version = this.#deployed(functionName);
    this.#vault.remove(functionName, name);
    if (namedBy(version).includes(name)) this.#tell(functionName);
  }

  missingSecrets(version: Version): string[] {
    const named = namedBy(version);
    if (named.length === 0) return [];
    const set = new Set(this.#vault.list(version.functionName).map(({ name }) => name));
    return named.filter((name) => !set.has(name));
  }

  secretValues(version: Version): Record<string, string> {
    return this.#vault.values(version.functionName, namedBy(version));
  }

  credentials(functionName: string | null): CredentialSummary[] {
    if (functionName !== null) this.#deployed(functionName);
    return this.#credentials.list(functionName);
  }

  createCredential(functionName: string | null, name: string): string {
    if (functionName !== null) this.#deployed(functionName);
    return this.#credentials.create(functionName, name);
  }

  revokeCredential(functionName: string | null, name: string): void {
    if (functionName !== null) this.#deployed(functionName);
    this.#credentials.revoke(functionName, name);
  }

  hasTokens(): boolean {
    return this.#credentials.list(null).length > 0;
  }

  acceptsToken(presented: string): boolean {
    return this.#credentials.accepts(null, presented);
  }

  acceptsKey(functionName: string, presented: string): boolean {
    return this.#credentials.accepts(functionName, presented);
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

  #deployed(name: string): Version {
    const version = this.#live.get(name);
    if (version === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
    return version;
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

/** A version that was deployed by a flashd without secrets says nothing of them. */
const namedBy = (version: Version): readonly string[] => version.manifest.secrets ?? [];
