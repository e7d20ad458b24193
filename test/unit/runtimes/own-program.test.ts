/** What says where flashd's binary stands in for a runtime's program: the native side, the entry of the binary, the runtimes' own environment. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isOwnProgram, OWN_PROGRAMS } from '../../../src/own-program.ts';
import { RUNTIMES } from '../../../src/runtimes/index.ts';
import { root } from '../../conformance/fixtures.ts';

test('both sides agree on the directory', () => {
  const header = readFileSync(join(root, 'native/sandbox/pack.h'), 'utf8');
  const text = (name: string): string => new RegExp(`#define ${name} "(.*)"`).exec(header)![1]!;
  assert.equal(OWN_PROGRAMS, `${text('FL_RUNTIME_FILES')}${text('FL_OWN_DIRECTORY')}/`);
  assert.ok(!isOwnProgram && !RUNTIMES.has(text('FL_OWN_DIRECTORY')));
});

test('a runtime that it can be is started by a bare name, and finds it there first', () => {
  const own = [...RUNTIMES.values()].filter((runtime) => runtime.own === true);
  assert.ok(own.length > 0);
  for (const { argv, env } of own) {
    assert.doesNotMatch(argv[0]!, /\//);
    assert.equal(env['PATH']!.split(':')[0], OWN_PROGRAMS.slice(0, -1));
  }
});
