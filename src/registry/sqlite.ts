/**
 * The registry's store in SQLite; the only importer of better-sqlite3. WAL with synchronous=FULL: what has been acknowledged survives kill
 * -9 and a power cut. Every change is one IMMEDIATE transaction, so that a second process on the same file cannot interleave.
 */
import Database from 'better-sqlite3';
import { FlashdError } from '../errors/index.ts';
import type { Manifest } from '../deploy/manifest.ts';
import { MIGRATIONS } from './migrations.ts';
import type { FunctionSummary, KeptCredential, NewVersion, RegistryStore, SealedSecret, SecretSummary, VersionRecord } from './store.ts';

const LIVE = 'live';
/** Rollbacks that can follow one another; older steps are forgotten. */
const HISTORY_MAX = 100;

type VersionRow = { function_name: string; version: string; digest: string; manifest: string; created_at: string };
type AliasRow = { version: string; history: string };

export type SqliteOptions = {
  path: string;
  /** The loaded addon, where node_modules does not exist (the packaged binary). */
  nativeBinding?: object | undefined;
};

export class SqliteStore implements RegistryStore {
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  constructor(options: SqliteOptions) {
    try {
      // The declared type knows only a path, the library takes a loaded addon as well.
      const binding = options.nativeBinding === undefined ? {} : { nativeBinding: options.nativeBinding as unknown as string };
      this.#database = new Database(options.path, { timeout: 5000, ...binding });
      this.#database.pragma('journal_mode = WAL');
      this.#database.pragma('synchronous = FULL');
      this.#database.pragma('foreign_keys = ON');
      this.#database.pragma('trusted_schema = OFF');
    } catch (error) {
      throw failed(`cannot open the registry ${options.path}`, error);
    }
    this.#migrate(options.path);
  }

  live(): VersionRecord[] {
    return this.#all<VersionRow>(
      `SELECT v.* FROM aliases a JOIN versions v ON v.function_name = a.function_name AND v.version = a.version WHERE a.alias = ?`,
      LIVE,
    ).map(record);
  }

  list(): FunctionSummary[] {
    return this.#all<FunctionSummary>(
      `SELECT f.name, a.version, json_extract(v.manifest, '$.runtime') AS runtime, f.created_at AS createdAt, a.updated_at AS updatedAt,
              (SELECT count(*) FROM versions c WHERE c.function_name = f.name) AS versions
       FROM functions f
       JOIN aliases a ON a.function_name = f.name AND a.alias = ?
       JOIN versions v ON v.function_name = f.name AND v.version = a.version
       ORDER BY f.name`,
      LIVE,
    );
  }

  versions(name: string): VersionRecord[] {
    return this.#all<VersionRow>('SELECT * FROM versions WHERE function_name = ? ORDER BY sequence DESC', name).map(record);
  }

  publish(next: NewVersion, limits: { keep: number; maxFunctions: number }): VersionRecord {
    return this.#change(() => {
      const now = new Date().toISOString();
      const alias = this.#alias(next.functionName);
      if (alias?.version === next.version) return this.#version(next.functionName, next.version)!;
      if (alias === undefined) this.#addFunction(next.functionName, now, limits.maxFunctions);
      this.#run(
        `INSERT INTO versions (function_name, version, digest, manifest, created_at, sequence)
         VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(sequence), 0) + 1 FROM versions))
         ON CONFLICT (function_name, version) DO NOTHING`,
        next.functionName,
        next.version,
        next.digest,
        JSON.stringify(next.manifest),
        now,
      );
      this.#point(next.functionName, next.version, alias === undefined ? [] : [...history(alias), alias.version], now);
      this.#run(
        `DELETE FROM versions WHERE function_name = ? AND version != ?
         AND sequence NOT IN (SELECT sequence FROM versions WHERE function_name = ? ORDER BY sequence DESC LIMIT ?)`,
        next.functionName,
        next.version,
        next.functionName,
        limits.keep,
      );
      return this.#version(next.functionName, next.version)!;
    });
  }

  rollback(name: string, to?: string): VersionRecord {
    return this.#change(() => {
      const alias = this.#alias(name);
      if (alias === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
      const past = history(alias);
      if (to !== undefined) {
        const target = this.#find(name, to);
        if (target.version !== alias.version) this.#point(name, target.version, [...past, alias.version], new Date().toISOString());
        return target;
      }
      // Versions may have been dropped since, and the same one may stand there twice in a row.
      for (let previous = past.pop(); previous !== undefined; previous = past.pop()) {
        const target = previous === alias.version ? undefined : this.#version(name, previous);
        if (target === undefined) continue;
        this.#point(name, target.version, past, new Date().toISOString());
        return target;
      }
      throw new FlashdError('no_previous_version', { message: `"${name}" has no earlier version to go back to` });
    });
  }

  remove(name: string): void {
    this.#change(() => {
      if (this.#run('DELETE FROM functions WHERE name = ?', name).changes === 0) {
        throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
      }
    });
  }

  secretSummaries(functionName: string): SecretSummary[] {
    return this.#all<SecretSummary>('SELECT name, created_at AS createdAt, updated_at AS updatedAt FROM secrets WHERE function_name = ? ORDER BY name', functionName);
  }

  secrets(functionName: string): SealedSecret[] {
    return this.#all<SealedSecret>('SELECT name, sealed FROM secrets WHERE function_name = ? ORDER BY name', functionName);
  }

  putSecret(functionName: string, name: string, sealed: Uint8Array): void {
    const now = new Date().toISOString();
    this.#change(() => {
      this.#run(
        `INSERT INTO secrets (function_name, name, sealed, created_at, updated_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (function_name, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at`,
        functionName,
        name,
        sealed,
        now,
        now,
      );
    });
  }

  removeSecret(functionName: string, name: string): boolean {
    return this.#change(() => this.#run('DELETE FROM secrets WHERE function_name = ? AND name = ?', functionName, name).changes > 0);
  }

  hasSecrets(): boolean {
    return this.#get('SELECT 1 FROM secrets LIMIT 1') !== undefined;
  }

  credentials(functionName: string | null): KeptCredential[] {
    return this.#all<KeptCredential>('SELECT name, hash, created_at AS createdAt FROM credentials WHERE function_name IS ? ORDER BY name', functionName);
  }

  putCredential(functionName: string | null, name: string, hash: Uint8Array): void {
    this.#change(() => this.#run('INSERT INTO credentials (function_name, name, hash, created_at) VALUES (?, ?, ?, ?)', functionName, name, hash, new Date().toISOString()));
  }

  removeCredential(functionName: string | null, name: string): boolean {
    return this.#change(() => this.#run('DELETE FROM credentials WHERE function_name IS ? AND name = ?', functionName, name).changes > 0);
  }

  digests(): Set<string> {
    return new Set(this.#all<{ digest: string }>('SELECT DISTINCT digest FROM versions').map((row) => row.digest));
  }

  close(): void {
    this.#database.close();
  }

  #migrate(path: string): void {
    this.#change(() => {
      const taken = this.#database.pragma('user_version', { simple: true }) as number;
      if (taken > MIGRATIONS.length) {
        throw new FlashdError('registry_failed', {
          message: `the registry ${path} was written by a newer flashd`,
          hint: 'run that version, or use another state directory',
        });
      }
      for (const migration of MIGRATIONS.slice(taken)) this.#database.exec(migration);
      this.#database.pragma(`user_version = ${MIGRATIONS.length}`);
    });
  }

  #addFunction(name: string, now: string, maxFunctions: number): void {
    const { count } = this.#get<{ count: number }>('SELECT count(*) AS count FROM functions')!;
    if (count >= maxFunctions)
      throw new FlashdError('too_many_functions', { message: `${count} functions are deployed, which is the limit` });
    this.#run('INSERT INTO functions (name, created_at) VALUES (?, ?)', name, now);
  }

  /** Makes the version live. Its sequence grows with it, so that what was live last is dropped last. */
  #point(name: string, version: string, past: string[], now: string): void {
    this.#run(
      'UPDATE versions SET sequence = (SELECT max(sequence) + 1 FROM versions) WHERE function_name = ? AND version = ?',
      name,
      version,
    );
    this.#run(
      `INSERT INTO aliases (function_name, alias, version, history, updated_at) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (function_name, alias) DO UPDATE SET version = excluded.version, history = excluded.history, updated_at = excluded.updated_at`,
      name,
      LIVE,
      version,
      JSON.stringify(past.slice(-HISTORY_MAX)),
      now,
    );
  }

  #alias(name: string): AliasRow | undefined {
    return this.#get<AliasRow>('SELECT version, history FROM aliases WHERE function_name = ? AND alias = ?', name, LIVE);
  }

  #version(name: string, version: string): VersionRecord | undefined {
    const row = this.#get<VersionRow>('SELECT * FROM versions WHERE function_name = ? AND version = ?', name, version);
    return row === undefined ? undefined : record(row);
  }

  /** By the whole version or an unambiguous beginning of at least four digits. */
  #find(name: string, prefix: string): VersionRecord {
    const found = this.versions(name).filter(
      (candidate) => candidate.version === prefix || (prefix.length >= 4 && candidate.version.startsWith(prefix)),
    );
    if (found.length === 1) return found[0]!;
    const message =
      found.length === 0 ? `"${name}" has no version ${prefix}` : `${prefix} is the beginning of ${found.length} versions of "${name}"`;
    throw new FlashdError('version_not_found', { message });
  }

  #change<T>(body: () => T): T {
    try {
      return this.#database.transaction(body).immediate();
    } catch (error) {
      if (error instanceof FlashdError) throw error;
      throw failed('the registry cannot be changed', error);
    }
  }

  #prepare(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#database.prepare(sql)));
    return statement;
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): Database.RunResult {
    return this.#prepare(sql).run(...values);
  }

  #get<T>(sql: string, ...values: (string | number)[]): T | undefined {
    return this.#prepare(sql).get(...values) as T | undefined;
  }

  #all<T>(sql: string, ...values: (string | number | null)[]): T[] {
    return this.#prepare(sql).all(...values) as T[];
  }
}

const history = (alias: AliasRow): string[] => JSON.parse(alias.history) as string[];

const record = (row: VersionRow): VersionRecord => ({
  functionName: row.function_name,
  version: row.version,
  digest: row.digest,
  manifest: JSON.parse(row.manifest) as Manifest,
  createdAt: row.created_at,
});

function failed(what: string, cause: unknown): FlashdError {
  return new FlashdError('registry_failed', { message: `${what}: ${(cause as Error).message}`, cause });
}
