/** What the protocol asks of every shim, whatever the function: frames in any portions, READY once, descriptors, load failures without a request. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { initFrame, requestFrame, Shim } from '../../conformance/direct.ts';
import { prepareFixture, root, type Fixture, type Language } from '../../conformance/fixtures.ts';
import { FRAME, type Frame } from '../../conformance/frames.ts';

type Context = { after(work: () => unknown): void };

async function boot(t: Context, language: Language, name: string): Promise<{ fixture: Fixture; shim: Shim; ready: Frame }> {
  const fixture = prepareFixture(language, name);
  t.after(() => fixture.remove());
  const shim = new Shim(fixture.runtime, fixture.directory);
  t.after(() => shim.close());
  return { fixture, shim, ready: await shim.ready() };
}

async function nextFrame(shim: Shim): Promise<Frame> {
  const frame = await shim.next();
  assert.notEqual(typeof frame, 'string', `${frame as string}\n${shim.output}`);
  return frame as Frame;
}

for (const language of ['python', 'native'] as const) {
  describe(`the ${language} shim`, () => {
    test('a template has no descriptor but 0 to 3 when it says READY, and waits in poll', async (t) => {
      const { shim, ready } = await boot(t, language, 'logs');
      assert.deepEqual([ready.type, ready.id, ready.meta.length, ready.body.length], [FRAME.ready, 0, 0, 0]);
      assert.deepEqual(shim.descriptors(), [0, 1, 2, 3]);
      assert.equal(shim.output, '', 'the warm-up shows');
    });

    test('INIT and REQUEST are understood byte by byte', async (t) => {
      const { fixture, shim } = await boot(t, language, 'logs');
      for (const byte of Buffer.concat([initFrame(fixture), requestFrame(fixture.runtime, 7)])) {
        shim.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const answer = await nextFrame(shim);
      assert.deepEqual([answer.type, answer.id, answer.aux], [FRAME.response, 7, 200]);
    });

    test('requests that arrive in one piece are answered in order, the load time is told once', async (t) => {
      const { fixture, shim } = await boot(t, language, 'logs');
      shim.write(Buffer.concat([initFrame(fixture), ...[5, 6, 9].map((id) => requestFrame(fixture.runtime, id))]));
      const answers = [await nextFrame(shim), await nextFrame(shim), await nextFrame(shim)];
      assert.deepEqual(answers.map(({ type, id }) => [type, id]), [[FRAME.response, 5], [FRAME.response, 6], [FRAME.response, 9]]);
      assert.ok(answers[0]!.loadUs > 0);
      assert.deepEqual(answers.slice(1).map(({ loadUs }) => loadUs), [0, 0]);
    });

    test('a load failure without a request is told to id 0, and to a request that comes after it', async (t) => {
      const { fixture, shim } = await boot(t, language, 'load-throws');
      shim.write(initFrame(fixture));
      const first = await nextFrame(shim);
      assert.deepEqual([first.type, first.id, first.aux], [FRAME.error, 0, 2]);
      shim.write(requestFrame(fixture.runtime, 3));
      const second = await nextFrame(shim);
      assert.deepEqual([second.type, second.id, second.aux], [FRAME.error, 3, 2]);
    });

    test('a missing handler file is fault 1', async (t) => {
      const { fixture, shim } = await boot(t, language, 'logs');
      shim.write(Buffer.concat([initFrame(fixture, { handler: 'absent.so' }), requestFrame(fixture.runtime, 1)]));
      const answer = await nextFrame(shim);
      assert.deepEqual([answer.type, answer.id, answer.aux], [FRAME.error, 1, 1]);
      assert.match(answer.meta.toString(), /absent\.so/);
    });

    test('the end of the data socket is the end of the process', async (t) => {
      const { fixture, shim } = await boot(t, language, 'logs');
      shim.write(Buffer.concat([initFrame(fixture), requestFrame(fixture.runtime, 1)]));
      await nextFrame(shim);
      const exit = new Promise((resolve) => shim.child.once('exit', resolve));
      shim.end();
      assert.equal(await exit, 0);
    });
  });
}

describe('the python shim', () => {
  test('concurrency above 1 runs requests at the same time', async (t) => {
    const { fixture, shim } = await boot(t, 'python', 'random'); // sleeps for 200 ms
    const started = performance.now();
    shim.write(Buffer.concat([initFrame(fixture, { concurrency: '4' }), ...[1, 2, 3, 4].map((id) => requestFrame(fixture.runtime, id))]));
    const ids = [];
    for (let i = 0; i < 4; i++) ids.push((await nextFrame(shim)).id);
    assert.deepEqual(ids.sort(), [1, 2, 3, 4]);
    assert.ok(performance.now() - started < 700);
  });

  test('random values do not repeat between forks of one template, hooks or not', () => {
    const [folder, fixture] = [join(root, 'src/runtimes/python'), join(root, 'test/conformance/fixtures/python/random')];
    const output = execFileSync('/usr/bin/python3', ['-I', '-B', join(import.meta.dirname, 'forks.py'), folder, fixture, '16'], { cwd: fixture, timeout: 20_000 });
    const values = (JSON.parse(output.toString()) as unknown[]).map(String);
    assert.equal(values.length, 16 * 7);
    assert.equal(new Set(values).size, values.length);
  });
});
