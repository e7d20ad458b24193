/** A template with open descriptors: every fork has its own at the same numbers, in the state they were in; what cannot be carried is refused by name. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { encodePack, readRuntimes } from '../../build/pack-runtimes.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const sandboxd = join(import.meta.dirname, '../../build/out/native/sandboxd');
const [READ_ONLY, WRITE_ONLY, READ_WRITE, NONBLOCKING] = [0, 1, 2, 0o4000];

describe('a template with open descriptors', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  function drive(count: number, spares: number, uncarried: string[] = []) {
    const python = readRuntimes().find(({ name }) => name === 'python')!;
    const runtime = {
      ...python,
      argv: ['/usr/bin/python3', '-I', '-B', '/opt/flashd/python/descriptors.py', ...uncarried, '/function'],
      files: [...python.files, { path: 'descriptors.py', from: 'test/integration/fixtures/descriptors/bootstrap.py', mode: '0644' }],
    };
    writeFileSync(join(folder, 'pack'), encodePack([runtime]));
    const result = spawnSync('/usr/bin/python3', [join(fixtures, 'drive.py'), sandboxd, join(folder, 'pack'), join(fixtures, 'descriptors/function'), `${count}`, `${spares}`],
      { timeout: 60_000, encoding: 'utf8', maxBuffer: 16 << 20 });
    return { status: result.status, output: result.stdout, errors: result.stderr };
  }

  // With spares the assignment, from which on timers run, comes long after the fork.
  for (const spares of [0, 4]) {
    test(`gives each of 25 instances its own, ${spares} of them parked ahead`, () => {
      const { status, output, errors } = drive(25, spares);
      assert.equal(status, 0, errors);
      const answers = JSON.parse(output) as Record<string, unknown>[];
      assert.equal(answers.length, 25);
      const before = answers.map(({ ticks }) => (ticks as number[])[0]!);
      assert.ok(Math.min(...before) > 0 && Math.max(...before) - Math.min(...before) < 8, `timers run from the assignment on: ${before.join(' ')} ticks`);
      for (const { ticks, ...answer } of answers) {
        assert.ok((ticks as number[])[1]! >= 5, `the timer goes on: ${ticks} ticks`);
        assert.deepEqual(answer.open, answer.known, 'nothing else is open');
        delete answer.open;
        delete answer.known;
        assert.deepEqual(answer, {
          flags: {
            count: READ_WRITE | NONBLOCKING, semaphore: READ_WRITE | NONBLOCKING, blocking: READ_WRITE, read: READ_ONLY | NONBLOCKING, write: WRITE_ONLY, same: WRITE_ONLY,
            timer: READ_WRITE | NONBLOCKING, unset: READ_WRITE | NONBLOCKING, date: READ_WRITE | NONBLOCKING, signals: READ_WRITE | NONBLOCKING, file: READ_ONLY, folder: READ_ONLY,
            null: READ_WRITE,
          },
          inherited: ['blocking', 'date', 'same', 'semaphore', 'signals', 'timer', 'unset'],
          outer: 1, ready: ['count', 'read', 'timer'], unset: 'would block', date: 1, count: [2 ** 33 + 5, 'would block'], semaphore: [1, 1, 1, 'would block'], blocking: 1,
          pipe: 'left in the pipe, and more', signal: [128, 12], file: true, folder: [true, true], null: 4,
        });
      }
    });
  }

  for (const [kind, expected] of Object.entries({
    socket: /descriptor \d+ \(socket:\[\d+\]\)/, half: /descriptor \d+ \(pipe:\[\d+\]\)/, written: /descriptor \d+ \(\/tmp\/file\)/,
    private: /descriptor \d+ \(\/tmp\).*not the same in every sandbox/, proc: /descriptor \d+ \(\/proc\/\d+\/status\).*not the same/, process: /descriptor \d+ \((anon_inode:\[pidfd\]|pidfd:\[\d+\])\)/,
  })) {
    test(`refuses: ${kind}`, () => {
      const { status, errors } = drive(1, 0, [kind]);
      assert.notEqual(status, 0);
      assert.match(errors, expected);
    });
  }
});
