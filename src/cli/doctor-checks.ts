/** What flashd needs of the machine, looked up without changing anything and without a running flashd. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { parsePrefix } from '../config/index.ts';
import type { Runtime } from '../runtimes/index.ts';

export type Check = {
  readonly name: string;
  readonly state: 'ok' | 'missing' | 'optional';
  /** What was found, or why it is missing and what then. */
  readonly detail: string;
};

/** Where sandboxd looks for a runtime's interpreter. */
const INTERPRETER_DIRECTORIES = ['/usr/local/bin', '/usr/bin', '/bin'];

/** Below it clone3, the mount API and pidfds lack parts that are used without a fallback. */
const KERNEL_FLOOR = [5, 15] as const;
/** FL_LIGHT_ABI of native/sandbox/light.h. */
export const LANDLOCK_FLOOR = 6;
const NAMESPACES = ['user', 'pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'];
const FILESYSTEMS = ['tmpfs', 'proc'];
const CONTROLLERS = ['memory', 'pids', 'cpu'];
const DESCRIPTORS_WANTED = 65_536;
const FUNCTIONS_WANTED = 1000;
/** What a function with a standby and a template takes of each, in the runtime that takes the most: the threads of the standby, the init of its sandbox, the template. */
const TAKEN_BY_FUNCTION: Readonly<Record<string, number>> = { 'kernel.pid_max': 16, 'kernel.threads-max': 16, 'user.max_user_namespaces': 1, 'user.max_net_namespaces': 1 };
/** Shorter ones are default routes, or halves of one. */
const SHORTEST_ROUTE = 8;

/** landlock: its version, 0 for none, undefined when that cannot be told. */
export function machineChecks(runtimes: Iterable<Runtime>, egressRange: string, landlock: number | undefined): Check[] {
  return [
    kernelCheck(release()),
    namespacesCheck(),
    cgroupCheck(read('/proc/mounts'), read('/sys/fs/cgroup/cgroup.controllers')),
    seccompCheck(read('/proc/sys/kernel/seccomp/actions_avail')),
    filesystemsCheck(read('/proc/filesystems')),
    memfdCheck(read('/proc/sys/vm/memfd_noexec')),
    ptraceCheck(read('/proc/sys/kernel/yama/ptrace_scope')),
    pagemapCheck(release()),
    landlockCheck(landlock),
    descriptorsCheck(read('/proc/self/limits')),
    roomCheck((name) => read(`/proc/sys/${name.replace('.', '/')}`)),
    egressCheck(egressRange, read('/proc/net/route'), [read('/etc/resolv.conf'), read('/run/systemd/resolve/resolv.conf')]),
    { name: 'machine', state: 'ok', detail: `${availableParallelism()} CPUs, ${Math.round(totalmem() / 2 ** 20)} MB of memory` },
    ...Array.from(runtimes, runtimeCheck),
  ];
}

export function kernelCheck(kernel: string): Check {
  const enough = atLeast(kernel, KERNEL_FLOOR);
  return {
    name: 'kernel',
    state: enough ? 'ok' : 'missing',
    detail: enough ? kernel : `${kernel} is older than ${KERNEL_FLOOR.join('.')}`,
  };
}

export function cgroupCheck(mounts: string, v2Controllers: string): Check {
  const name = 'cgroups';
  const lines = mounts.split('\n').map((line) => line.split(' '));
  const v1 = CONTROLLERS.filter((controller) =>
    lines.some(([, , type, options]) => type === 'cgroup' && options!.split(',').includes(controller)),
  );
  if (v1.length === CONTROLLERS.length) return { name, state: 'ok', detail: `v1 with ${v1.join(', ')}` };
  const v2 = CONTROLLERS.filter((controller) => v2Controllers.trim().split(/\s+/).includes(controller));
  if (v2.length === CONTROLLERS.length) return { name, state: 'ok', detail: `v2 with ${v2.join(', ')}` };
  const missing = CONTROLLERS.filter((controller) => !v1.includes(controller) && !v2.includes(controller));
  return { name, state: 'missing', detail: `no controller ${missing.join(', ')}: limits cannot be enforced` };
}

export function seccompCheck(actions: string): Check {
  if (actions === '') return { name: 'seccomp', state: 'missing', detail: 'this kernel has no seccomp filters' };
  const notify = actions.includes('user_notif');
  return {
    name: 'seccomp',
    state: 'ok',
    detail: notify ? 'filters and user notification' : 'filters; no user notification: system calls cannot be intercepted',
  };
}

export function memfdCheck(noexec: string): Check {
  const blocked = noexec.trim() === '2';
  return { name: 'memfd', state: blocked ? 'missing' : 'ok', detail: blocked ? 'vm.memfd_noexec is 2: set it to 0 or 1' : 'executable' };
}

export function ptraceCheck(scope: string): Check {
  const blocked = scope.trim() === '3';
  return {
    name: 'ptrace',
    state: blocked ? 'missing' : 'ok',
    detail: blocked ? 'kernel.yama.ptrace_scope is 3: nobody may trace' : 'permitted to root',
  };
}

/** What functions with a network need of this machine: addresses and a name server (native/network). routes: /proc/net/route. */
export function egressCheck(range: string, routes: string, resolvers: readonly string[]): Check {
  const name = 'egress';
  const own = parsePrefix(range)!;
  for (const line of routes.split('\n').slice(1)) {
    const fields = line.split('\t');
    const [address, mask] = [fields[1], fields[7]].map((field) => Number.parseInt(field?.match(/../g)?.reverse().join('') ?? '', 16));
    if (address === undefined || mask === undefined || Number.isNaN(address + mask)) continue;
    const prefix = 32 - Math.log2(2 ** 32 - mask);
    if (prefix < SHORTEST_ROUTE || prefix > own.prefix || Math.floor(own.address / 2 ** (32 - prefix)) !== address / 2 ** (32 - prefix)) continue;
    return { name, state: 'optional', detail: `a route of this machine covers egressRange (${range}): functions with a network cannot run until another range is named` };
  }
  const named = resolvers.some((text) => [...text.matchAll(/^\s*nameserver\s+([0-9.]+)/gm)].some(([, address]) => !address!.startsWith('127.')));
  return { name, state: named ? 'ok' : 'optional', detail: named ? `addresses out of ${range}` : 'no name server but on the loopback: set egressDns, or functions with a network resolve no names' };
}

function namespacesCheck(): Check {
  const missing = NAMESPACES.filter((namespace) => !existsSync(`/proc/self/ns/${namespace}`));
  if (missing.length > 0) return { name: 'namespaces', state: 'missing', detail: `no ${missing.join(', ')} namespaces in this kernel` };
  if (read('/proc/sys/user/max_user_namespaces').trim() === '0')
    return { name: 'namespaces', state: 'missing', detail: 'user.max_user_namespaces is 0: raise it' };
  return { name: 'namespaces', state: 'ok', detail: NAMESPACES.join(', ') };
}

function filesystemsCheck(filesystems: string): Check {
  const known = new Set(filesystems.split('\n').map((line) => line.split('\t')[1]));
  const missing = FILESYSTEMS.filter((type) => !known.has(type));
  if (missing.length === 0) return { name: 'filesystems', state: 'ok', detail: FILESYSTEMS.join(', ') };
  return { name: 'filesystems', state: 'missing', detail: `no ${missing.join(', ')} in this kernel` };
}

function pagemapCheck(kernel: string): Check {
  const present = atLeast(kernel, [6, 7]);
  return { name: 'pagemap scan', state: present ? 'ok' : 'optional', detail: present ? 'present' : 'needs Linux 6.7; restores compare all pages ("requestIsolation": "restore")' };
}

export function landlockCheck(version: number | undefined): Check {
  if (version === undefined) return { name: 'landlock', state: 'optional', detail: 'the native addon, which asks the kernel, cannot be loaded here' };
  const enough = version >= LANDLOCK_FLOOR;
  const lacking = version === 0 ? 'none, or not among the security modules (lsm=)' : `version ${version}`;
  return { name: 'landlock', state: enough ? 'ok' : 'optional', detail: enough ? `version ${version}` : `${lacking}: functions with "isolation": "process" cannot run, which needs version ${LANDLOCK_FLOOR} (Linux 6.12)` };
}

function descriptorsCheck(limits: string): Check {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? '0';
  const enough = hard === 'unlimited' || Number(hard) >= DESCRIPTORS_WANTED;
  return {
    name: 'descriptors',
    state: enough ? 'ok' : 'optional',
    detail: `at most ${hard} in a process${enough ? '' : `: ${DESCRIPTORS_WANTED} are wanted for many instances`}`,
  };
}

/** Whether the kernel's limits leave room for many functions at once; setting: the text of /proc/sys. */
export function roomCheck(setting: (name: string) => string): Check {
  const rooms = Object.entries(TAKEN_BY_FUNCTION).map(([name, taken]) => {
    const text = setting(name).trim();
    return { name, limit: text, functions: text === '' ? Infinity : Math.floor(Number(text) / taken) };
  });
  const { name, limit, functions } = rooms.reduce((least, room) => (room.functions < least.functions ? room : least));
  if (functions >= FUNCTIONS_WANTED) return { name: 'room', state: 'ok', detail: `the kernel's limits leave room for ${FUNCTIONS_WANTED} functions and more` };
  return { name: 'room', state: 'optional', detail: `${name} is ${limit}: room for about ${functions} functions with a standby; raise it for more` };
}

function runtimeCheck(runtime: Runtime): Check {
  const name = `runtime ${runtime.name}`;
  const program = runtime.argv[0]!;
  if (program.startsWith('/opt/flashd/')) return { name, state: 'ok', detail: 'built in' };
  const found = INTERPRETER_DIRECTORIES.map((directory) => resolve(directory, program)).find(isExecutable);
  if (found !== undefined) return { name, state: 'ok', detail: found };
  if (runtime.own === true) return { name, state: 'ok', detail: `${program} is not installed: flashd itself stands in, ${process.release.name} ${process.version}` };
  return { name, state: 'optional', detail: `${program} is not installed: functions of this runtime cannot run` };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function atLeast(kernel: string, [major, minor]: readonly [number, number]): boolean {
  const [foundMajor = 0, foundMinor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return foundMajor > major || (foundMajor === major && foundMinor >= minor);
}

/** Empty when there is no such file: on this kernel the feature behind it does not exist. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
