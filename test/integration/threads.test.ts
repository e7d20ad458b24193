/** A template with threads: every fork has them all again, each in the wait in which it was frozen, with what it knew. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, after, describe, test } from 'node:test';
import { encodePack, readRuntimes } from '../../build/pack-runtimes.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const sandboxd = join(import.meta.dirname, '../../build/out/native/sandboxd');
/** sandboxd's deny-list, the template's allow-list, the seal. */
const FILTERS = '3';
const THREADS = 7;

type Answer = {
  got: [string, string, number, number][]; ticks: number; held: boolean; alive: boolean[]; pid: number; tasks: number[]; status: string[][];
  foreign: string[]; ids: number[];
};

describe('a template with threads', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
    const python = readRuntimes().find(({ name }) => name === 'python')!;
    const runtime = {
      ...python,
      argv: ['/usr/bin/python3', '-I', '-B', '/opt/flashd/python/threads.py', '/function'],
      files: [...python.files, { path: 'threads.py', from: 'test/integration/fixtures/threads/bootstrap.py', mode: '0644' }],
    };
    writeFileSync(join(folder, 'pack'), encodePack([runtime]));
  });
  after(() => rmSync(folder, { recursive: true }));

  // With spares the assignment comes long after the fork, without them it is there before.
  for (const spares of [0, 4]) {
    test(`lives on in 25 instances, ${spares} of them parked ahead`, () => {
      const output = execFileSync('/usr/bin/python3', [join(fixtures, 'drive.py'), sandboxd, join(folder, 'pack'), join(fixtures, 'threads/function'), '25', `${spares}`],
        { timeout: 60_000, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 16 << 20 });
      const answers = JSON.parse(output.toString()) as Answer[];
      assert.equal(answers.length, 25);
      for (const answer of answers) {
        assert.deepEqual(answer.got.map(([, , , job]) => job).sort(), [0, 1, 2, 3, 4, 5], 'threads in a condition wait go on');
        assert.ok(answer.got.every(([local, name]) => local === name), 'what is thread-local stays with its thread');
        assert.ok(answer.ticks >= 3, `the sleeping thread goes on: ${answer.ticks} ticks`);
        assert.ok(answer.held && answer.alive.every(Boolean));
        assert.deepEqual(answer.tasks, [answer.pid, ...answer.ids].sort((a, b) => a - b), 'the same ids, but for the main thread');
        assert.equal(answer.tasks.length, THREADS);
        for (const status of answer.status) assert.deepEqual(status, ['0000000000000000', '0000000000000000', '0000000000000000', '1', FILTERS]);
        assert.deepEqual(answer.foreign, [], 'nothing of the parasite is mapped');
      }
      assert.ok(new Set(answers.map(({ pid }) => pid)).size > 1);
    });
  }
});
