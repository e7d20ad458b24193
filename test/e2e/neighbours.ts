/** Functions that take whatever they can get, all at once, each met by another limit; and what their callers are told. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Flashd, HttpAnswer } from '../conformance/packaged.ts';

const FIXTURE = join(import.meta.dirname, 'fixtures/neighbours');
const TIMEOUT_MS = 3000;
/** What works on something long runs only where nobody else wants to: on a busy machine a second or two go by before it has touched all that it may. It ends by its limit, not by its time. */
const OWN_TIMEOUT_MS: Partial<Record<Neighbour, number>> = { memory: 60_000 };
/** Between two calls, so that one that fails at once is no endless loop of the client's. */
const PAUSE_MS = 10;

export const NEIGHBOURS = ['loop', 'forks', 'memory', 'disk', 'files', 'log', 'sockets'] as const;
export type Neighbour = (typeof NEIGHBOURS)[number];

/** Directories to deploy, below the one given. */
export function neighbourFunctions(below: string, manifest: object = {}): string[] {
  return NEIGHBOURS.map((kind) => {
    const directory = join(below, `neighbour-${kind}`);
    mkdirSync(directory, { recursive: true });
    cpSync(FIXTURE, directory, { recursive: true });
    writeFileSync(join(directory, 'function.json'), JSON.stringify({ timeoutMs: TIMEOUT_MS, functionTemplate: 0, environment: { NEIGHBOUR: kind }, ...manifest, ...(kind in OWN_TIMEOUT_MS ? { timeoutMs: OWN_TIMEOUT_MS[kind] } : {}) }));
    return directory;
  });
}

/** Calls each without a pause until it is stopped. */
export class Noise {
  readonly answers = new Map<Neighbour, HttpAnswer[]>(NEIGHBOURS.map((kind) => [kind, []]));
  readonly #loops: Promise<void>[];
  #stopping = false;

  constructor(flashd: Flashd, kinds: readonly Neighbour[] = NEIGHBOURS) {
    this.#loops = kinds.map((kind) => this.#call(flashd, kind));
  }

  /** When the last of them has been answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#loops);
  }

  async #call(flashd: Flashd, kind: Neighbour): Promise<void> {
    while (!this.#stopping) {
      this.answers.get(kind)!.push(await flashd.http('GET', `/function/neighbour-${kind}`));
      await sleep(PAUSE_MS);
    }
  }
}
