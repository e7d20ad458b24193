/** A rate: so many a second, and BURST_SECONDS worth of them at once after a pause. */
export const BURST_SECONDS = 2;

export class TokenBucket {
  readonly perSecond: number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.perSecond = perSecond;
    this.#tokens = capacity(perSecond);
    this.#at = now;
  }

  /** Takes one: 0, or the milliseconds until there is one. */
  take(now: number): number {
    const waitMs = this.peek(now);
    if (waitMs === 0) this.#tokens--;
    return waitMs;
  }

  /** The same without taking it. */
  peek(now: number): number {
    this.#tokens = Math.min(capacity(this.perSecond), this.#tokens + (Math.max(0, now - this.#at) * this.perSecond) / 1000);
    this.#at = now;
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) * 1000) / this.perSecond;
  }
}

/** Never less than one, or a rate below one a second would let nothing through. */
const capacity = (perSecond: number): number => Math.max(1, perSecond * BURST_SECONDS);
