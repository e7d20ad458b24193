/** What languages do by their own means (files, sockets, child processes, system calls where the standard distribution has them): in each the same attempts, the same answers. */
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startOf } from '../conformance/packaged.ts';
import { LANGUAGES } from '../conformance/fixtures.ts';
import { Attack, HERE } from './attack.ts';

/** Languages whose standard distribution has no call for it. */
const WITHOUT: Readonly<Record<string, readonly string[]>> = { node: ['call'], java: ['call', 'abstract'], php: ['call'] };
/** PHP follows links by itself and does not see what it must not follow. */
const OTHERWISE: Readonly<Record<string, readonly [RegExp, string]>> = { php: [/^\/proc\/1\/(exe|root.*)$/, 'ENOENT'] };
/** What some say instead of the errno's name. */
const NAMES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT', 'Permission denied': 'EACCES', 'Read-only file system': 'EROFS', 'Connection refused': 'ECONNREFUSED', 'No such process': 'ESRCH', 'Operation not permitted': 'EPERM',
};
/** The attempts by raw system calls stand in escape.test.ts. */
const COVERED_THERE = ['native', 'executable'];

type Attempt = { way: string; target: string; answer: string; needs?: string };
const shell = (command: string): Attempt => ({ way: 'run', target: `command -v ${command.split(' ')[0]!} >/dev/null || echo missing; ${command} >/dev/null 2>&1 && echo done || echo refused`, answer: 'refused' });

function attempts(targets: Readonly<Record<string, string | number>>): Attempt[] {
  const hostPids = ['supervisor', 'sandboxd', 'gateway', 'template', 'function template', 'victim'].map((name) => targets[name]!);
  return [
    ...['/etc/shadow', '/root/.bashrc', '/var/log', targets['canary']!, targets['state directory']!, targets["victim's file"]!, ...hostPids.map((pid) => `/proc/${pid}/status`)].map((target) => ({ way: 'read', target: String(target), answer: 'ENOENT' })),
    ...['mem', 'environ', 'maps', 'root/etc/passwd', 'exe'].map((file) => ({ way: 'read', target: `/proc/1/${file}`, answer: 'EACCES' })),
    { way: 'list', target: '/root', answer: '' }, { way: 'list', target: '/home', answer: 'function' }, { way: 'list', target: '/dev', answer: 'fd full null random shm stderr stdin stdout tty urandom zero' },
    ...['/usr/made', '/made', '/function/made', '/etc/made', '/dev/made'].map((target) => ({ way: 'write', target, answer: 'EROFS' })),
    ...['/usr/bin/sh', '/etc/passwd', '/proc/1/exe', '/proc/sys/kernel/core_pattern'].map((target) => ({ way: 'write', target, answer: 'EACCES' })),
    { way: 'write', target: '/sys/fs/cgroup/release_agent', answer: 'ENOENT' },
    { way: 'unix', target: `@${targets['abstract socket']}`, answer: 'ECONNREFUSED', needs: 'abstract' }, { way: 'unix', target: '@victim', answer: 'ECONNREFUSED', needs: 'abstract' },
    ...[targets['socket file']!, targets['management socket']!].map((target) => ({ way: 'unix', target: String(target), answer: 'ENOENT' })),
    ...[targets['port']!, targets['host port']!, 4444].map((target) => ({ way: 'tcp', target: String(target), answer: 'ECONNREFUSED' })),
    ...hostPids.map((pid) => ({ way: 'kill', target: String(pid), answer: 'ESRCH' })),
    ...['cat /etc/shadow', 'unshare -U true', 'unshare -n true', 'mount -t tmpfs none /tmp', 'mount --bind / /tmp', 'umount /function', 'nsenter -t 1 -m true', '/usr/sbin/chroot /tmp true', 'su -c true', 'hostname x', 'date -s 2000-01-01', 'kill -9 1',
      'mknod /tmp/null c 1 3', 'echo b > /proc/sys/kernel/sysrq', 'dmesg', 'setpriv --reuid=0 true', 'ls /proc/1/fd/'].map(shell),
    { way: 'run', target: `${targets['setuid']} -u`, answer: '1000' },
    // mount, unshare a user namespace, setns, ptrace, bpf, io_uring_setup, keyctl, userfaultfd, perf_event_open, process_vm_readv, reboot
    ...['165 0 0 0 0 0', '272 268435456', '308 0 0', '101 16 1 0 0', '321 0 0 0', '425 1 0', '250 0 0', '323 0', '298 0 0 -1 -1 0', '310 1 0 0 0 0 0', '169 0 0 0 0'].map((target) => ({ way: 'call', target, answer: 'EPERM', needs: 'call' })),
  ];
}

describe('escapes by the means of each language', () => {
  let attack: Attack;
  before(async () => {
    attack = await Attack.start();
  });
  after(() => attack?.stop());

  for (const language of LANGUAGES.filter((each) => !COVERED_THERE.includes(each))) {
    for (const [start, settings] of Object.entries({ 'language-template': { functionTemplate: 0 }, 'function-template': { functionTemplate: 1 } })) {
      test(`${language}, from ${start}: every attempt is refused`, async () => {
        const name = `${language}-${start}`;
        await attack.deploy(name, (directory) => cpSync(join(HERE, 'languages', language), directory, { recursive: true }), { ...settings, memoryMb: 512 });
        if (start === 'function-template') await attack.flashd.frozen(name);
        const expected = attempts(attack.targets).filter(({ needs }) => needs === undefined || !(WITHOUT[language] ?? []).includes(needs));
        const body = Buffer.from(expected.map(({ way, target }) => `${way}\t${target}\n`).join(''));
        const answer = await attack.flashd.http('POST', `/function/${name}`, { 'content-type': 'text/plain' }, body);
        assert.deepEqual([answer.status, startOf(answer)], [200, start], answer.body.toString());
        const found = (JSON.parse(answer.body.toString()) as string[]).map((said) => NAMES[said] ?? said);
        assert.equal(found.length, expected.length, 'each attempt is made');
        const [otherwise, said] = OTHERWISE[language] ?? [];
        const told = (said: readonly string[]): string[] => expected.map(({ way, target }, index) => `${way} ${target}: ${said[index]}`);
        assert.deepEqual(told(found), told(expected.map(({ target, answer: right }) => (otherwise?.test(target) === true ? said! : right))));
        await attack.unharmed();
      });
    }
  }
});
