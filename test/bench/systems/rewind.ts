/**
 * What it takes to make an instance that has answered into what it was ("requestIsolation": "restore"): one restore after a hello, as Server-Timing of the next response tells, and requests a second of a function that waits
 * 5 ms, restored after each and used again as it is; and of one that does not wait, restored after each, at one connection and at as many as wait for the processors.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareFunctions } from '../../../build/functions.ts';
import { root } from '../../../build/steps.ts';
import { Flashd } from '../../conformance/packaged.ts';
import { writeHeavy } from '../programs/heavy.ts';
import type { Samples, Series, System } from '../series.ts';
import type { Workspace } from '../workspace.ts';
import { HANDLERS } from './flashd.ts';
import { load, requests } from './http-client.ts';

export const REWOUND = ['c', 'python', 'ruby', 'php', 'node', 'java', 'python-numpy', 'python-heap'] as const;
type Rewound = (typeof REWOUND)[number];

const GAP_US = 5000;
const READY_TRIES = 200;
const CONNECTIONS = 4;
export const HELLO_CONNECTIONS = [1, 16] as const;
/** Of which all are the request's own: 150 MB in pieces that the allocator takes from the heap. */
const HEAP = `kept = []


def handler(event, context):
  kept.extend(bytes(1 << 16) + b'1' for _ in range(2400))
  return {}
`;
const WAITING = `import time


def handler(event, context):
  time.sleep(0.005)
  return {}
`;

export function rewindSystem(workspace: Workspace): System {
  let flashd: Flashd | undefined;
  const restores = REWOUND.map((kind): Series => ({
    name: `rewind/${kind}/restore`,
    also: [`rewind/${kind}/phase`],
    group: 'start',
    total: n => n,
    sample: count => restoresOf(flashd!.port, kind, count),
  }));
  const throughputs = (['restore', 'reuse'] as const).map((isolation): Series => ({
    name: `rewind/${isolation}/throughput`,
    group: 'throughput',
    total: n => n,
    sample: async (count): Promise<Samples> => new Map([[`rewind/${isolation}/throughput`, await load(flashd!.port, `/function/waits-${isolation}`, CONNECTIONS, count)]]),
  }));
  const hellos = HELLO_CONNECTIONS.map((connections): Series => ({
    name: `rewind/python/connections-${connections}/throughput`,
    group: 'throughput',
    total: n => n,
    sample: async (count): Promise<Samples> => new Map([[`rewind/python/connections-${connections}/throughput`, await load(flashd!.port, '/function/hello-restore', connections, count)]]),
  }));
  return {
    name: 'flashd rewinding',
    series: [...restores, ...throughputs, ...hellos],
    prepare: async () => {
      await prepareFunctions();
      flashd = await Flashd.start();
      const waiting = (['restore', 'reuse'] as const).map(requestIsolation => {
        write(workspace, `waits-${requestIsolation}`, 'handler.py', WAITING);
        return write(workspace, `waits-${requestIsolation}`, 'function.json', JSON.stringify({ requestIsolation, maxInstances: CONNECTIONS }));
      });
      const hello = write(workspace, 'hello-restore', 'function.json', JSON.stringify({ requestIsolation: 'restore' }));
      cpSync(join(root, 'functions/hello-python', HANDLERS.python), join(hello, HANDLERS.python));
      await flashd.cli('deploy', ...REWOUND.map(kind => make(workspace, kind)), ...waiting, hello);
      for (const kind of REWOUND) await untilRewound(flashd, `rewound-${kind}`);
      for (const name of ['waits-restore', 'hello-restore']) await untilRewound(flashd, name);
    },
    cleanup: async () => {
      await flashd?.stop();
      flashd = undefined;
    },
  };
}

function write(workspace: Workspace, name: string, file: string, text: string): string {
  const directory = join(workspace.directory, 'rewind', name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, file), text);
  return directory;
}

function make(workspace: Workspace, kind: Rewound): string {
  const directory = write(workspace, `rewound-${kind}`, 'function.json', JSON.stringify({ requestIsolation: 'restore', maxInstances: 1, memoryMb: 512 }));
  if (kind === 'python-numpy') writeHeavy('python', directory);
  else if (kind === 'python-heap') write(workspace, `rewound-${kind}`, 'handler.py', HEAP);
  else cpSync(join(root, `functions/hello-${kind}`, HANDLERS[kind]), join(directory, HANDLERS[kind]));
  return directory;
}

/** Until the first template of the function is there, its instances serve one request each. */
async function untilRewound(flashd: Flashd, name: string): Promise<void> {
  for (let tries = 0; tries < READY_TRIES; tries++) {
    const { samples } = await requests(flashd.port, `/function/${name}`, 1, 3, 30_000);
    if (samples.some(({ timing }) => timing.includes('rewind;'))) return;
  }
  throw new Error(`instances of ${name} are not rewound:\n${flashd.output}`);
}

/** A response tells of the restore before it; those that a new instance gave tell of none. */
async function restoresOf(port: number, kind: Rewound, count: number): Promise<Samples> {
  const rows = new Map<string, number[]>();
  const add = (row: string, ms: string): void => {
    const samples = rows.get(row);
    if (samples === undefined) rows.set(row, [Number(ms) * 1000]);
    else samples.push(Number(ms) * 1000);
  };
  const name = `rewind/${kind}/restore`;
  for (let tries = 0; (rows.get(name)?.length ?? 0) < count; tries++) {
    if (tries > count * READY_TRIES) throw new Error(`${name}: no restores`);
    const { samples } = await requests(port, `/function/rewound-${kind}`, 1, count - (rows.get(name)?.length ?? 0), GAP_US);
    for (const { timing } of samples) {
      const whole = /rewind;[^,]*dur=([\d.]+)/.exec(timing)?.[1];
      if (whole === undefined) continue;
      add(name, whole);
      for (const [, phase, ms] of timing.matchAll(/rewind-(\w+);dur=([\d.]+)/g)) add(`rewind/${kind}/phase/${phase}`, ms!);
    }
  }
  return rows;
}
