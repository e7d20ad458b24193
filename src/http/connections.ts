/**
 * How many connections clients may have at a time. Without a limit they would take the process's descriptors, of which instances need some as well; and a listening socket whose connections cannot be accepted keeps the
 * event loop busy. From half of it on each client gets new ones so slowly that those which are closed for being idle make room for everybody else.
 */
import { readFileSync } from 'node:fs';
import type { HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { ClientRates, clientKey } from './client-rates.ts';

/** uWebSockets.js ends who is idle after this time, or a little more. */
const IDLE_SECONDS = 10;
/** Of one client in the upper half of them, if all of its are idle. */
const CLIENT_SHARE = 1 / 8;
const DESCRIPTORS_PER_INSTANCE = 4;
const DESCRIPTORS_RESERVED = 512;
/** Of all descriptors, however many instances there may be. */
const LEAST_SHARE = 1 / 4;

export class Connections {
  readonly #max: number;
  readonly #crowded: ClientRates;
  open = 0;
  refused = 0;

  constructor(max: number) {
    this.#max = max;
    this.#crowded = new ClientRates(((max / 2) * CLIENT_SHARE) / IDLE_SECONDS);
  }

  watch(app: TemplatedApp): TemplatedApp {
    return app.filter((peer, change) => this.#changed(peer, change));
  }

  #changed(peer: HttpResponse, change: number): void {
    this.open += change;
    if (change < 0 || this.open <= this.#max / 2) return;
    if (this.open <= this.#max && this.#crowded.take(clientKey(peer), performance.now()) === 0) return;
    this.refused++;
    peer.close();
  }
}

/** Not more than there are descriptors for. */
export function connectionsMax(wanted: number, instancesMax: number, descriptors = ownDescriptors()): number {
  const left = Math.max(descriptors * LEAST_SHARE, descriptors - DESCRIPTORS_RESERVED - DESCRIPTORS_PER_INSTANCE * instancesMax);
  return Math.floor(Math.min(wanted, left));
}

/** Its soft limit, which Node.js has raised as far as it may (proc_pid_limits(5)). */
function ownDescriptors(): number {
  return Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 1024);
}
