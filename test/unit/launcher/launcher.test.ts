import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { managementSocketPath, resolveConfig } from '../../../src/config/index.ts';
import { requirePrivileges } from '../../../src/launcher/privileges.ts';
import { prepareStateDir, refuseSecondServer } from '../../../src/launcher/state-dir.ts';
import { supervisorArguments } from '../../../src/launcher/supervisor-arguments.ts';
import { resolveUser } from '../../../src/launcher/user.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nflashd:x:990:991::/var/lib/flashd:/usr/sbin/nologin\n';
const USER = { uid: 64_999, gid: 64_999 };
const invalid = { code: 'config_invalid' };

function temporary(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'flashd-launcher-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('the service user is found by name, by numbers, or is the reserved one', () => {
  assert.deepEqual(resolveUser('flashd', PASSWD), { uid: 990, gid: 991 });
  assert.deepEqual(resolveUser('1001:1002', PASSWD), { uid: 1001, gid: 1002 });
  assert.deepEqual(resolveUser('flashd', 'root:x:0:0::/:/bin/sh'), USER);
});

test('root and unknown users are refused', () => {
  for (const user of ['root', '0:5', '5:0', 'nobody-here']) assert.throws(() => resolveUser(user, PASSWD), invalid, user);
});

test('flashd is started as root, or as somebody with the capabilities it works with who is not the gateway', () => {
  const status = (effective: string): string => `Name:\tflashd\nCapEff:\t${effective}\nCapBnd:\t000001ffffffffff\n`;
  requirePrivileges(USER, 0, status('0000000000000000'));
  requirePrivileges(USER, 64_998, status('00000000002c11c2'));
  assert.throws(() => requirePrivileges(USER, 64_998, status('0000000000000000')), { code: 'usage', message: /CAP_SYS_ADMIN/ });
  assert.throws(() => requirePrivileges(USER, 64_998, status('00000000002c1142')), { code: 'usage', message: /with CAP_SETUID$/ });
  assert.throws(() => requirePrivileges(USER, USER.uid, status('00000000002c11c2')), invalid);
});

test('a new state directory belongs to the service user, and others cannot enter', t => {
  const path = join(temporary(t), 'new/state');
  prepareStateDir(path, USER);
  const status = statSync(path);
  assert.deepEqual([status.uid, status.gid, status.mode & 0o777], [USER.uid, USER.gid, 0o750]);
});

test('a directory that holds something else is left alone', t => {
  const path = temporary(t);
  writeFileSync(join(path, 'precious'), '');
  assert.throws(() => prepareStateDir(path, USER), invalid);
  assert.equal(statSync(join(path, 'precious')).uid, 0);
});

test('a changed service user gets the state, and nothing that a link in it points to', t => {
  const folder = temporary(t);
  const path = join(folder, 'state');
  const outside = join(folder, 'outside');
  mkdirSync(join(path, 'bundles'), { recursive: true });
  writeFileSync(join(path, 'registry.db'), '');
  writeFileSync(outside, '');
  symlinkSync(outside, join(path, 'bundles/link'));
  prepareStateDir(path, USER);
  assert.equal(statSync(join(path, 'registry.db')).uid, USER.uid);
  assert.equal(statSync(join(path, 'bundles')).uid, USER.uid);
  assert.equal(statSync(outside).uid, 0);
});

test('a second server on the same state directory is refused, a dead one\'s socket is not in the way', async t => {
  const path = temporary(t);
  await refuseSecondServer(path);
  writeFileSync(managementSocketPath(path), '');
  await refuseSecondServer(path);
  rmSync(managementSocketPath(path));
  const server = createServer();
  await new Promise<void>(resolve => server.listen(managementSocketPath(path), resolve));
  t.after(() => server.close());
  await assert.rejects(refuseSecondServer(path), invalid);
});

test('the supervisor is given every option that its parser requires, and no other', () => {
  const argv = supervisorArguments({ config: resolveConfig({}), user: USER, cgroup: 'flashd-0', image: 3, pack: 4, binary: 5, gateway: ['flashd', 'gateway'] });
  const end = argv.indexOf('--');
  assert.deepEqual(argv.slice(end + 1), ['flashd', 'gateway']);
  const given = argv.slice(1, end).filter((_, index) => index % 2 === 0);
  const parser = readFileSync(join(import.meta.dirname, '../../../native/sandboxd/options.c'), 'utf8');
  const required = [...parser.matchAll(/"(--[a-z-]+)"/g)].map(match => match[1]!).filter(name => name !== '--');
  assert.deepEqual(given.sort(), [...new Set(required)].sort());
});
