/**
 * The functions' secrets: sealed before they reach the store (AES-256-GCM, a fresh nonce for each value, function and name as additional data, so that no value passes
 * for another one), opened when instances are to get them. The key is a file of its own beside the registry, made at first use and read when it is needed: a copy of the
 * registry alone tells nothing. Values appear in no error, log or listing.
 */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { FlashdError, isSystemError } from '../errors/index.ts';
import type { RegistryStore, SealedSecret, SecretSummary } from './store.ts';

/** Of one value; that of the environment's values (src/deploy/function.schema.json). */
export const SECRET_BYTES_MAX = 32_768;
/** Of one function. What a function.json may name has the same limit. */
const SECRETS_MAX = 64;
/** Names and values of one function: with the environment they travel in the meta of the INIT frame, whose limit is 1 MiB. */
const SECRETS_BYTES_MAX = 256 * 1024;
const NAME_MAX = 255;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

type SecretStore = Pick<RegistryStore, 'secretSummaries' | 'secrets' | 'putSecret' | 'removeSecret' | 'hasSecrets'>;

/** Names of secrets are names of environment variables. */
export function checkSecretName(name: string): string {
  if (name.length <= NAME_MAX && NAME.test(name)) return name;
  throw invalid(`"${name.slice(0, 100)}" is not a name for a secret`, `use letters, digits and underscores, not beginning with a digit, at most ${NAME_MAX} characters`);
}

export class SecretVault {
  readonly #store: SecretStore;
  readonly #keyPath: string;

  constructor(store: SecretStore, keyPath: string) {
    this.#store = store;
    this.#keyPath = keyPath;
  }

  list(functionName: string): SecretSummary[] {
    return this.#store.secretSummaries(functionName);
  }

  /** False: it had this value already, and nothing was written. */
  set(functionName: string, name: string, value: Uint8Array): boolean {
    checkSecretName(name);
    checkValue(value);
    const kept = this.#store.secrets(functionName);
    checkRoom(kept.filter((secret) => secret.name !== name), name, value);
    const key = this.#store.hasSecrets() ? this.#readKey() : this.#keyForFirst();
    const before = kept.find((secret) => secret.name === name);
    if (before !== undefined && equal(open(key, functionName, before), value)) return false;
    this.#store.putSecret(functionName, name, seal(key, functionName, name, value));
    return true;
  }

  /** Needs no key: what cannot be read any more can be removed. */
  remove(functionName: string, name: string): void {
    if (this.#store.removeSecret(functionName, checkSecretName(name))) return;
    throw new FlashdError('secret_not_found', { message: `"${functionName}" has no secret ${name}`, hint: `see \`flashd secret list ${functionName}\`` });
  }

  values(functionName: string, names: readonly string[]): Record<string, string> {
    const wanted = this.#store.secrets(functionName).filter(({ name }) => names.includes(name));
    if (wanted.length === 0) return {};
    const key = this.#readKey();
    return Object.fromEntries(wanted.map((secret) => [secret.name, open(key, functionName, secret).toString('utf8')]));
  }

  #readKey(): Buffer {
    const key = readKey(this.#keyPath);
    if (key === undefined) throw unreadable(`${this.#keyPath} does not exist, but there are secrets that were sealed with it`);
    return key;
  }

  /** Nothing is sealed: a key whose making was interrupted may be replaced. */
  #keyForFirst(): Buffer {
    try {
      const key = readKey(this.#keyPath);
      if (key !== undefined) return key;
    } catch (error) {
      if (!(error instanceof FlashdError)) throw error;
      rmSync(this.#keyPath);
    }
    return makeKey(this.#keyPath);
  }
}

function seal(key: Buffer, functionName: string, name: string, value: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(purpose(functionName, name));
  return Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Buffer, functionName: string, { name, sealed }: SealedSecret): Buffer {
  try {
    const end = sealed.length - TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES }).setAAD(purpose(functionName, name));
    decipher.setAuthTag(sealed.subarray(end));
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, end)), decipher.final()]);
  } catch {
    throw unreadable(`the secret ${name} of "${functionName}" was not sealed with the key that is there, or was changed`);
  }
}

/** Neither part contains NUL. */
const purpose = (functionName: string, name: string): Buffer => Buffer.from(`${functionName}\0${name}`);

/** undefined: there is none. */
function readKey(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw unreadable(`${path} cannot be opened: ${(error as Error).message}`);
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size !== KEY_BYTES) throw unreadable(`${path} is not a file of ${KEY_BYTES} bytes`);
    if (status.uid !== process.geteuid!() || (status.mode & 0o077) !== 0) throw unreadable(`${path} is not the service user's alone (its mode should be 0600)`);
    const key = Buffer.alloc(KEY_BYTES);
    if (readSync(fd, key, 0, KEY_BYTES, 0) !== KEY_BYTES) throw unreadable(`${path} cannot be read whole`);
    return key;
  } finally {
    closeSync(fd);
  }
}

/** Durable before anything is sealed with it. */
function makeKey(path: string): Buffer {
  const key = randomBytes(KEY_BYTES);
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    if (writeSync(fd, key) !== KEY_BYTES) throw unreadable(`${path} cannot be written whole`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
  return key;
}

/** It becomes an environment variable: text without NUL. */
function checkValue(value: Uint8Array): void {
  if (value.length === 0) throw invalid('the value is empty', 'is the file or the pipe that it comes from empty?');
  if (value.length > SECRET_BYTES_MAX) throw invalid(`the value has ${value.length} bytes, more than ${SECRET_BYTES_MAX}`, 'keep a key that opens it instead');
  if (value.includes(0) || !isUtf8(value)) throw invalid('the value is not UTF-8 text without NUL', 'encode binary values, for example in base64');
}

function isUtf8(value: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(value);
    return true;
  } catch {
    return false;
  }
}

function checkRoom(others: readonly SealedSecret[], name: string, value: Uint8Array): void {
  const bytes = others.reduce((sum, other) => sum + other.name.length + other.sealed.length - NONCE_BYTES - TAG_BYTES, name.length + value.length);
  if (others.length >= SECRETS_MAX) throw invalid(`the function has ${others.length} secrets, which is the limit`, 'remove one that it does not need');
  if (bytes > SECRETS_BYTES_MAX) throw invalid(`the function's secrets would take ${bytes} bytes, more than ${SECRETS_BYTES_MAX}`, 'remove one that it does not need');
}

const equal = (one: Uint8Array, other: Uint8Array): boolean => one.length === other.length && timingSafeEqual(one, other);

const invalid = (message: string, hint: string): FlashdError => new FlashdError('secret_invalid', { message, hint });
const unreadable = (message: string): FlashdError => new FlashdError('secrets_unreadable', { message });
