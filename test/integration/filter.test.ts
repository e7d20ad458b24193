/** The seccomp policy, tried by a C program; and that policy and seal agree on what only the parasite may call. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { runProgram } from './fixtures/native-program.ts';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('every forbidden system call is refused and ordinary programs work', async () => {
  const { status, stderr } = await runProgram('filter');
  assert.equal(status, 0, stderr);
});

test('the seal closes exactly what the policy opens for the parasite', () => {
  const policy = read('native/sandbox/policy.c');
  const opened = [/parasite\[\] = \{([^}]*)\}/.exec(policy)?.[1] ?? '', ...[...policy.matchAll(/\{ (SYS_\w+), .*closed by the seal/g)].map(match => match[1])].join();
  const closed = [...read('native/include/flashd/seal.h').matchAll(/BPF_JEQ \| BPF_K, __NR_(\w+)/g)].map(match => match[1]);
  assert.deepEqual([...opened.matchAll(/SYS_(\w+)/g)].map(match => match[1]).sort(), closed.sort());
  for (const needed of ['setns', 'move_mount', 'clone3']) assert.ok(closed.includes(needed), needed);
});

test('what rewound instances are refused on top is nothing that the seal closes, and is allowed to others', () => {
  const calls = (path: string) => [...read(path).matchAll(/BPF_JEQ \| BPF_K, __NR_(\w+)/g)].map(match => match[1]!);
  const refused = calls('native/include/flashd/rewound_seal.h');
  assert.deepEqual(refused.sort(), ['ioctl', 'landlock_restrict_self', 'madvise', 'mlockall']);
  for (const call of refused) assert.match(read('native/sandbox/policy.c'), new RegExp(`SYS_${call}\\b`), call);
});
