/**
 * A token bucket for every client address. Remembered are the clients seen last, in two generations: when the younger is full the older is forgotten, and
 * whoever comes again moves to the younger. So a flood of addresses displaces itself, costs a bounded amount of memory, and a client forgotten starts afresh.
 */
import { FlashdError } from '../errors/index.ts';
import { TokenBucket } from '../invocation/token-bucket.ts';
import { isMapped, type Peer } from './address.ts';

export const REMEMBERED_CLIENTS_MAX = 65_536;
const IPV6_NETWORK_BYTES = 8;

export class ClientRates {
  readonly #perSecond: number;
  readonly #generationMax: number;
  #younger = new Map<string, TokenBucket>();
  #older = new Map<string, TokenBucket>();

  constructor(perSecond: number, rememberedMax = REMEMBERED_CLIENTS_MAX) {
    this.#perSecond = perSecond;
    this.#generationMax = rememberedMax / 2;
  }

  get remembered(): number {
    return this.#younger.size + this.#older.size;
  }

  /** 0, or the milliseconds after which the client may come again. */
  take(client: string, now: number): number {
    return this.#bucket(client, now).take(now);
  }

  /** The same without counting it. */
  peek(client: string, now: number): number {
    return (this.#younger.get(client) ?? this.#older.get(client))?.peek(now) ?? 0;
  }

  #bucket(client: string, now: number): TokenBucket {
    const known = this.#younger.get(client);
    if (known !== undefined) return known;
    const bucket = this.#older.get(client) ?? new TokenBucket(this.#perSecond, now);
    this.#older.delete(client);
    if (this.#younger.size >= this.#generationMax) {
      this.#older = this.#younger;
      this.#younger = new Map();
    }
    this.#younger.set(client, bucket);
    return bucket;
  }
}

/** An IPv4 address, or the /64 that an IPv6 client chooses its addresses from. */
export function clientKey(peer: Pick<Peer, 'getRemoteAddress'>): string {
  const bytes = Buffer.from(peer.getRemoteAddress());
  if (bytes.length === 16 && !isMapped(bytes)) return bytes.toString('hex', 0, IPV6_NETWORK_BYTES);
  return bytes.toString('hex', bytes.length - 4);
}

export function rateLimited(what: string, waitMs: number): FlashdError {
  return new FlashdError('rate_limited', { message: `too many requests ${what}`, details: { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) } });
}
