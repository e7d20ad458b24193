/** While somebody works long, short requests have a processor to themselves: who is where, as the kernel tells it, and that nobody moves himself. How fast they are then is the benchmark's affair. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd } from '../conformance/packaged.ts';
import { isGateway, member } from './footprint.ts';

/** native/base/lane.h: FL_LANE_PROCESSORS_MIN. */
const LANE_PROCESSORS_MIN = 4;
const WORK_MS = 3500;
/** Within which whoever is to move has. */
const MOVED_MS = 10_000;
/** Requests that follow. One that takes long, or an instance that is not ready, is elsewhere: a busy machine has some. */
const AGAIN = 50;
/** Within which the next instance stands by. */
const STANDBY_MS = 20;

/** Where each of its threads may run. */
const SHORT = `
import os
def handler(event, context):
  return [sorted(os.sched_getaffinity(int(thread))) for thread in os.listdir('/proc/self/task')]
`;
/** With one that was there from the beginning. */
const THREADED = `import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n${SHORT}`;
const SHORT_ONES = { reuse: THREADED, restore: SHORT, fresh: SHORT } as const;
/** Goes wherever it can all the time, and so does a child of its own. */
const LONG = `
import json, os, time
def everywhere():
  found = set()
  for processors in ({0}, set(range(64)), {1}):
    os.sched_setaffinity(0, processors)
    found.add(tuple(sorted(os.sched_getaffinity(0))))
  return found
def handler(event, context):
  end, found = time.monotonic() + ${WORK_MS / 1000}, set()
  reader, writer = os.pipe()
  if os.fork() == 0:
    while time.monotonic() < end: found |= everywhere()
    os.write(writer, json.dumps(sorted(found)).encode())
    os._exit(0)
  while time.monotonic() < end: found |= everywhere()
  theirs = json.loads(os.read(reader, 65536))
  os.wait()
  return {'own': sorted(found), 'theirs': theirs}
`;

/** As the kernel writes them: "0-2,5". */
const parse = (list: string): number[] =>
  list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index);
  });

describe('the lane', () => {
  let below: string;
  let flashd: Flashd;
  let gateway: number;
  let all: number[];

  /** Of the gateway: its main thread, and all the different places of the others. */
  const placesOfGateway = (): { main: number[]; others: string[] } => {
    const threads = readdirSync(`/proc/${gateway}/task`).map((thread) => ({ main: Number(thread) === gateway, processors: parse(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${gateway}/task/${thread}/status`, 'utf8'))![1]!) }));
    return { main: threads.find(({ main }) => main)!.processors, others: [...new Set(threads.filter(({ main }) => !main).map(({ processors }) => processors.join()))] };
  };
  const short = async (name: string): Promise<number[][]> => JSON.parse((await flashd.http('GET', `/function/${name}`)).body.toString()) as number[][];
  const isAt = (threads: number[][], processors: number[]): boolean => threads.every((thread) => thread.join() === processors.join());
  const until = async (condition: () => Promise<boolean> | boolean, what: string): Promise<void> => {
    for (const end = Date.now() + MOVED_MS; !(await condition()); await sleep(5)) assert.ok(Date.now() < end, what);
  };

  const deploy = async (name: string, handler: string, requestIsolation: string): Promise<void> => {
    mkdirSync(join(below, name));
    writeFileSync(join(below, name, 'handler.py'), handler);
    writeFileSync(join(below, name, 'function.json'), JSON.stringify({ requestIsolation }));
    await flashd.cli('deploy', join(below, name));
    await flashd.http('GET', `/function/${name}`);
  };

  before(async () => {
    below = mkdtempSync(join(tmpdir(), 'flashd-lane-'));
    flashd = await Flashd.start();
    gateway = member(flashd.pid, isGateway).pid;
    all = placesOfGateway().main;
    await deploy('long', LONG, 'reuse');
    for (const [isolation, handler] of Object.entries(SHORT_ONES)) await deploy(isolation, handler, isolation);
    await flashd.frozen('restore');
  });
  after(async () => {
    await flashd?.stop();
    rmSync(below, { recursive: true, force: true });
  });

  for (const name of Object.keys(SHORT_ONES)) {
    test(`${name}: who is short is in it while another one works long, and wherever it may be afterwards`, async () => {
      const hasLane = all.length >= LANE_PROCESSORS_MIN;
      const lane = hasLane ? all.slice(0, 1) : all;
      const others = hasLane ? all.slice(1) : all;
      await until(async () => isAt(await short(name), all), 'it is in the lane, though nobody works long');
      let working = true;
      const answer = flashd.http('GET', '/function/long').finally(() => { working = false; });
      await sleep(WORK_MS / 10);
      await until(async () => isAt(await short(name), lane), 'it does not come into the lane');
      let stayed = 0;
      for (let again = 0; again < AGAIN; again++) {
        await sleep(STANDBY_MS);
        stayed += Number(isAt(await short(name), lane));
      }
      assert.ok(stayed > AGAIN / 2, `it was there in ${stayed} of ${AGAIN} requests`);
      const { main, others: threads } = placesOfGateway();
      assert.ok(working, 'the work was over too soon');
      assert.deepEqual([main, threads], [lane, [others.join()]]);
      const found = JSON.parse((await answer).body.toString()) as Record<'own' | 'theirs', number[][]>;
      for (const places of Object.values(found)) {
        assert.ok(places.every((place) => place.join() === all.join() || place.join() === others.join()), `it went to ${JSON.stringify(places)}`);
        assert.ok(places.some((place) => place.join() === others.join()), 'it was not kept out of the lane');
      }
      await until(() => placesOfGateway().main.join() === all.join() && placesOfGateway().others.join() === all.join(), 'the gateway stays in the lane');
      await until(async () => isAt(await short(name), all), 'it stays in the lane');
    });
  }
});
