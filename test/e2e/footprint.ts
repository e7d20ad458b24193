/** What one `flashd serve` holds of the machine: its processes, cgroups, network namespaces, mounts, and its daemons' descriptors and memory. */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type Process = { pid: number; parent: number; name: string; command: string };
export type Footprint = { processes: number; cgroups: number; networks: number; links: number; mounts: number; descriptors: number; sandboxdKiB: number };

const CGROUPS = '/sys/fs/cgroup';

/** undefined when the process has ended meanwhile. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function processOf(pid: number): Process | undefined {
  return attempt(() => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return { pid, parent: Number(stat.slice(end + 4).split(' ')[0]), name: stat.slice(stat.indexOf('(') + 1, end), command };
  });
}

/** A child belongs to the thread that made it. */
function childrenOf(pid: number): number[] {
  const threads = attempt(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  return threads.flatMap((thread) => attempt(() => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number)) ?? []);
}

/** The process and everything below it. */
export function family(pid: number): Process[] {
  const pids = [pid];
  for (let at = 0; at < pids.length; at++) pids.push(...childrenOf(pids[at]!));
  return pids.flatMap((each) => processOf(each) ?? []);
}

/** False when it has ended by itself, or with another one that was killed. */
export function killed(pid: number): boolean {
  return attempt(() => process.kill(pid, 'SIGKILL')) ?? false;
}

export function member(pid: number, matches: (process: Process) => boolean): Process {
  const found = family(pid).find(matches);
  if (found === undefined) throw new Error('no such process below the supervisor');
  return found;
}

const RESTART_MS = 20_000;

/** The same, where the last one may just have been killed: its successor, then. */
export async function living(pid: number, matches: (process: Process) => boolean): Promise<Process> {
  for (const end = performance.now() + RESTART_MS; performance.now() < end && !family(pid).some(matches);) await sleep(5);
  return member(pid, matches);
}

export const isGateway = ({ command }: Process): boolean => command.startsWith('flashd gateway');
export const isBuilder = ({ name }: Process): boolean => name === 'flashd-builder';
export const isInit = ({ name }: Process): boolean => name === 'flashd-init';
export const isTemplate = ({ command, parent }: Process, sandboxd: number): boolean => parent === sandboxd && command.includes('/opt/flashd/');
/** The inits and the builder share its command line, but not its name. */
export const isSandboxd = (process: Process): boolean => process.command.startsWith('flashd-sandboxd') && !isBuilder(process) && !isInit(process);

export function cgroupName(pid: number): string {
  return /--cgroup (\S+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '))![1]!;
}

/** Directories below every cgroup directory of that name, in every hierarchy. */
export function cgroups(name: string): string[] {
  const found: string[] = [];
  const look = (folder: string, inside: boolean): void => {
    for (const entry of attempt(() => readdirSync(folder, { withFileTypes: true })) ?? []) {
      if (!entry.isDirectory()) continue;
      if (inside || entry.name === name) found.push(join(folder, entry.name));
      look(join(folder, entry.name), inside || entry.name === name);
    }
  };
  look(CGROUPS, false);
  return found;
}

/** Links of the sandboxes with egress of the daemon of that name, as native/network/egress.c calls them. */
export function links(name: string): string[] {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return readdirSync('/sys/class/net').filter((link) => link.startsWith(`f${hash.toString(16).padStart(8, '0')}-`));
}

export function footprint(supervisor: number): Footprint {
  const processes = family(supervisor);
  const daemons = processes.filter((process) => process.pid === supervisor || isSandboxd(process) || isBuilder(process) || isGateway(process));
  const sandboxd = processes.find(isSandboxd)!.pid;
  return {
    processes: processes.length,
    cgroups: cgroups(cgroupName(supervisor)).length,
    networks: new Set(processes.flatMap(({ pid }) => attempt(() => readlinkSync(`/proc/${pid}/ns/net`)) ?? [])).size,
    links: links(cgroupName(supervisor)).length,
    // Named networks are those of laboratories of other tests.
    mounts: readFileSync(`/proc/${sandboxd}/mountinfo`, 'utf8').split('\n').filter((line) => line.includes('flashd') && !line.includes('netns')).length,
    descriptors: daemons.reduce((sum, { pid }) => sum + (attempt(() => readdirSync(`/proc/${pid}/fd`).length) ?? 0), 0),
    sandboxdKiB: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${sandboxd}/status`, 'utf8'))![1]),
  };
}

/** The footprint once it has stopped changing. */
export async function settled(supervisor: number, limitMs: number): Promise<Footprint> {
  let last = footprint(supervisor);
  for (const end = performance.now() + limitMs; performance.now() < end;) {
    await sleep(500);
    const next = footprint(supervisor);
    if (next.processes === last.processes && next.cgroups === last.cgroups && next.descriptors === last.descriptors) return next;
    last = next;
  }
  return last;
}

export const exists = (pid: number): boolean => attempt(() => statSync(`/proc/${pid}`)) !== undefined;
