/** Who may: tokens for management, keys for functions that ask for one, and how often an address may be wrong. */
import { FlashdError } from '../errors/index.ts';
import type { Registry } from '../registry/index.ts';
import type { Peer } from './address.ts';
import { ClientRates, clientKey, rateLimited } from './client-rates.ts';
import type { RequestHead } from './head.ts';

/** Wrong tokens and keys of one client; twice as many at once. */
const FAILURES_PER_SECOND = 5;
const KEY_HEADER = 'x-flashd-key';
const BEARER = /^bearer +/i;

export type Accepts = Pick<Registry, 'hasTokens' | 'acceptsToken' | 'acceptsKey'>;

export class Gate {
  readonly #registry: Accepts;
  readonly #failures = new ClientRates(FAILURES_PER_SECOND);

  constructor(registry: Accepts) {
    this.#registry = registry;
  }

  /** Whether there is management over HTTP at all. */
  get manages(): boolean {
    return this.#registry.hasTokens();
  }

  /** Throws unless the request has a token. */
  manager(peer: Peer, head: RequestHead): void {
    this.#check(peer, 'send a token as Authorization: Bearer, or with --token-file', () => this.#registry.acceptsToken(bearer(head)));
  }

  /** Throws unless the request has a key of the function, and takes it out of the request. */
  caller(peer: Peer, head: RequestHead, functionName: string): void {
    const key = head.header(KEY_HEADER);
    this.#check(peer, 'send a key as X-Flashd-Key or Authorization: Bearer; `flashd key create` makes one', () => this.#registry.acceptsKey(functionName, key ?? bearer(head)));
    head.drop(KEY_HEADER);
    if (key === undefined) head.drop('authorization');
  }

  #check(peer: Peer, hint: string, accepts: () => boolean): void {
    const [client, now] = [clientKey(peer), performance.now()];
    const waitMs = this.#failures.peek(client, now);
    if (waitMs > 0) throw rateLimited('with a wrong token or key', waitMs);
    if (accepts()) return;
    this.#failures.take(client, now);
    throw new FlashdError('unauthorized', { hint });
  }
}

function bearer(head: RequestHead): string {
  const value = head.header('authorization') ?? '';
  return BEARER.test(value) ? value.replace(BEARER, '') : '';
}
