/** Warm requests, the same for flashd and its peers: latency at one kept-alive connection, throughput at 32. */
import type { Samples, Series } from '../series.ts';
import { load, requests } from './http-client.ts';

const CONNECTIONS = 32;
/** For V8 to have compiled what it will: every peer is given the same. */
const WARM_UP_WINDOWS = 20;
/** Requests of one turn at one connection, whose median is compared with that of a peer's turn beside it. */
export const LATENCY_TURN = 100;

export type HttpTarget = { port(): number; readonly path: string };

export async function warmUp({ port, path }: HttpTarget): Promise<void> {
  await load(port(), path, CONNECTIONS, WARM_UP_WINDOWS);
}

export function latencySeries(name: string, target: HttpTarget, check: (starts: readonly string[]) => void = () => {}): Series {
  return {
    name,
    group: 'latency',
    total: n => n * LATENCY_TURN,
    async sample(count): Promise<Samples> {
      const { samples } = await requests(target.port(), target.path, 1, count, 0);
      check(samples.map(({ start }) => start));
      return new Map([[name, samples.map(({ us }) => us)]]);
    },
  };
}

export function throughputSeries(name: string, target: HttpTarget): Series {
  return {
    name,
    group: 'throughput',
    total: n => n,
    sample: async (count): Promise<Samples> => new Map([[name, await load(target.port(), target.path, CONNECTIONS, count)]]),
  };
}
