/**
 * Large responses that wait in this process until their clients have read them. Who has read least of his for the time that he has had goes first when there are too many, so that those who read as fast as
 * they can get theirs whatever others do; and who reads next to nothing is not waited for.
 */

/** What a client has to read on average, once the grace is over. */
const READ_BYTES_PER_SECOND = 16 * 1024;
const CHECK_MS = 1000;
/** Who has just begun is not the slowest: nothing is known of him. */
const BEGIN_MS = 1000;

export interface UnreadResponse {
  /** Ends the connection: the rest is not sent. */
  drop(): void;
}

type Progress = { readonly bytes: number; readonly since: number; read: number };

export class UnreadResponses {
  readonly #maxBytes: number;
  readonly #graceMs: number;
  readonly #waiting = new Map<UnreadResponse, Progress>();
  #bytes = 0;
  #dropping = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(maxBytes: number, graceMs: number) {
    this.#maxBytes = maxBytes;
    this.#graceMs = graceMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  hold(response: UnreadResponse, bytes: number): void {
    this.#waiting.set(response, { bytes, since: performance.now(), read: 0 });
    this.#bytes += bytes;
    this.#timer ??= setInterval(() => this.#dropIdle(), Math.min(CHECK_MS, this.#graceMs)).unref();
    if (this.#bytes <= this.#maxBytes || this.#dropping) return;
    this.#dropping = true;
    // Not at once: another one's response is being written.
    setImmediate(() => this.#dropSlowest());
  }

  /** So many of its bytes have left this process. */
  read(response: UnreadResponse, bytes: number): void {
    const progress = this.#waiting.get(response);
    if (progress !== undefined) progress.read = bytes;
  }

  /** Nothing of it is here any more. */
  letGo(response: UnreadResponse): void {
    const progress = this.#waiting.get(response);
    if (progress === undefined) return;
    this.#waiting.delete(response);
    this.#bytes -= progress.bytes;
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #dropSlowest(): void {
    this.#dropping = false;
    if (this.#bytes <= this.#maxBytes) return;
    const now = performance.now();
    const rate = ({ read, since }: Progress) => (now - since < BEGIN_MS ? Number.MAX_VALUE : read / (now - since));
    // Among equals those who have been here for longest.
    for (const [response] of [...this.#waiting].toSorted(([, a], [, b]) => rate(a) - rate(b))) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#drop(response);
    }
  }

  #dropIdle(): void {
    const now = performance.now();
    for (const [response, { read, since }] of [...this.#waiting]) {
      if (now - since > this.#graceMs && read < ((now - since) / 1000) * READ_BYTES_PER_SECOND) this.#drop(response);
    }
  }

  #drop(response: UnreadResponse): void {
    this.letGo(response);
    response.drop();
  }
}
