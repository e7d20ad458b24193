import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { PooledInstance } from '../../../src/pool/pooled-instance.ts';
import { REWINDS_AT_ONCE, Rewinds, type RewindHost } from '../../../src/pool/rewinds.ts';
import type { Rewound } from '../../../src/sandbox/contract.ts';

const REWOUND: Rewound = { type: 'rewound', request: 0, ownPages: 0, writtenPages: 0, droppedPages: 0, mappings: 0, phases: [] };

/** More than lies between two of them while one is worth waiting for. */
const LATE_MS = 40;

/** Rewinds whose sandbox answers when it is told to. */
function rewindsOf(cpuMillis = 1000) {
  /** Instances in the order in which sandboxd was asked to rewind them. */
  const asked: number[] = [];
  const answers = new Map<number, { resolve: (rewound: Rewound) => void; reject: (error: Error) => void }>();
  const done: number[] = [];
  const state = { retries: 0 };
  const ask = (_: string, id: number) => {
    asked.push(id);
    return new Promise<Rewound>((resolve, reject) => answers.set(id, { resolve, reject }));
  };
  const host = {
    spec: { init: '', ping: '', limits: { cpuMillis } },
    sandbox: { rewind: ask },
    counters: { rewinds: 0, pagesRewound: 0, rewindsFailed: 0, rewindPhaseUs: [] },
    waiting: true,
    rewound: ({ id }: PooledInstance) => void done.push(id),
    replace: () => undefined,
    retry: () => void state.retries++,
  } as unknown as RewindHost;
  const instances = Array.from({ length: REWINDS_AT_ONCE + 3 }, (_, id) => ({ id, condemned: false, idle: () => undefined, busy: () => undefined, begin: () => undefined, destroy: () => undefined }) as unknown as PooledInstance);
  const rewinds = new Rewinds(host);
  for (const instance of instances) rewinds.rewind(instance);
  return { rewinds, instances, asked, answers, done, state, last: instances.length - 1 };
}

describe('rewinds of one version', () => {
  test('at once are as many as there are processors, and then the last one first', async () => {
    const { asked, answers, done, last } = rewindsOf();
    assert.deepEqual(asked, Array.from({ length: REWINDS_AT_ONCE }, (_, id) => id));
    answers.get(0)!.resolve(REWOUND);
    await turn();
    assert.deepEqual([done, asked.slice(REWINDS_AT_ONCE)], [[0], [last]]);
    for (let next = last; answers.has(next); next--) {
      answers.get(next)!.resolve(REWOUND);
      await turn();
    }
    assert.deepEqual(asked.slice(REWINDS_AT_ONCE), [last, last - 1, last - 2]);
  });

  test('one that fails makes room for the next', async () => {
    const { asked, answers, done, last } = rewindsOf();
    answers.get(0)!.reject(new Error('it cannot be'));
    await turn();
    assert.deepEqual([done, asked.at(-1)], [[], last]);
  });

  test('who needs an instance waits for one as long as they succeed one another, and is remembered', async () => {
    const { rewinds, answers, state } = rewindsOf();
    assert.equal(rewinds.soon(), false, 'none has shown yet how long it takes');
    answers.get(0)!.resolve(REWOUND);
    await turn();
    assert.equal(rewinds.soon(), true);
    await sleep(LATE_MS);
    assert.deepEqual([rewinds.soon(), state.retries], [false, 1]);
    for (const next of answers.keys()) {
      answers.get(next)!.resolve(REWOUND);
      await turn();
    }
    assert.equal(rewinds.soon(), false, 'processors are free');
  });

  test('who has a part of a processor waits until the rewind has taken no more than that', async () => {
    const { rewinds, instances, answers, done, last } = rewindsOf(100);
    const begin = performance.now();
    const finish = async (id: number, phases: number[]) => {
      answers.get(id)!.resolve({ ...REWOUND, phases });
      await turn();
    };
    await finish(0, [1500, 500]);
    await finish(last, [50, 50]);
    await finish(last - 1, [1500, 500]);
    assert.deepEqual(done, [last], 'what is not worth a timer is owed');
    rewinds.settled(instances[last - 1]!);
    while (done.length < 2) await sleep(1);
    assert.ok(performance.now() - begin >= 17, 'nine times 2 ms');
    await sleep(20);
    assert.deepEqual(done, [last, 0], 'who is over is not waited for');
    rewinds.rewind(instances[last]!);
    await finish(last - 2, []);
    await finish(last, [20]);
    assert.deepEqual(done, [last, 0, last - 2], 'it adds up');
    await sleep(10);
    assert.deepEqual(done, [last, 0, last - 2, last]);
  });

  test('who is over while it waits is not asked for', async () => {
    const { rewinds, instances, asked, answers, last } = rewindsOf();
    (instances[last] as { condemned: boolean }).condemned = true;
    rewinds.settled(instances[last - 1]!);
    answers.get(0)!.resolve(REWOUND);
    await turn();
    assert.deepEqual(asked.slice(REWINDS_AT_ONCE), [last - 2]);
  });
});
