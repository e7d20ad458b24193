/** native/README.md lists what runtimetest finds; `npm run soak` runs it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DIFFERENCES } from '../soak/runtimetest/config.ts';

test('what differs from an Open Containers runtime is listed with its reason', () => {
  const text = readFileSync(join(import.meta.dirname, '../../native/README.md'), 'utf8');
  const [, table] = /## As the Open Containers specification would have it\n.*?\n\| --- \| --- \|\n(.*?)\n\n/s.exec(text)!;
  const listed = table!.split('\n').map((line) => line.split('|').slice(1, 3).map((cell) => cell.trim()));
  assert.deepEqual(Object.fromEntries(listed), DIFFERENCES);
});
