/**
 * Reading request bodies and the budget that those held in this process share. Chunks are copied: uWebSockets.js takes their memory back after
 * the callback.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';

/** Bytes of request bodies in memory. */
export class BodyBudget {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False, and nothing is taken, when there is not so much left. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

export type BodyLimits = { readonly maxBytes: number; readonly timeoutMs: number; readonly budget: BodyBudget };

export type Body = { readonly chunks: readonly Uint8Array[]; readonly bytes: number };

/** Takes its bytes from the budget as they arrive; a complete body's are given back by whoever receives it. */
export class BodyReader {
  readonly #limits: BodyLimits;
  readonly #done: (result: Body | FlashdError) => void;
  readonly #chunks: Uint8Array[] = [];
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #over = false;

  constructor(res: HttpResponse, limits: BodyLimits, done: (result: Body | FlashdError) => void) {
    this.#limits = limits;
    this.#done = done;
    // uWebSockets.js ends silent connections; this is for those that send a byte now and then.
    this.#timer = setTimeout(() => this.#fail(new FlashdError('request_timeout')), limits.timeoutMs).unref();
    res.onData((chunk, isLast) => this.#receive(chunk, isLast));
  }

  /** The client is gone: nothing is reported any more. */
  cancel(): void {
    if (this.#finish()) this.#limits.budget.give(this.#bytes);
  }

  #receive(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#over) return;
    if (this.#bytes + chunk.byteLength > this.#limits.maxBytes) return this.#fail(new FlashdError('payload_too_large'));
    if (chunk.byteLength > 0) {
      if (!this.#limits.budget.take(chunk.byteLength)) return this.#fail(new FlashdError('overloaded', { message: 'too many request bodies are in flight' }));
      this.#bytes += chunk.byteLength;
      this.#chunks.push(new Uint8Array(chunk.slice(0)));
    }
    if (isLast && this.#finish()) this.#done({ chunks: this.#chunks, bytes: this.#bytes });
  }

  #fail(error: FlashdError): void {
    if (!this.#finish()) return;
    this.#limits.budget.give(this.#bytes);
    this.#done(error);
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    clearTimeout(this.#timer);
    return true;
  }
}
