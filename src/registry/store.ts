/**
 * What the registry needs from whatever keeps it: SQLite on one machine (sqlite.ts), a distributed key-value store later. A call that
 * returns has been made durable, and takes effect whole or not at all. A store knows nothing of bundles' paths, instances or listeners.
 */
import type { Manifest } from '../deploy/manifest.ts';

export type NewVersion = {
  readonly functionName: string;
  /** First 16 hexadecimal digits of the sha256 of digest and manifest. */
  readonly version: string;
  /** sha256 of the bundle's content. */
  readonly digest: string;
  readonly manifest: Manifest;
};

export type VersionRecord = NewVersion & {
  /** ISO 8601: when this version was first deployed. */
  readonly createdAt: string;
};

export type FunctionSummary = {
  readonly name: string;
  readonly version: string;
  readonly runtime: string;
  readonly versions: number;
  readonly createdAt: string;
  /** When the live alias last moved. */
  readonly updatedAt: string;
};

export type SecretSummary = { readonly name: string; readonly createdAt: string; readonly updatedAt: string };

/** A function's secret as it is kept: never its value. */
export type SealedSecret = { readonly name: string; readonly sealed: Uint8Array };

/** A token (of no function) or a function's key: never itself. */
export type KeptCredential = { readonly name: string; readonly hash: Uint8Array; readonly createdAt: string };

export interface RegistryStore {
  /** The live version of every function. */
  live(): VersionRecord[];
  /** By name. */
  list(): FunctionSummary[];
  /** What was live last comes first; empty for an unknown function. */
  versions(name: string): VersionRecord[];
  /**
   * Adds the version unless it exists, makes it live, and drops all but the `keep` versions that were live last. Publishing what is live
   * already changes nothing.
   */
  publish(version: NewVersion, limits: { keep: number; maxFunctions: number }): VersionRecord;
  /** Makes `to` live, or the version that was live before. */
  rollback(name: string, to?: string): VersionRecord;
  /** With all its versions, secrets and keys. */
  remove(name: string): void;
  /** Of one function, by name. */
  secretSummaries(functionName: string): SecretSummary[];
  secrets(functionName: string): SealedSecret[];
  /** Adds or replaces it; the function exists. */
  putSecret(functionName: string, name: string, sealed: Uint8Array): void;
  /** False: there was none. */
  removeSecret(functionName: string, name: string): boolean;
  /** Whether any function has one. */
  hasSecrets(): boolean;
  /** Keys of the function, or with null tokens; by name. */
  credentials(functionName: string | null): KeptCredential[];
  /** The function exists, the name is new. */
  putCredential(functionName: string | null, name: string, hash: Uint8Array): void;
  /** False: there was none. */
  removeCredential(functionName: string | null, name: string): boolean;
  /** Of every version of every function: all other bundles are garbage. */
  digests(): Set<string>;
  close(): void;
}
