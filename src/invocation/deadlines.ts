/**
 * Deadlines of invocations that all have the same timeout: a list in the order of arrival is then also in the order of expiry, so that adding and removing
 * are a few pointer writes and one timer serves them all. The timer is set for the first one and looks again when it fires; it is not touched per invocation.
 */
export interface Expiring {
  deadlineAt: number;
  /** Links, owned by the list. */
  earlier: Expiring | undefined;
  later: Expiring | undefined;
  /** performance.now() ≥ deadlineAt; the entry has been removed. */
  onDeadline(): void;
}

export class Deadlines {
  readonly timeoutMs: number;
  #first: Expiring | undefined;
  #last: Expiring | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs;
  }

  /** now: monotonic milliseconds, never less than at the call before. */
  add(entry: Expiring, now: number): void {
    entry.deadlineAt = now + this.timeoutMs;
    entry.earlier = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.later = entry;
    this.#last = entry;
    this.#timer ??= this.#arm(this.timeoutMs);
  }

  /** The entry must be in this list. */
  remove(entry: Expiring): void {
    if (entry.earlier === undefined) this.#first = entry.later;
    else entry.earlier.later = entry.later;
    if (entry.later === undefined) this.#last = entry.earlier;
    else entry.later.earlier = entry.earlier;
    entry.earlier = entry.later = undefined;
  }

  #arm(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#expire(), ms).unref();
  }

  #expire(): void {
    this.#timer = undefined;
    for (let first = this.#first; first !== undefined; first = this.#first) {
      // Node's timers may fire up to a millisecond early: never expire anything before its time.
      const left = first.deadlineAt - performance.now();
      if (left > 0) {
        this.#timer = this.#arm(Math.ceil(left));
        return;
      }
      this.remove(first);
      first.onDeadline();
    }
  }
}
