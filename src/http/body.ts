/**
 * Reading request bodies and the budget that those held in this process share. Chunks are copied: uWebSockets.js takes their memory back after
 * the callback.
 *
 *   arriving ─▶ complete ─▶ queued, running ─▶ given back
 *      └─ there is no room for another one's, and it is the slowest; or its time is over ─▶ given back
 */
import type { HttpResponse } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';

/** Of the budget for what is sent to one function: who takes long for each request does not hold everything. */
const FUNCTION_SHARE = 1 / 2;
/** Who has just begun is not the slowest: nothing is known of him. */
const BEGIN_MS = 1000;

/** Bytes of request bodies in memory. */
export class BodyBudget {
  readonly #maxBytes: number;
  readonly #held = new Map<string, number>();
  readonly #arriving = new Set<BodyReader>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False, and nothing is taken, when there is not so much left; before that, slower ones than this go. */
  take(reader: BodyReader, bytes: number): boolean {
    const { functionName } = reader;
    for (;;) {
      const held = (this.#held.get(functionName) ?? 0) + bytes, crowded = held > this.#maxBytes * FUNCTION_SHARE;
      if (!crowded && this.#bytes + bytes <= this.#maxBytes) {
        this.#held.set(functionName, held);
        this.#bytes += bytes;
        this.#arriving.add(reader);
        return true;
      }
      const slowest = this.#slowest(crowded ? functionName : undefined);
      if (slowest === undefined || slowest === reader) return false;
      slowest.giveWay();
    }
  }

  /** No more of it will come. */
  arrived(reader: BodyReader): void {
    this.#arriving.delete(reader);
  }

  give(functionName: string, bytes: number): void {
    if (bytes === 0) return;
    const held = this.#held.get(functionName)! - bytes;
    if (held === 0) this.#held.delete(functionName);
    else this.#held.set(functionName, held);
    this.#bytes -= bytes;
  }

  #slowest(functionName: string | undefined): BodyReader | undefined {
    const now = performance.now();
    let slowest: BodyReader | undefined, least = Infinity;
    for (const reader of this.#arriving) {
      if (now - reader.since < BEGIN_MS || (functionName !== undefined && reader.functionName !== functionName)) continue;
      const rate = reader.bytes / (now - reader.since);
      if (rate < least) [slowest, least] = [reader, rate];
    }
    return slowest;
  }
}

export type BodyLimits = { readonly maxBytes: number; readonly timeoutMs: number; readonly budget: BodyBudget };

export type Body = { readonly chunks: readonly Uint8Array[]; readonly bytes: number };

/** Takes its bytes from the budget as they arrive; a complete body's are given back by whoever receives it. */
export class BodyReader {
  readonly functionName: string;
  readonly since = performance.now();
  readonly #limits: BodyLimits;
  readonly #done: (result: Body | FlashdError) => void;
  readonly #chunks: Uint8Array[] = [];
  readonly #timer: NodeJS.Timeout;
  bytes = 0;
  #over = false;

  constructor(functionName: string, res: HttpResponse, limits: BodyLimits, done: (result: Body | FlashdError) => void) {
    this.functionName = functionName;
    this.#limits = limits;
    this.#done = done;
    // uWebSockets.js ends silent connections; this is for those that send a byte now and then.
    this.#timer = setTimeout(() => this.#fail(new FlashdError('request_timeout')), limits.timeoutMs).unref();
    res.onData((chunk, isLast) => this.#receive(chunk, isLast));
  }

  /** The client is gone: nothing is reported any more. */
  cancel(): void {
    if (this.#finish()) this.#giveBack();
  }

  /** Others want the room. */
  giveWay(): void {
    this.#fail(new FlashdError('overloaded', { message: 'too many request bodies are in flight, and this one comes slowly' }));
  }

  #receive(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#over) return;
    if (this.bytes + chunk.byteLength > this.#limits.maxBytes) return this.#fail(new FlashdError('payload_too_large'));
    if (chunk.byteLength > 0) {
      if (!this.#limits.budget.take(this, chunk.byteLength)) return this.#fail(new FlashdError('overloaded', { message: 'too many request bodies are in flight' }));
      this.bytes += chunk.byteLength;
      this.#chunks.push(new Uint8Array(chunk.slice(0)));
    }
    if (isLast && this.#finish()) this.#done({ chunks: this.#chunks, bytes: this.bytes });
  }

  #fail(error: FlashdError): void {
    if (!this.#finish()) return;
    this.#giveBack();
    this.#done(error);
  }

  #giveBack(): void {
    this.#limits.budget.give(this.functionName, this.bytes);
    this.#chunks.length = 0;
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#limits.budget.arrived(this);
    return true;
  }
}
