/** What interception costs: the start of an instance with and without a filter of its own, and one call, untouched, refused by the filter, and answered by the monitor. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../build/steps.ts';
import { Flashd } from '../../conformance/packaged.ts';
import type { Series, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { requests } from './http-client.ts';

const GAP_US = 25_000;
const COLD = { standby: 0, functionTemplate: 0, keepWarmSeconds: 0 };
const WARM = { standby: 0, functionTemplate: 0, maxInstances: 1 };
const AUDIT = { audit: ['getppid'] };

const STARTS = { none: undefined, audit: AUDIT, enforce: { enforce: ['self', 'openat'] } } as const;
const CALLS = { plain: undefined, bpf: { deny: ['getppid'], log: false }, notified: AUDIT } as const;

export function interceptionSystem(workspace: Workspace): System {
  let flashd: Flashd | undefined;
  const starts = Object.keys(STARTS).map((kind): Series => ({
    name: `intercept/start/${kind}`,
    group: 'start',
    total: n => n,
    async sample(count) {
      const { samples } = await requests(flashd!.port, `/function/start-${kind}`, 1, count, GAP_US);
      return new Map([[`intercept/start/${kind}`, samples.map(({ us }) => us)]]);
    },
  }));
  const calls = Object.keys(CALLS).map((kind): Series => ({
    name: `intercept/call/${kind}`,
    group: 'latency',
    total: n => Math.min(n, 50),
    async sample(count) {
      const means: number[] = [];
      for (let index = 0; index < count; index++) means.push(Number((await flashd!.http('GET', `/function/call-${kind}?measure`)).body.toString()));
      return new Map([[`intercept/call/${kind}`, means]]);
    },
  }));
  const make = (name: string, manifest: object): string => {
    const directory = join(workspace.directory, 'functions', name);
    mkdirSync(directory, { recursive: true });
    cpSync(join(root, 'test/bench/programs/calls.c'), join(directory, 'handler.c'));
    writeFileSync(join(directory, 'function.json'), JSON.stringify(manifest));
    return directory;
  };
  return {
    name: 'flashd interception',
    series: [...starts, ...calls],
    prepare: async () => {
      flashd = await Flashd.start();
      const directories = [
        ...Object.entries(STARTS).map(([kind, interception]) => make(`start-${kind}`, { ...COLD, interception })),
        ...Object.entries(CALLS).map(([kind, interception]) => make(`call-${kind}`, { ...WARM, interception })),
      ];
      await flashd.cli('deploy', ...directories);
      for (const kind of Object.keys(CALLS)) await flashd.http('GET', `/function/call-${kind}?measure`);
      for (const kind of Object.keys(STARTS)) {
        const answer = await flashd.http('GET', `/function/start-${kind}`);
        if (answer.status !== 200) throw new Error(`start-${kind}: ${answer.status} ${answer.body.toString()}`);
      }
    },
    cleanup: async () => {
      await flashd?.stop();
      flashd = undefined;
    },
  };
}
