import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SYSCALLS, SyscallObserver, type SyscallEntry } from '../../../src/interception/index.ts';

const labels = { function: 'shop', version: 'v', instance: 1, invocation: '' };
const report = (name: string, verdict: 'audited' | 'denied' | 'allowed' | 'seen', more: object = {}) => ({
  number: SYSCALLS[name]!, verdict, errno: 0, pid: 300, dropped: 0, denied: 0, arguments: [1n, 0xffffn], detail: '', ...more,
});

function observe(): { observer: SyscallObserver; entries: [string, SyscallEntry][]; counts: () => Record<string, number> } {
  const entries: [string, SyscallEntry][] = [];
  const observer = new SyscallObserver((_, message, entry) => entries.push([message, entry]));
  return { observer, entries, counts: () => Object.fromEntries([...observer.counts()].map(({ call, verdict, value }) => [`${call} ${verdict}`, value])) };
}

describe('what is told of system calls', () => {
  test('it is logged in words and counted', () => {
    const { observer, entries, counts } = observe();
    observer.syscall(labels, report('openat', 'denied', { errno: 13, detail: '/etc/passwd', dropped: 5, denied: 2 }));
    assert.deepEqual(entries, [['openat /etc/passwd denied (EACCES), 5 before it not told', { call: 'openat', verdict: 'denied', errno: 'EACCES', pid: 300, arguments: ['0x1', '0xffff'], detail: '/etc/passwd', dropped: 5 }]]);
    assert.deepEqual(counts(), { 'openat denied': 1, 'untold denied': 2, 'untold audited': 3 });
    observer.forget('shop');
    assert.deepEqual(counts(), {});
  });

  test('a function has a bounded number of series', () => {
    const { observer, counts } = observe();
    for (const name of Object.keys(SYSCALLS)) observer.syscall(labels, report(name, 'audited'));
    assert.ok(Object.keys(counts()).length <= 65);
    assert.equal(Object.values(counts()).reduce((sum, value) => sum + value, 0), Object.keys(SYSCALLS).length);
  });

  test('learning collects names once, says nothing in the log, and ends', () => {
    const { observer, entries } = observe();
    assert.equal(observer.beginLearning('shop', undefined), true);
    assert.equal(observer.beginLearning('shop', undefined), false);
    for (const name of ['write', 'read', 'read']) observer.syscall(labels, report(name, 'seen'));
    observer.syscall(labels, report('connect', 'allowed'));
    observer.syscall(labels, report('mkdir', 'denied', { errno: 1 }));
    assert.equal(observer.learning('shop')!.calls[SYSCALLS['read']!], 0);
    assert.deepEqual(observer.endLearning('shop'), ['connect', 'read', 'write']);
    assert.deepEqual([observer.learning('shop'), entries.length], [undefined, 1]);
  });
});
