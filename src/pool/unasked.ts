/**
 * Who works though nobody has asked it to (a thread or a process that goes on after the answer) yields too: its answers are short, and it would be before all others. What an instance took of the processors
 * between two measurements is compared with the most that it could have taken while it was asked for something. What is left is the least that it took unasked.
 */
import type { InstanceUsage } from '../sandbox/contract.ts';

/** Of one processor: a runtime has things of its own to see to. */
const SHARE = 0.1;
/** For how long a function yields after it was last found at it: twice as long each time that it is again no later than that. */
const YIELDS_FIRST_MS = 2000;
const YIELDS_LAST_MS = 64_000;
/** Of a beat of the pulse, which an instance is asked for too: who takes longer for his answers has no more for it. */
const BEAT_MS_MAX = 1;

/** When one instance was asked for nothing, and what it took. */
export class Idleness {
  /** Milliseconds. */
  #total = 0;
  /** 0: it is asked for something. */
  #since = 0;
  #last: (InstanceUsage & { readonly idleMs: number }) | undefined;

  begin(now: number): void {
    this.#since = now;
  }

  /** FAST PATH. */
  end(now: number): void {
    if (this.#since > 0) this.#total += now - this.#since;
    this.#since = 0;
  }

  /** It was asked for a beat, and took so many milliseconds for it. */
  beat(ms: number): void {
    this.#total -= Math.min(ms, BEAT_MS_MAX);
  }

  /** Of one processor, since the last measurement: what it took unasked, at least. processors: as many as it may use. */
  measured(usage: InstanceUsage, processors: number, now: number): number {
    const last = this.#last;
    const idleMs = this.#total + (this.#since > 0 ? now - this.#since : 0);
    if (usage.atUs <= (last?.atUs ?? 0)) return 0;
    this.#last = { ...usage, idleMs };
    if (last === undefined) return 0;
    const passedUs = usage.atUs - last.atUs;
    const askedUs = Math.max(0, passedUs - (idleMs - last.idleMs) * 1000);
    return (usage.cpuUs - last.cpuUs - askedUs * Math.max(1, processors)) / passedUs;
  }
}

/** Whether a function is restless: any of its instances works unasked, or did a while ago. */
export class Restlessness {
  restless = false;
  #until = 0;
  #forMs = 0;

  /** share: the largest of any instance. Whether it has become restless, or is no longer. */
  measured(share: number, now: number): boolean {
    const before = this.restless;
    if (share > SHARE) {
      if (!before) this.#forMs = now - this.#until < this.#forMs ? Math.min(this.#forMs * 2, YIELDS_LAST_MS) : YIELDS_FIRST_MS;
      this.#until = now + this.#forMs;
    }
    this.restless = now < this.#until;
    return this.restless !== before;
  }
}
