/**
 * What callers prove themselves with: tokens that manage flashd, keys that call one function. 256 random bits, shown once; kept and compared are only their
 * SHA-256 hashes, in constant time. The hot path reads memory.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { FlashdError } from '../errors/index.ts';
import type { KeptCredential, RegistryStore } from './store.ts';

export type CredentialSummary = { readonly name: string; readonly createdAt: string };

const CREDENTIAL_BYTES = 32;
/** Of flashd, and of one function: each is compared with. */
export const CREDENTIALS_MAX = 32;
/** Longer ones are not hashed. */
const PRESENTED_MAX = 128;
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export class Credentials {
  readonly #store: Pick<RegistryStore, 'credentials' | 'putCredential' | 'removeCredential'>;
  /** By function; null: tokens. */
  readonly #kept = new Map<string | null, KeptCredential[]>();

  constructor(store: Pick<RegistryStore, 'credentials' | 'putCredential' | 'removeCredential'>) {
    this.#store = store;
  }

  list(functionName: string | null): CredentialSummary[] {
    return this.#of(functionName).map(({ name, createdAt }) => ({ name, createdAt }));
  }

  /** The credential itself: it is not kept. */
  create(functionName: string | null, name: string): string {
    if (!NAME.test(name)) throw new FlashdError('credential_invalid', { message: `"${name.slice(0, 100)}" is not a name for a token or key` });
    const kept = this.#of(functionName);
    if (kept.some((each) => each.name === name)) throw new FlashdError('credential_invalid', { message: `there is one with the name ${name} already`, hint: 'revoke it first, or choose another name' });
    if (kept.length >= CREDENTIALS_MAX) throw new FlashdError('credential_invalid', { message: `there are ${kept.length} already, which is the limit`, hint: 'revoke one that is not used any more' });
    const credential = (functionName === null ? 'flashd_' : 'key_') + randomBytes(CREDENTIAL_BYTES).toString('base64url');
    this.#store.putCredential(functionName, name, hashOf(credential));
    this.#kept.delete(functionName);
    return credential;
  }

  revoke(functionName: string | null, name: string): void {
    if (!this.#store.removeCredential(functionName, name)) throw new FlashdError('credential_not_found', { message: `there is none with the name "${name.slice(0, 100)}"` });
    this.#kept.delete(functionName);
  }

  /** All are compared, whichever it is. */
  accepts(functionName: string | null, presented: string): boolean {
    if (presented === '' || presented.length > PRESENTED_MAX) return false;
    const hash = hashOf(presented);
    let accepted = false;
    for (const each of this.#of(functionName)) if (timingSafeEqual(each.hash, hash)) accepted = true;
    return accepted;
  }

  /** The function is gone, and its keys with it. */
  forget(functionName: string): void {
    this.#kept.delete(functionName);
  }

  #of(functionName: string | null): KeptCredential[] {
    let kept = this.#kept.get(functionName);
    if (kept === undefined) this.#kept.set(functionName, (kept = this.#store.credentials(functionName)));
    return kept;
  }
}

const hashOf = (credential: string): Buffer => createHash('sha256').update(credential, 'latin1').digest();
