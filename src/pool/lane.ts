/**
 * While somebody works long, one processor is kept for short requests: the lane (native/base/lane.h). In it are the gateway and the instances of functions that have shown that they answer in no time; who
 * works long, is not known to be short or still loads its code runs on the others. It is kept only while short requests come, and only while one processor is enough for them: by Little's law it is for as long as fewer than
 * one of them is being worked on, on average.
 */

/** What takes no longer is short. */
const SHORT_MS = 2;
/** A short request earns its function one, up to CREDIT_MAX, any other one costs it LONG_COSTS (the machine itself may have been away for a moment). Whoever has SHORT_CREDIT is known to be short. */
const SHORT_CREDIT = 4;
const CREDIT_MAX = 8;
const LONG_COSTS = 4;
/** Mean of what is being worked on: below, one processor has room for it; above, it has not. */
const ROOM = 0.5;
const CROWDED = 1;
/** Looks, over which that is a mean. */
const MEMORY = 8;
/** Without a short request for so long the lane is nobody's. And it stays closed for so long after it has been crowded. */
const IDLE_MS = 1000;
const CROWDED_MS = 1000;
/** It is kept for so long after the last one who worked long: the next one may be on its way, and opening and closing it moves everybody. */
const LINGER_MS = 500;

export class Lane {
  /** FAST PATH: read with every request. */
  open = false;
  /** Opens or closes it; false: this machine has none. */
  readonly #keep: (open: boolean) => boolean;
  #mean = 0;
  #asked = false;
  #askedAt = -Infinity;
  #crowdedAt = -Infinity;
  #longAt = -Infinity;
  #absent = false;

  constructor(keep: (open: boolean) => boolean) {
    this.#keep = keep;
  }

  /** FAST PATH: a request that may be short begins. */
  ask(): void {
    this.#asked = true;
  }

  /** How many instances of functions that are known to be short are at work, and how many on something long. True: the lane has just been opened or closed. */
  look(short: number, long: number, now: number): boolean {
    this.#mean += (short - this.#mean) / MEMORY;
    if (long > 0) this.#longAt = now;
    if (this.#asked) this.#askedAt = now;
    this.#asked = false;
    if (this.open && this.#mean > CROWDED) this.#crowdedAt = now;
    const wanted = now - this.#longAt < LINGER_MS && now - this.#askedAt < IDLE_MS && now - this.#crowdedAt >= CROWDED_MS && this.#mean < (this.open ? CROWDED : ROOM);
    if (wanted === this.open || this.#absent) return false;
    this.#absent = !this.#keep(wanted);
    this.open = wanted && !this.#absent;
    return !this.#absent;
  }
}

/** What a function has shown of itself. */
export class Promptness {
  #credit = 0;

  get isShort(): boolean {
    return this.#credit >= SHORT_CREDIT;
  }

  took(ms: number): void {
    this.#credit = ms <= SHORT_MS ? Math.min(this.#credit + 1, CREDIT_MAX) : Math.max(this.#credit - LONG_COSTS, 0);
  }
}
