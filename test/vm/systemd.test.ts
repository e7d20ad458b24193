/** The installed service under a real systemd: installed, killed, restarted, rebooted, removed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { INSTALLED_BINARY, INSTALLED_FILES, INSTALLED_STATE_DIR } from '../../src/cli/installation.ts';
import { Machine } from './machine.ts';

const root = join(import.meta.dirname, '../..');
const FUNCTIONS = ['hello-python', 'hello-c'];
/** The promise for a part that was killed. */
const RESUME_MS = 2000;
const START_MS = 30_000;
/** As systemd 252 counts: 0 is nothing, 10 everything. */
const EXPOSURE_MAX = 4.0;

let machine: Machine;

before(async () => {
  machine = Machine.create();
  machine.put(join(root, 'build/out/flashd'), '/root/flashd');
  for (const name of FUNCTIONS) machine.put(join(root, 'functions', name), `/root/functions/${name}`);
  // The machine has no compiler.
  execFileSync('cc', ['-shared', '-fPIC', '-I', join(root, 'src/runtimes/native'), '-o', machine.path('/root/functions/hello-c/handler.so'), join(root, 'functions/hello-c/handler.c')]);
  await machine.boot();
});

after(() => machine[Symbol.asyncDispose]());

function ok(...command: string[]): string {
  const result = machine.run(...command);
  assert.equal(result.status, 0, `${command.join(' ')}: status ${result.status}\n${result.stdout}${result.stderr}\n${journal()}`);
  return result.stdout;
}

function journal(): string {
  return machine.run('journalctl', '--no-pager', '-n', '40', '-u', 'flashd').stdout;
}

function answers(name: string): boolean {
  return machine.run('curl', '-sf', '--max-time', '5', `http://127.0.0.1:8080/function/${name}`).status === 0;
}

async function until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
  for (const end = Date.now() + limitMs; !condition(); await sleep(20)) {
    assert.ok(Date.now() < end, `${what}: not within ${limitMs} ms\n${journal()}`);
  }
}

const untilAnswered = (limitMs: number) => until(() => FUNCTIONS.every(answers), limitMs, 'an answer of every function');

/** Pids inside the machine of the processes with this start of their command line, the oldest first. */
function pidsOf(commandLine: string): string[] {
  return machine.run('pgrep', '-f', `^${commandLine}( |$)`).stdout.split('\n').filter(Boolean);
}

test('install starts the service and enables it', async () => {
  ok('/root/flashd', 'install');
  assert.equal(ok('systemctl', 'is-active', 'flashd').trim(), 'active');
  assert.equal(ok('systemctl', 'is-enabled', 'flashd').trim(), 'enabled');
  ok('systemd-analyze', 'verify', '/etc/systemd/system/flashd.service');
});

test('what systemd counts against the unit stands in it, each with its reason, and nothing else does', () => {
  const unit = '/etc/systemd/system/flashd.service';
  const findings = JSON.parse(ok('systemd-analyze', 'security', '--offline=true', '--json=short', unit)) as { name: string; exposure: string | null }[];
  const counted = findings.filter(({ exposure }) => Number(exposure) > 0).map(({ name }) => name.split('=', 1)[0]!);
  const list = readFileSync(machine.path(unit), 'utf8').split('counts against it all the same')[1]!.split('[Install]')[0]!;
  const named = [...list.matchAll(/^# {3}([A-Z][A-Za-z]+(?:, [A-Z][A-Za-z]+)*) /gm)].flatMap(([, names]) => names!.split(', '));
  assert.deepEqual(named.sort(), [...new Set(counted)].sort());
  const score = Number(/([\d.]+) \w+/.exec(ok('systemd-analyze', 'security', '--offline=true', unit).split('Overall exposure level')[1]!.split(':')[1]!)![1]);
  assert.ok(score <= EXPOSURE_MAX, String(score));
});

test('deployed functions answer', async () => {
  ok('flashd', 'deploy', ...FUNCTIONS.map(name => `/root/functions/${name}`));
  await untilAnswered(START_MS);
});

test('networks, restores and interception work within what the unit leaves', () => {
  const handler = "import os, socket\ndef handler(event, context):\n  found = os.path.exists('/tmp/kept'); open('/tmp/kept', 'w').close()\n  return [os.getpid(), found, sorted(name for _, name in socket.if_nameindex())]\n";
  const kinds = { restored: { requestIsolation: 'restore' }, egress: { network: { egress: ['203.0.113.80:80', 'api.example.org:443'] } }, watched: { interception: { audit: ['exec'], allow: { read: ['/usr', '/function', '/tmp'], write: ['/tmp'] } } } };
  for (const [name, manifest] of Object.entries(kinds)) {
    mkdirSync(machine.path(`/root/functions/${name}`));
    writeFileSync(machine.path(`/root/functions/${name}/handler.py`), handler);
    writeFileSync(machine.path(`/root/functions/${name}/function.json`), JSON.stringify(manifest));
    ok('flashd', 'deploy', `/root/functions/${name}`);
  }
  const ask = (name: string) => JSON.parse(ok('curl', '-s', '--max-time', '10', `http://127.0.0.1:8080/function/${name}`)) as [number, boolean, string[]];
  for (let request = 0; request < 5; request++) assert.equal(ask('restored')[1], false, `request ${request}`);
  assert.deepEqual(ask('egress')[2], ['eth0', 'lo']);
  assert.deepEqual([ask('watched')[1], ask('watched')[1]], [false, true]);
  for (const name of Object.keys(kinds)) ok('flashd', 'remove', name);
});

test('the gateway runs as the service user without any capability', () => {
  const status = ok('cat', `/proc/${pidsOf('flashd gateway')[0]}/status`);
  const uid = ok('id', '-u', 'flashd').trim();
  assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'));
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
  assert.match(status, /^Seccomp:\s+2$/m);
});

test('supervisor, sandboxd and templates are a user of their own, who is neither root nor the gateway, with the capabilities that the unit names', () => {
  const uid = ok('id', '-u', 'flashd-sandboxd').trim();
  const kept = '00000000002c11c2';
  const expected: [string, string, string][] = [['flashd-supervisor', kept, kept], ['flashd-sandboxd', kept, '0000000000000000'], ['/usr/bin/python3 .*bootstrap.py', '0000000000280000', '0000000000280000']];
  for (const [commandLine, effective, ambient] of expected) {
    const status = ok('cat', `/proc/${pidsOf(commandLine)[0]}/status`);
    assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'), commandLine);
    for (const [set, value] of [['CapPrm', effective], ['CapEff', effective], ['CapBnd', effective], ['CapAmb', ambient]]) assert.match(status, new RegExp(`^${set}:\\s+${value}$`, 'm'), `${commandLine} ${set}`);
  }
});

test('of the file system the service sees what the unit names', () => {
  const main = ok('systemctl', 'show', '-p', 'MainPID', '--value', 'flashd').trim();
  assert.equal(ok('ls', `/proc/${main}/root/`).trim().split('\n').sort().join(' '), 'bin dev etc lib lib64 proc root run sbin sys tmp usr var');
  assert.equal(ok('ls', `/proc/${main}/root/var/lib`).trim(), 'flashd');
  for (const path of ['root', 'home', 'boot', 'run/dbus', 'run/systemd/private', 'var/log']) assert.equal(machine.run('ls', `/proc/${main}/root/${path}/`).stdout, '', path);
});

test('what the unit closes is closed to the service, root or not, and what sandboxd needs is open', () => {
  const main = ok('systemctl', 'show', '-p', 'MainPID', '--value', 'flashd').trim();
  const within = (user: string, command: string) => machine.run('nsenter', '-t', main, '-m', 'setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', 'sh', '-c', command).status === 0;
  const mayMake = (cgroup: string) => within('root', `mkdir ${cgroup}/test && rmdir ${cgroup}/test`);
  assert.ok(mayMake('/sys/fs/cgroup/system.slice/flashd.service'));
  for (const cgroup of ['/sys/fs/cgroup', '/sys/fs/cgroup/system.slice', '/sys/fs/cgroup/system.slice/dbus.service']) assert.ok(!mayMake(cgroup), cgroup);
  assert.ok(within('root', 'echo 0 >/proc/sys/net/ipv4/conf/lo/forwarding'));
  for (const path of ['/proc/sys/kernel/panic', '/proc/sysrq-trigger', '/sys/power/state', '/usr/bin/new', '/root/new']) assert.ok(!within('root', `: 2>&- >>${path}`), path);
  assert.equal(machine.run('nsenter', '-t', main, '-m', 'find', '/dev', '-type', 'c', '-not', '-path', '*/pts/*', '-o', '-type', 'b').stdout.trim().split('\n').sort().join(' '),
    ['full', 'null', 'random', 'tty', 'urandom', 'zero'].map(name => `/dev/${name}`).join(' '));
  assert.ok(within('root', 'test -d /proc/1'));
  assert.ok(!within('flashd', 'test -d /proc/1'), 'the gateway sees other processes');
});

for (const [part, commandLine] of [['the gateway', 'flashd gateway'], ['sandboxd', 'flashd-sandboxd']] as const) {
  test(`after kill -9 of ${part} the functions answer again within two seconds`, async () => {
    const [killed] = pidsOf(commandLine);
    const started = Date.now();
    ok('kill', '-9', killed!);
    await until(() => ![undefined, killed].includes(pidsOf(commandLine)[0]), RESUME_MS, 'a new process');
    await untilAnswered(RESUME_MS - (Date.now() - started));
  });
}

test('after kill -9 of the supervisor systemd restarts the service', async () => {
  const main = () => ok('systemctl', 'show', '-p', 'MainPID', '--value', 'flashd').trim();
  const killed = main();
  ok('kill', '-9', killed);
  await until(() => !['0', killed].includes(main()), START_MS, 'a new main process');
  await untilAnswered(START_MS);
});

test('systemctl restart ends cleanly and resumes', async () => {
  ok('systemctl', 'restart', 'flashd');
  await untilAnswered(START_MS);
  assert.doesNotMatch(machine.run('journalctl', '--no-pager', '-u', 'flashd').stdout, /State 'stop-sigterm' timed out/);
});

test('after a reboot the functions answer without being deployed again', async () => {
  await machine.reboot();
  assert.equal(ok('systemctl', 'is-active', 'flashd').trim(), 'active');
  await untilAnswered(START_MS);
});

test('uninstall removes all but the state, and --purge that too', () => {
  ok('flashd', 'uninstall');
  for (const path of [INSTALLED_BINARY, ...INSTALLED_FILES.map(file => file.path)]) assert.ok(!existsSync(machine.path(path)), path);
  assert.ok(existsSync(machine.path(join(INSTALLED_STATE_DIR, 'registry.db'))));
  assert.equal(machine.run('pgrep', '-f', '^flashd').status, 1, 'a process is left');
  ok('/root/flashd', 'install');
  ok('flashd', 'uninstall', '--purge');
  assert.ok(!existsSync(machine.path(INSTALLED_STATE_DIR)));
  assert.notEqual(machine.run('id', 'flashd').status, 0);
});
