/** What no server can be quicker than on this machine, when requests are as far apart as those to standbys: waking a process that sleeps, and a bare uWebSockets.js. */
import type { Samples, Series, System } from '../series.ts';
import { programs } from '../workspace.ts';
import { SPARSE_GAP_US } from './flashd.ts';
import { requests } from './http-client.ts';
import { httpPeerSystem } from './http-peer.ts';
import { output } from './program.ts';
import { uwsBare } from './uws-bare.ts';

const wakeSeries: Series = {
  name: 'floor/wake',
  also: ['floor/wake/waker'],
  group: 'start',
  total: n => n,
  async sample(count): Promise<Samples> {
    const lines = (await output(programs.wake, [String(count), String(SPARSE_GAP_US)])).trim().split('\n').map(line => line.split('\t').map(ns => Number(ns) / 1000));
    return new Map(['floor/wake/waker', 'floor/wake'].map((name, at) => [name, lines.map(line => line[at]!)]));
  },
};

export function floorSystem(): System {
  const bareSeries = (port: () => number): Series => ({
    name: 'floor/uws-bare',
    group: 'start',
    total: n => n,
    async sample(count): Promise<Samples> {
      const { samples } = await requests(port(), '/', 1, count, SPARSE_GAP_US);
      return new Map([['floor/uws-bare', samples.map(({ us }) => us)]]);
    },
  });
  return httpPeerSystem({ ...uwsBare, name: 'floor' }, target => [wakeSeries, bareSeries(target.port)]);
}
