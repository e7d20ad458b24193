/** memfd, exec, peer, closeFd and confine: what the addon does with the operating system alone. */
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { test } from 'node:test';
import { addon, openDescriptors } from './addon/harness.ts';

const scratch = (t: { after(done: () => void): void }): string => {
  const folder = mkdtempSync(join(tmpdir(), 'flashd-addon-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
};
const child = (script: string, ...rest: string[]): ReturnType<typeof spawnSync> => {
  const path = join(import.meta.dirname, 'addon', script);
  return spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...rest], { encoding: 'utf8', timeout: 20_000 });
};

test('a memfd holds the bytes, can be executed, and nothing about it can be changed', () => {
  const bytes = readFileSync('/bin/true');
  const fd = addon.memfd('true', bytes);
  assert.equal(fstatSync(fd).mode & 0o7777, 0o555);
  assert.ok(readFileSync(`/proc/self/fd/${fd}`).equals(bytes));
  assert.throws(() => writeSync(fd, 'x'), { code: 'EPERM' });
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  assert.equal(Number.parseInt(flags, 8) & 0o2000000, 0o2000000, 'close-on-exec');
  assert.equal(spawnSync(`/proc/${process.pid}/fd/${fd}`).status, 0);
  addon.closeFd(fd);
  assert.throws(() => addon.closeFd(fd), { code: 'EBADF', syscall: 'close', errno: -9 });
});

test('an empty memfd is fine, and a name that is too long is told as it is', () => {
  addon.closeFd(addon.memfd('', new Uint8Array(0)));
  assert.throws(() => addon.memfd('x'.repeat(300), new Uint8Array(1)), { code: 'EINVAL', syscall: 'memfd_create' });
});

test('exec replaces the process: same pid, kept descriptors only, default signals, standard streams', () => {
  const result = child('executing.ts', 'shell');
  const [pid, after, kept, lost, blocked, ignored] = String(result.stdout).trim().split('\n');
  assert.equal(after, pid);
  assert.equal(kept, 'kept');
  assert.equal(lost, 'lost');
  assert.match(ignored ?? '', /^SigIgn: 0{16}$/);
  assert.match(blocked ?? '', /^SigBlk: 0{16}$/);
  assert.equal(result.status, 5, String(result.stderr));
});

test('an exec that fails throws, and the process goes on as before', () => {
  const result = child('executing.ts', 'text');
  assert.deepEqual([result.status, result.stdout], [0, 'ENOEXEC execveat\nstill handled\n'], String(result.stderr));
  const descriptors = openDescriptors();
  assert.throws(() => addon.exec(9999, ['x'], [], []), { code: 'EBADF', syscall: 'execveat' });
  assert.throws(() => addon.exec(0, ['x'], [], [9999]), { code: 'EBADF', syscall: 'fcntl' });
  assert.equal(openDescriptors(), descriptors);
});

test('confine closes what the gateway never needs, on every thread, and leaves Node working', () => {
  const result = child('confined.ts');
  assert.equal(result.status, 0, String(result.stderr));
  const { instructions, ...rest } = JSON.parse(String(result.stdout)) as Record<string, unknown>;
  assert.ok(typeof instructions === 'number' && instructions > 100);
  assert.deepEqual(rest, {
    spawn: 'EPERM', setuid: 'EPERM', worker: 'EPERM', file: true, digest: 32, http: 'hello', seccomp: '2', noNewPrivs: '1',
  });
});

test('peer tells who connected', async (t) => {
  const path = join(scratch(t), 'socket');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const client = connect(path);
  const [accepted] = await once(server, 'connection') as [Socket & { _handle: { fd: number } }];
  assert.deepEqual(addon.peer(accepted._handle.fd), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  client.destroy();
  accepted.destroy();
  server.close();
  const file = openSync('/dev/null', 'r');
  assert.throws(() => addon.peer(file), { code: 'ENOTSOCK', syscall: 'getsockopt' });
  closeSync(file);
});
