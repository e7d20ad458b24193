/**
 * Who works on something long yields: wherever another function wants a processor, its sandbox runs after that one. What has been worked on for LOOK_MS to twice that is long; the instances
 * that are made while a function's work is long begin that way, until something of it was short again. All instances are looked at together and only while any of them is busy: a request pays
 * for a comparison.
 */
const LOOK_MS = 25;

/** What is worked on, told apart by a number; 0 is nothing. */
export class Effort {
  /** What it was at the last look. */
  #seen = 0;
  #long = 0;

  /** True when that has just turned out to be long. */
  look(work: number): boolean {
    const long = work !== 0 && work === this.#seen && work !== this.#long;
    this.#seen = work;
    if (long) this.#long = work;
    return long;
  }

  isLong(work: number): boolean {
    return work === this.#long;
  }
}

export class Looks {
  /** Looks at every instance; whether any was busy. */
  readonly #look: () => boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(look: () => boolean) {
    this.#look = look;
  }

  /** FAST PATH: something is being worked on. */
  begin(): void {
    this.#timer ??= setTimeout(() => this.#again(), LOOK_MS).unref();
  }

  #again(): void {
    this.#timer = undefined;
    if (this.#look()) this.begin();
  }
}
