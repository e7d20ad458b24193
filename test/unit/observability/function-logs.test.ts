import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FunctionLogs, type LogEntry, type LogLabels } from '../../../src/observability/index.ts';

function setUp(t: TestContext, options: Partial<ConstructorParameters<typeof FunctionLogs>[0]> = {}) {
  const parent = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  const directory = join(parent, 'logs');
  const errors: unknown[] = [];
  const make = () =>
    new FunctionLogs({
      directory,
      linesPerSecond: 10_000,
      bytesPerSecond: 10_000_000,
      lineBytes: 100,
      fileBytes: 1_000_000,
      onError: (error) => errors.push(error),
      ...options,
    });
  const logs = make();
  t.after(async () => {
    await logs.close();
    rmSync(parent, { recursive: true });
  });
  return { logs, directory, errors, make };
}

const labels = (overrides: Partial<LogLabels> = {}): LogLabels => ({
  function: 'f',
  version: 'v',
  instance: 1,
  invocation: '',
  ...overrides,
});
const messages = (entries: LogEntry[]) => entries.map((entry) => entry.message);

test('lines are tagged with function, version, instance and the invocation of the moment', async (t) => {
  const { logs } = setUp(t);
  const of = labels({ instance: 7 });
  logs.write(of, 1, Buffer.from('before\n'));
  of.invocation = 'r1';
  logs.write(of, 2, Buffer.from('during\n'));
  const [before, during] = await logs.read('f', 2);
  assert.ok(Math.abs(Date.parse(before!.time) - Date.now()) < 10_000);
  assert.deepEqual({ ...before, time: '' }, { time: '', function: 'f', version: 'v', instance: 7, stream: 'stdout', message: 'before' });
  assert.deepEqual(
    { ...during, time: '' },
    { time: '', function: 'f', version: 'v', instance: 7, invocation: 'r1', stream: 'stderr', message: 'during' },
  );
});

test('lines are put together from chunks, characters too, and the last one needs no newline', async (t) => {
  const { logs } = setUp(t);
  const of = labels();
  const bytes = Buffer.from('größe\r\n\nend');
  for (const byte of bytes) logs.write(of, 1, Uint8Array.of(byte));
  logs.write(of, 1, new Uint8Array());
  assert.deepEqual(messages(await logs.read('f', 3)), ['größe', '', 'end']);
});

test('a line whose newline does not come is logged as it is, after a moment', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { logs } = setUp(t);
  logs.write(labels(), 1, Buffer.from('first\nno newline'));
  assert.deepEqual(messages(await logs.read('f', 5)), ['first']);
  t.mock.timers.tick(100);
  assert.deepEqual(messages(await logs.read('f', 5)), ['first', 'no newline']);
});

test('a chunk may be reused after the call', async (t) => {
  const { logs } = setUp(t);
  const of = labels();
  const chunk = Buffer.from('abc');
  logs.write(of, 1, chunk);
  chunk.fill(0);
  logs.write(of, 1, Buffer.from('def\n'));
  assert.deepEqual(messages(await logs.read('f', 1)), ['abcdef']);
});

test('a long line is cut, flagged, and the rest of it is passed over', async (t) => {
  const { logs } = setUp(t);
  for (const portion of [1, 7, 65_536]) {
    const of = labels();
    const bytes = Buffer.from(`${'x'.repeat(100)}\n${'y'.repeat(1000)}\nz\n`);
    for (let at = 0; at < bytes.length; at += portion) logs.write(of, 1, bytes.subarray(at, at + portion));
    const entries = await logs.read('f', 3);
    assert.deepEqual(
      entries.map(({ message, cut }) => [message, cut]),
      [
        ['x'.repeat(100), undefined],
        ['y'.repeat(100), true],
        ['z', undefined],
      ],
    );
  }
});

test('a flood is dropped beyond the rate, counted, and costs little', async (t) => {
  const { logs, directory } = setUp(t, { linesPerSecond: 10, bytesPerSecond: 1000, lineBytes: 1000 });
  const of = labels();
  const chunk = Buffer.from('a line of a flood\n'.repeat(3600));
  const before = performance.now();
  for (let round = 0; round < 1600; round++) logs.write(of, 1, chunk);
  const ms = performance.now() - before;
  assert.ok(ms < 5000, `100 MB took ${ms} ms`);
  const other = labels({ function: 'g' });
  logs.write(other, 1, Buffer.from('heard\n'));
  assert.deepEqual(messages(await logs.read('g', 1)), ['heard']);
  await logs.close();
  const entries = await logs.read('f', 1000);
  const kept = entries.filter((entry) => entry.dropped === undefined).length;
  assert.ok(kept >= 50 && kept <= 100 + (ms / 1000 + 1) * 10, `${kept} lines were kept`);
  const dropped = entries.reduce((sum, entry) => sum + (entry.dropped?.lines ?? 0), 0);
  assert.equal(dropped, 3600 * 1600 - kept);
  assert.deepEqual([...logs.counters()].find((each) => each.functionName === 'f')!.dropped, dropped);
  assert.ok(statSync(join(directory, 'f.jsonl')).size < 100_000);
});

test('a line that lost its beginning or end to the rate limit is not glued to another', async (t) => {
  const { logs } = setUp(t, { linesPerSecond: 1, bytesPerSecond: 1024, lineBytes: 100_000 });
  const of = labels();
  logs.write(of, 1, Buffer.from(`${'a\n'.repeat(10)}beginning `));
  logs.write(of, 1, Buffer.from('lost'));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  logs.write(of, 1, Buffer.from(' end\nnext\n'));
  const entries = (await logs.read('f', 100)).filter((entry) => entry.dropped === undefined);
  assert.equal(entries.at(-1)!.message, 'next');
});

test('whoever prints more than is kept is told, with whole lines and without', async (t) => {
  const { logs } = setUp(t, { linesPerSecond: 1, bytesPerSecond: 1024, lineBytes: 100_000 });
  const of = labels();
  assert.equal(logs.write(of, 1, Buffer.from('kept\n')), true);
  assert.equal(logs.write(of, 1, Buffer.from('a\n'.repeat(20))), false);
  assert.equal(logs.write(of, 1, Buffer.from('no end of a line')), false);
  assert.equal(logs.write(labels({ function: 'g' }), 1, Buffer.from('another one\n')), true);
});

test('what was printed before a restart can be read, newest last, in the number asked for', async (t) => {
  const { logs, make } = setUp(t);
  logs.write(labels(), 1, Buffer.from(Array.from({ length: 50 }, (_, index) => `line ${index}\n`).join('')));
  await logs.close();
  const again = make();
  again.write(labels(), 1, Buffer.from('line 50\n'));
  assert.deepEqual(messages(await again.read('f', 3)), ['line 48', 'line 49', 'line 50']);
  assert.equal((await again.read('f', 1000)).length, 51);
  await again.close();
});

test('a full file is rotated, and the disk use is bounded', async (t) => {
  const { logs, directory } = setUp(t, { fileBytes: 10_000 });
  for (let round = 0; round < 10; round++) {
    logs.write(labels(), 1, Buffer.from(`${'x'.repeat(90)}\n`.repeat(40)));
    await logs.read('f', 10_000);
  }
  assert.deepEqual(readdirSync(directory).sort(), ['f.jsonl', 'f.jsonl.1']);
  for (const file of readdirSync(directory)) assert.ok(statSync(join(directory, file)).size <= 10_000);
});

test('followers hear every entry until they stop', (t) => {
  const { logs } = setUp(t);
  const heard: string[] = [];
  const stop = logs.follow('f', (entry) => heard.push(entry.message));
  logs.write(labels(), 1, Buffer.from('one\n'));
  logs.write(labels({ function: 'g' }), 1, Buffer.from('other\n'));
  stop();
  logs.write(labels(), 1, Buffer.from('two\n'));
  assert.deepEqual(heard, ['one']);
});

test('removing a function removes its files, whatever its last instance still prints', async (t) => {
  const { logs, directory } = setUp(t);
  const of = labels();
  logs.write(of, 1, Buffer.from('one\n'));
  await logs.read('f', 10);
  assert.ok(existsSync(join(directory, 'f.jsonl')));
  await logs.remove('f');
  logs.write(of, 1, Buffer.from('two\n'));
  await logs.close();
  assert.deepEqual(readdirSync(directory), []);
});

test('a directory that cannot be written is reported, and the function goes on', async (t) => {
  const { logs, directory, errors } = setUp(t);
  rmSync(directory, { recursive: true });
  writeFileSync(directory, '');
  logs.write(labels(), 1, Buffer.from('one\n'));
  await assert.rejects(logs.read('f', 10));
  assert.equal(errors.length, 1);
  assert.deepEqual(messages(await logs.read('f', 1)), ['one']);
});
