/** What a process of each language may do in its sandbox, though it is a fork of a frozen one: threads, sockets, timers, clocks, signals, children, collecting garbage, compiling. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { everyByte, failure, json, response, type Case, type Reasons } from './case.ts';

const SUM = 4_999_950_000;
const STEPS = 3_000_000;
const INTERVAL_MS = 50;
/** How far two clocks may be apart that are read one after the other on a busy machine. */
const CLOCK_TOLERANCE_MS = 2000;
const AT_ONCE = 8;

const ANEW = 'a process per request, executed anew: nothing of it is forked from a template';
const NO_TEMPLATE_OF_TIMERS: Reasons = {
  ...Object.fromEntries(['java', 'native', 'python', 'ruby'].map((language) => [language, 'what ticks is a thread; a function that has started one while loading goes on without a function template']) ),
  ...Object.fromEntries(['perl', 'php'].map((language) => [language, 'what ticks is an alarm; a function that has set one while loading goes on without a function template'])),
};

function expectedSteps(): number {
  let value = 1;
  for (let index = 0; index < STEPS; index++) value = (Math.imul(value, 1103515245) + 12345) & 0x7fffffff;
  return value;
}

export const PROCESS_CASES: readonly Case[] = [
  {
    title: 'a handler can start threads and wait for them', fixture: 'threads', sandboxed: true, frozen: {},
    absent: { php: 'it has no threads', executable: ANEW },
    async run(target) {
      for (let call = 0; call < 2; call++) assert.deepEqual(json(await target.invoke()), { threads: 4, sum: SUM });
    },
  },
  {
    title: 'pools of threads and of processes work', fixture: 'pools', sandboxed: true, frozen: {},
    absent: { native: 'it has none of its own, and threads are a case', php: 'it has no threads', perl: 'it has none of its own, and threads are a case', executable: ANEW },
    async run(target) {
      for (let call = 0; call < 2; call++) for (const [pool, right] of Object.entries(json(await target.invoke()))) assert.equal(right, true, pool);
    },
  },
  {
    title: 'servers and clients find each other inside the sandbox, over TCP and unix sockets', fixture: 'sockets', sandboxed: true, frozen: {},
    async run(target) {
      for (let call = 0; call < 2; call++) assert.deepEqual(json(await target.invoke()), { tcp: 'over tcp', unix: 'over unix' });
    },
  },
  {
    title: 'a timer set while loading ticks as often as time passes, however long its template was frozen', fixture: 'timers', sandboxed: true,
    frozen: { forMs: 5000, except: NO_TEMPLATE_OF_TIMERS }, absent: { executable: ANEW },
    async run(target) {
      for (let call = 0; call < 2; call++) {
        const asked = performance.now();
        const { before, during, slept } = json(await target.invoke());
        const took = performance.now() - asked;
        assert.ok(during >= 3, `${during} ticks in half a second`);
        assert.ok(during <= took / INTERVAL_MS + 2, `a burst: ${during} ticks in ${took} ms`);
        // A function template ticks until it is frozen, and not while it is.
        if (target.frozenMs !== undefined) assert.ok(before < target.frozenMs / INTERVAL_MS / 2, `a burst: ${before} ticks before the call`);
        assert.ok(slept >= 99 && slept < 100 + CLOCK_TOLERANCE_MS, `a sleep of 100 ms took ${slept} ms`);
        await sleep(300); // ticks meet the instance between two requests as well
      }
    },
  },
  {
    title: 'clocks are right, and a wait lasts as long as it should', fixture: 'clocks', sandboxed: true, frozen: { forMs: 3000 },
    async run(target) {
      const near = (value: number, wanted: number, what: string, tolerance = CLOCK_TOLERANCE_MS): void => assert.ok(Math.abs(value - wanted) < tolerance, `${what}: ${value} instead of ${wanted}`);
      const { loaded, called, slept } = json(await target.invoke());
      near(called[0], Date.now(), 'the time of day');
      near(called[1], Number(process.hrtime.bigint()) / 1e6, 'the monotonic clock');
      near(called[1] - loaded[1], called[0] - loaded[0], 'the time since loading, by both clocks', 50);
      assert.ok(called[0] - loaded[0] >= (target.frozenMs ?? 0), 'the template was frozen in between');
      near(slept, 100, 'a sleep of 100 ms');
      assert.ok(slept >= 99, `a sleep of 100 ms took ${slept} ms`);
    },
  },
  {
    title: 'signals reach their handlers: sent to itself, of a child, of an alarm; between requests too', fixture: 'signals', sandboxed: true, frozen: {},
    async run(target, language) {
      const first = json(await target.invoke());
      assert.ok(first.during.every((count: number) => count >= 1), JSON.stringify(first));
      if (language === 'executable' || target.frozenMs !== undefined) return; // the process has ended
      await sleep(1500);
      const second = json(await target.invoke());
      assert.ok(second.before.every((count: number, index: number) => count > first.during[index]), JSON.stringify([first, second]));
      assert.ok(second.during.every((count: number) => count >= 1), JSON.stringify(second));
    },
  },
  {
    title: 'a storm of signals harms neither requests nor responses', fixture: 'storm', sandboxed: true,
    absent: { java: 'it has no alarm of its own', node: 'it has no alarm of its own', ruby: 'it has no alarm of its own', executable: ANEW },
    async run(target) {
      const headers = { 'content-type': 'application/octet-stream' };
      for (const size of [3_000_000, 10, 3_000_000]) {
        const body = everyByte(size);
        assert.ok(response(await target.invoke({ method: 'POST', headers, body, binary: true })).body.equals(body), `${size} bytes`);
        await sleep(50);
      }
    },
  },
  {
    title: 'garbage is collected, under pressure and when asked for, and what is reachable stays', fixture: 'gc', sandboxed: true, frozen: {},
    absent: { native: 'it has no collector', executable: ANEW },
    async run(target) {
      for (let call = 0; call < 2; call++) assert.deepEqual(json(await target.invoke()), { collected: true, kept: 49_950_000 });
    },
  },
  {
    title: 'a hot loop has the right result, and is compiled where the runtime compiles', fixture: 'jit', sandboxed: true, frozen: {},
    async run(target) {
      const { result, compiled } = json(await target.invoke());
      assert.equal(result, expectedSteps());
      assert.notEqual(compiled, false);
    },
  },
  {
    title: 'recursion without end is the end of the call or of the instance, and of nothing else', fixture: 'recursion', sandboxed: true, frozen: { failing: true }, absent: { executable: ANEW },
    async run(target, language) {
      const told = ['java', 'node', 'python', 'ruby'].includes(language); // the others have no limit but the stack or the memory
      for (let call = 0; call < 2; call++) failure(await target.invoke(), ...(told ? ['function_error'] : ['function_error', 'function_crashed', 'function_out_of_memory']));
    },
  },
  {
    title: 'the process id is right wherever one asks for it', fixture: 'process-id', sandboxed: true, frozen: {}, absent: { executable: ANEW },
    async run(target) {
      const { ids } = json(await target.invoke());
      assert.ok(ids[0] > 1 && ids.every((id: number) => id === ids[0]), JSON.stringify(ids));
    },
  },
  {
    title: 'requests at once get instances of their own, and each its own answer', fixture: 'body', sandboxed: true,
    async run(target) {
      const headers = { 'content-type': 'application/octet-stream' };
      const bodies = Array.from({ length: 4 * AT_ONCE }, (_, index) => everyByte(1000 + index * 1000));
      const answers = await Promise.all(bodies.map((body) => target.invoke({ method: 'POST', headers, body, binary: true })));
      answers.forEach((answer, index) => assert.ok(response(answer).body.equals(bodies[index]!), `${index}`));
    },
  },
  {
    title: 'one instance works on eight requests at once', fixture: 'concurrent', sandboxed: true,
    absent: Object.fromEntries(['executable', 'native', 'perl', 'php', 'ruby'].map((language) => [language, 'an instance works on one request at a time'])),
    async run(target) {
      for (let round = 0; round < 2; round++) {
        const answers = await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => target.invoke({ method: 'POST', headers: { 'content-type': 'text/plain' }, body: Buffer.from(`number ${index}`) })));
        assert.deepEqual(answers.map(json), Array.from({ length: AT_ONCE }, (_, index) => `number ${index}`));
      }
    },
  },
];
