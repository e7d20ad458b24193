/** Flags go with the version of V8: one that was renamed would be ignored without a word. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { V8_FLAGS } from '../../src/v8-flags.ts';

test('the V8 that flashd is packaged with knows each flag of the gateway', () => {
  const known = new Set(execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' }).match(/^ +--[\w-]+/gm)?.map(line => line.trim()));
  const stem = (flag: string): string => flag.replace(/=.*/, '').replace(/^--no-/, '--');
  assert.deepEqual(V8_FLAGS.map(stem).filter(flag => !known.has(flag)), []);
});
