/** The light class under a real systemd and on cgroup version 2: an instance is cloned into its cgroup there, and that cgroup is given to others only when nobody is left in it. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Machine } from './machine.ts';

const root = join(import.meta.dirname, '../..');
const ENDED_MS = 5000;
const RESUME_MS = 5000;
const SLOTS = 24;
const ROUNDS = 2 * SLOTS;
const HANDLER = `
import os, time
def handler(event, context):
  case = event.get('queryStringParameters', {}).get('case')
  print(os.getuid(), flush=True)
  if case == 'orphans':
    for _ in range(3):
      if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    os._exit(3)
  if case == 'kill': os.kill(-1, 9)
  return {'uid': os.getuid(), 'cgroup': open('/proc/self/cgroup').read(), 'user': os.readlink('/proc/self/ns/user'), 'status': open('/proc/self/status').read()}
`;
type Seen = { uid: number; cgroup: string; user: string; status: string };

let machine: Machine;

function write(inside: string, text: string): void {
  mkdirSync(dirname(machine.path(inside)), { recursive: true });
  writeFileSync(machine.path(inside), text);
}

before(async () => {
  machine = Machine.create();
  machine.put(join(root, 'build/out/flashd'), '/root/flashd');
  for (const name of ['one', 'other']) {
    write(`/root/functions/${name}/handler.py`, HANDLER);
    write(`/root/functions/${name}/function.json`, JSON.stringify({ isolation: 'process' }));
  }
  write('/etc/systemd/system/flashd.service.d/light.conf', `[Service]\nEnvironment=FLASHD_ALLOW_PROCESS_ISOLATION=1 FLASHD_SLOTS=${SLOTS} FLASHD_MAX_INSTANCES=8 FLASHD_POOL_FLOOR=2 FLASHD_POOL_CEILING=8\n`);
  await machine.boot();
  ok('/root/flashd', 'install');
  ok('flashd', 'deploy', '/root/functions/one', '/root/functions/other');
});

after(() => machine[Symbol.asyncDispose]());

function ok(...command: string[]): string {
  const result = machine.run(...command);
  assert.equal(result.status, 0, `${command.join(' ')}: status ${result.status}\n${result.stdout}${result.stderr}\n${machine.run('journalctl', '--no-pager', '-n', '40', '-u', 'flashd').stdout}`);
  return result.stdout;
}

const get = (path: string): string => ok('curl', '-s', '--max-time', '10', `http://127.0.0.1:8080/function/${path}`);
const seen = (name: string): Seen => JSON.parse(get(name)) as Seen;
const codeOf = (text: string): string => (JSON.parse(text) as { error: { code: string } }).error.code;
/** Processes of whoever has this uid on the host. */
const processesOf = (uid: number): string[] => machine.run('pgrep', '-U', String(uid)).stdout.split('\n').filter(Boolean);
const uids = (name: string): number[] => ok('flashd', 'logs', name, '--json').trim().split('\n').map((line) => Number((JSON.parse(line) as { message: string }).message));

async function until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
  for (const end = Date.now() + limitMs; !condition(); await sleep(20)) assert.ok(Date.now() < end, what);
}

test('an instance has a uid and a cgroup of its own, and shares its user namespace with the others', () => {
  const [one, other] = [seen('one'), seen('other')];
  assert.match(one.cgroup, /^0::\/.*s\d+$/m);
  assert.notEqual(one.cgroup, other.cgroup);
  assert.notEqual(one.uid, other.uid);
  assert.equal(one.user, other.user);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(one.status, new RegExp(`^${set}:\\s+0+$`, 'm'));
  const [pid] = processesOf(one.uid);
  assert.equal(ok('cat', `/proc/${pid}/cgroup`).trim().split('/').at(-1), one.cgroup.trim().split('/').at(-1));
});

test('what an instance leaves running ends with it', async () => {
  assert.equal(codeOf(get('one?case=orphans')), 'function_exited');
  const uid = uids('one').at(-1)!;
  await until(() => processesOf(uid).length === 0, ENDED_MS, 'somebody is left');
});

test('who kills whomever he can reaches nobody else', () => {
  const before = seen('other');
  assert.equal((JSON.parse(get('one?case=kill')) as Seen).user, before.user);
  assert.equal(seen('other').uid, before.uid);
});

test('a slot and its cgroup are used again once nobody is left in it, and not before', () => {
  const used: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    assert.equal(codeOf(get('one?case=orphans')), 'function_exited');
    used.push(uids('one').at(-1)!);
    const { uid, cgroup } = seen('other');
    const members = ok('sh', '-c', `cat /sys/fs/cgroup/system.slice/flashd.service/flashd-*/${cgroup.trim().split('/').at(-1)}/cgroup.procs`).trim().split('\n');
    assert.deepEqual(members, processesOf(uid), 'somebody else is in its cgroup');
  }
  assert.ok(new Set(used).size < ROUNDS, 'no slot was used again');
});

test('after kill -9 of sandboxd nobody of before is left, and the functions answer', async () => {
  const before = ['one', 'other'].map((name) => seen(name).uid);
  const [sandboxd] = machine.run('pgrep', '-f', '^flashd-sandboxd( |$)').stdout.split('\n');
  const pids = before.flatMap(processesOf);
  ok('kill', '-9', sandboxd!);
  await until(() => pids.every((pid) => machine.run('kill', '-0', pid).status !== 0), ENDED_MS, 'somebody is left');
  await until(() => ['one', 'other'].every((name) => machine.run('curl', '-sf', '--max-time', '5', `http://127.0.0.1:8080/function/${name}`).status === 0), RESUME_MS, 'an answer');
});
