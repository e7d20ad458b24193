import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cgroupCheck, egressCheck, kernelCheck, LANDLOCK_FLOOR, landlockCheck, machineChecks, memfdCheck, ptraceCheck, roomCheck, seccompCheck } from '../../../src/cli/doctor-checks.ts';
import { RUNTIMES, type Runtime } from '../../../src/runtimes/index.ts';

const V1 = ['cpu,cpuacct', 'memory', 'pids'].map((each) => `cgroup /sys/fs/cgroup/${each} cgroup rw,nosuid,${each} 0 0`).join('\n');
const V2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0';

test('cgroups are found in version 1, in version 2, and missed in neither', () => {
  assert.deepEqual(cgroupCheck(V1, ''), { name: 'cgroups', state: 'ok', detail: 'v1 with memory, pids, cpu' });
  assert.deepEqual(cgroupCheck(V2, 'cpuset cpu io memory pids\n'), { name: 'cgroups', state: 'ok', detail: 'v2 with memory, pids, cpu' });
  assert.match(cgroupCheck(V2, 'cpu memory').detail, /no controller pids/);
  assert.equal(cgroupCheck('', '').state, 'missing');
});

test('an old kernel is missing something, a new one is not', () => {
  assert.equal(kernelCheck('4.19.0-27-amd64').state, 'missing');
  assert.equal(kernelCheck('6.1.0-28-amd64').state, 'ok');
});

test('settings of the machine that stop flashd are named with their remedy', () => {
  assert.match(memfdCheck('2\n').detail, /vm\.memfd_noexec/);
  assert.equal(memfdCheck('').state, 'ok');
  assert.match(ptraceCheck('3\n').detail, /ptrace_scope/);
  assert.equal(ptraceCheck('1\n').state, 'ok');
  assert.equal(seccompCheck('').state, 'missing');
});

test('a kernel without enough of Landlock is told, with what cannot be had then', () => {
  assert.equal(LANDLOCK_FLOOR, Number(/FL_LIGHT_ABI = (\d+)/.exec(readFileSync(new URL('../../../native/sandbox/light.h', import.meta.url), 'utf8'))![1]));
  assert.deepEqual(landlockCheck(7), { name: 'landlock', state: 'ok', detail: 'version 7' });
  assert.match(landlockCheck(2).detail, /^version 2: .*"isolation": "process" cannot run/);
  assert.match(landlockCheck(0).detail, /^none/);
  assert.equal(landlockCheck(0).state, 'optional');
  assert.equal(landlockCheck(undefined).state, 'optional');
});

test('the setting that leaves the least room for functions is named with its number', () => {
  const settings: Readonly<Record<string, string>> = { 'kernel.pid_max': '32768\n', 'kernel.threads-max': '7000\n', 'user.max_user_namespaces': '3500\n' };
  assert.equal(roomCheck((name) => settings[name] ?? '').state, 'optional');
  assert.match(roomCheck((name) => settings[name] ?? '').detail, /kernel\.threads-max is 7000: room for about 437 functions/);
  assert.equal(roomCheck((name) => (name === 'kernel.threads-max' ? '192727' : settings[name] ?? '')).state, 'ok');
  assert.equal(roomCheck(() => '').state, 'ok');
});

test('a route over the addresses of sandboxes and a lack of name servers are told', () => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
  const route = (address: string, mask: string): string => `eth0\t${address}\t00000000\t0001\t0\t0\t0\t${mask}\t0\t0\t0\n`;
  const usual = head + route('00000000', '00000000') + route('000200C0', '00FFFFFF');
  const servers = ['nameserver 127.0.0.53\n', 'nameserver 192.0.2.1\n'];
  assert.equal(egressCheck('10.224.0.0/12', usual, servers).state, 'ok');
  assert.equal(egressCheck('10.224.0.0/12', usual + route('00000000', '00000080'), servers).state, 'ok');
  assert.equal(egressCheck('10.224.0.0/12', usual + route('0000E00A', '0000FFFF'), servers).state, 'ok');
  assert.match(egressCheck('10.224.0.0/12', usual + route('0000000A', '000000FF'), servers).detail, /covers egressRange/);
  assert.match(egressCheck('10.224.0.0/12', usual, servers.slice(0, 1)).detail, /egressDns/);
});

test('this machine is looked at without a fault, and a runtime that is not installed is told', () => {
  const absent: Runtime = { ...RUNTIMES.get('python')!, name: 'absent', argv: ['/usr/bin/no-such-runtime'] };
  const checks = machineChecks([...RUNTIMES.values(), absent], '10.224.0.0/12', 6);
  assert.ok(checks.every((check) => check.detail !== ''));
  assert.deepEqual(
    checks.find((check) => check.name === 'runtime absent'),
    {
      name: 'runtime absent',
      state: 'optional',
      detail: '/usr/bin/no-such-runtime is not installed: functions of this runtime cannot run',
    },
  );
});

test('a program that is not installed is no loss where flashd itself stands in', () => {
  const [check] = machineChecks([{ ...RUNTIMES.get('node')!, argv: ['no-such-program'] }], '10.224.0.0/12', 0).slice(-1);
  assert.deepEqual([check!.state, check!.detail], ['ok', `no-such-program is not installed: flashd itself stands in, node ${process.version}`]);
});
