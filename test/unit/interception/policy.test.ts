import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { compile, EXEMPT, GROUPS, InterceptionProblem, SYSCALLS } from '../../../src/interception/index.ts';
import { learning, learnt } from '../../../src/interception/policy.ts';

const native = resolve(import.meta.dirname, '../../../native');
const { EPERM, EACCES, ENOSYS } = constants.errno;
const DENY = (errno: number): number => 1 | (errno << 4);
const RULE = (errno: number): number => 2 | (errno << 4);
const LOG = 4;

/** What the C compiler makes of native/sandbox/policy.c: every number that instances have after the seal. */
function allowedByC(): number[] {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-policy-'));
  try {
    const source = `#include "sandbox/policy.h"\n#include <stdio.h>\nint main(void) {
      for (size_t group = 0; group < fl_policy_group_count; group++) for (size_t i = 0; i < fl_policy_groups[group].count; i++) printf("%d\\n", fl_policy_groups[group].numbers[i]);
      for (size_t i = 0; i < fl_policy_rule_count; i++) printf("%d\\n", fl_policy_rules[i].number);
      return 0; }\n`;
    writeFileSync(join(directory, 'says.c'), source);
    execFileSync('gcc', ['-D_GNU_SOURCE=', '-I', native, '-I', join(native, 'include'), '-o', join(directory, 'says'), join(directory, 'says.c'), join(native, 'sandbox/policy.c')]);
    const sealed = new Set(['setns', 'chroot', 'move_mount', 'clone3', 'io_uring_setup', 'io_uring_register', 'seccomp'].map((name) => numberOf(name)));
    const numbers = execFileSync(join(directory, 'says'), { encoding: 'utf8' }).trim().split('\n').map(Number);
    return [...new Set(numbers)].filter((number) => !sealed.has(number)).toSorted((a, b) => a - b);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function numberOf(name: string): number {
  const output = execFileSync('gcc', ['-E', '-P', '-'], { input: `#include <sys/syscall.h>\nSYS_${name}\n`, encoding: 'utf8' });
  return Number(output.trim().split('\n').at(-1));
}

describe('policies for system calls', () => {
  test('the table has the calls that the allow-list and the seal leave, under their names', () => {
    assert.deepEqual(Object.values(SYSCALLS).toSorted((a, b) => a - b), allowedByC());
    for (const name of ['read', 'openat', 'connect', 'execve', 'mkdir', 'sendmmsg', 'statx', 'futex']) assert.equal(SYSCALLS[name], numberOf(name), name);
  });

  test('groups and exemptions name calls of the table', () => {
    for (const name of [...Object.values(GROUPS).flat(), ...EXEMPT]) assert.ok(Object.hasOwn(SYSCALLS, name), name);
    const exempt = /exempt\[\] = \{([^}]*)\}/.exec(readFileSync(join(native, 'intercept/policy.c'), 'utf8'))![1]!;
    assert.deepEqual([...exempt.matchAll(/SYS_(\w+)/g)].map(([, name]) => name), [...EXEMPT]);
  });

  test('each word becomes its entries', () => {
    const { calls, learn } = compile({ audit: ['exec', 'getppid'], deny: { mkdir: 'EROFS' } });
    assert.deepEqual([calls[SYSCALLS['execve']!], calls[SYSCALLS['getppid']!], calls[SYSCALLS['mkdir']!], calls[SYSCALLS['read']!], learn], [LOG, LOG, DENY(constants.errno.EROFS) | LOG, 0, false]);
    assert.equal(compile({ deny: ['mkdir'], log: false }).calls[SYSCALLS['mkdir']!], DENY(EPERM));
  });

  test('lists become rules, and refusals of what would go around them', () => {
    const { calls, connects, paths } = compile({ audit: ['connect'], allow: { connect: ['127.0.0.1:80', '10.0.0.0/8'], read: ['/usr'], write: ['/tmp'], exec: ['/usr/bin/x'] } });
    const entries = (...names: string[]) => names.map((name) => calls[SYSCALLS[name]!]);
    assert.deepEqual(entries('connect', 'sendto', 'sendmsg', 'sendmmsg'), [RULE(EACCES) | LOG, RULE(EACCES), DENY(EACCES) | LOG, DENY(ENOSYS)]);
    assert.deepEqual(entries('open', 'openat', 'creat', 'openat2', 'truncate', 'execve', 'execveat'), [RULE(EACCES), RULE(EACCES), RULE(EACCES), DENY(ENOSYS), DENY(EACCES) | LOG, RULE(EACCES), RULE(EACCES)]);
    assert.deepEqual(connects, [{ address: 0x7f000001, prefix: 32, port: 80 }, { address: 0x0a000000, prefix: 8, port: 0 }]);
    assert.deepEqual(paths, [{ path: '/usr', kind: 'read' }, { path: '/tmp', kind: 'write' }, { path: '/usr/bin/x', kind: 'execute' }]);
  });

  test('what is not enforced is denied, rules included, but never what is exempt', () => {
    const { calls } = compile({ enforce: ['read', 'openat'], allow: { connect: ['10.0.0.1'], read: ['/usr'] } });
    assert.deepEqual([calls[SYSCALLS['read']!], calls[SYSCALLS['openat']!], calls[SYSCALLS['connect']!], calls[SYSCALLS['mkdir']!]], [0, RULE(EACCES), DENY(EPERM) | LOG, DENY(EPERM) | LOG]);
    for (const name of EXEMPT) assert.equal(calls[SYSCALLS[name]!], 0, name);
  });

  test('learning tells of everything that is not refused, until it is known', () => {
    const policy = learning({ deny: ['mkdir'], enforce: ['read'] });
    assert.deepEqual([policy.learn, policy.calls[SYSCALLS['read']!], policy.calls[SYSCALLS['rmdir']!], policy.calls[SYSCALLS['mkdir']!]], [true, LOG, LOG, DENY(EPERM) | LOG]);
    learnt(policy, SYSCALLS['read']!);
    assert.equal(policy.calls[SYSCALLS['read']!], 0);
    learnt(policy, SYSCALLS['mkdir']!);
    assert.equal(policy.calls[SYSCALLS['mkdir']!], DENY(EPERM) | LOG);
  });

  for (const [given, message] of [
    [{ audit: ['opneat'] }, /did you mean "openat"/],
    [{ audit: ['ptrace'] }, /neither a system call that functions have/],
    [{ deny: ['futex'] }, /cannot be intercepted/],
    [{ deny: { mkdir: 'EFOO' } }, /not the name of an errno/],
    [{ allow: { read: ['/a/../b'] } }, /not an absolute path/],
    [{ allow: { write: ['/a/'] } }, /not an absolute path/],
    [{ allow: { connect: ['host.example:80'] } }, /host name/],
    [{ allow: { read: Array.from({ length: 33 }, (_, index) => `/${index}`) } }, /more than 32 paths/],
    [{ allow: { read: [`/${'a'.repeat(2048)}`] } }, /more than 2048 bytes/],
  ] as const) {
    test(`${JSON.stringify(given).slice(0, 60)} is refused: ${message.source}`, () => {
      assert.throws(() => compile(given as object), (error) => error instanceof InterceptionProblem && message.test(error.message));
    });
  }
});
