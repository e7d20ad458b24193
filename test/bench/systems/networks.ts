/**
 * Starts at once, each in a network with egress: taken from the pool, and made when it is asked for; and beside them those of a function that has only a loopback, which no network can keep waiting. A burst is so many connections with one start each; between bursts there is time for the pool to
 * be full again. Both in a world of their own (test/e2e/lab.ts), so that the machine's own network stays as it is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareFunctions } from '../../../build/functions.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { Lab, PUBLIC } from '../../e2e/lab.ts';
import type { Samples, Series, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { CONCURRENCIES, makeFunction } from './flashd.ts';
import { requests } from './http-client.ts';

/** No forks parked ahead: a start is a fork into a sandbox, and what differs is where that comes from. */
const COMMON = { FLASHD_EGRESS_DNS: PUBLIC, FLASHD_SPARES: '0' };
export const NETWORKS = {
  pooled: { ...COMMON, FLASHD_POOL_FLOOR: '64', FLASHD_POOL_CEILING: '64' },
  fresh: { ...COMMON, FLASHD_POOL_FLOOR: '1', FLASHD_POOL_CEILING: '1', FLASHD_UID_BASE: String(2_013_265_920) },
} as const;
type Server = keyof typeof NETWORKS;
const KINDS = { pooled: { server: 'pooled', name: 'cold-c' }, fresh: { server: 'fresh', name: 'cold-c' }, loopback: { server: 'pooled', name: 'cold-c-loopback' } } as const;
type Kind = keyof typeof KINDS;
const MANIFEST = { keepWarmSeconds: 0, standby: 0, functionTemplate: 0, maxInstances: 256 };
const MOST = Math.max(...CONCURRENCIES);
/** After a burst, until the pool is full again: so long, and so long for each of its starts. */
const REFILL_MS = 500;
const REFILL_EACH_MS = 20;
const BURSTS_MIN = 10;

export function networksSystem(workspace: Workspace): System {
  const servers = new Map<Server, Flashd>();
  let lab: Lab | undefined;
  const burst = async (kind: Kind, starts: number): Promise<number[]> => {
    const { server, name } = KINDS[kind];
    const { samples } = await requests(servers.get(server)!.port, `/function/${name}`, starts, starts, 0, 0, lab!.within(lab!.host));
    await sleep(REFILL_MS + starts * REFILL_EACH_MS);
    return samples.map(({ us }) => us);
  };
  const series = (kind: Kind, starts: number): Series => {
    const name = `network/${kind}/concurrency-${starts}`;
    return {
      name,
      group: 'network',
      total: n => Math.max(BURSTS_MIN, Math.ceil(n / (4 * starts))),
      async sample(count): Promise<Samples> {
        const taken: number[] = [];
        // The pool is as large as demand has been of late.
        if (kind !== 'fresh') await burst(kind, MOST);
        for (let each = 0; each < count; each++) taken.push(...(await burst(kind, starts)));
        return new Map([[name, taken]]);
      },
    };
  };
  return {
    name: 'flashd with networks',
    series: CONCURRENCIES.flatMap(starts => (Object.keys(KINDS) as Kind[]).map(kind => series(kind, starts))),
    async prepare(): Promise<void> {
      await prepareFunctions();
      lab = await Lab.build();
      const directories = [
        makeFunction(workspace, { name: 'cold-c', language: 'c', manifest: { ...MANIFEST, network: 'egress' } }),
        makeFunction(workspace, { name: 'cold-c-loopback', language: 'c', manifest: MANIFEST }),
      ];
      for (const server of Object.keys(NETWORKS) as Server[]) {
        const flashd = await Flashd.startWithin(lab.within(lab.host), NETWORKS[server]);
        servers.set(server, flashd);
        await flashd.cli('deploy', ...directories);
      }
      for (const kind of Object.keys(KINDS) as Kind[]) await burst(kind, 1);
    },
    async cleanup(): Promise<void> {
      for (const flashd of servers.values()) await flashd.stop();
      servers.clear();
      await lab?.dispose();
    },
  };
}
