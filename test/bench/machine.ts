/** What the figures were measured on. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { DEBIAN_ENVIRONMENT, peers, programs } from './workspace.ts';

export type Machine = Readonly<Record<string, string | number | readonly number[] | Readonly<Record<string, string>>>>;

export function describeMachine(): Machine {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1024 / 1024),
    kernel: release(),
    cgroups: existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'v2' : 'v1',
    governor: governor(),
    virtual: readFileSync('/proc/cpuinfo', 'utf8').includes(' hypervisor') ? 'yes' : 'no',
    node: process.version,
    loadAverageAtStart: loadavg().map(load => Math.round(load * 100) / 100),
  };
}

/** Of what flashd is compared with, as far as it was needed. */
export function describePeers(): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const [name, args] of [['docker', ['--version']], ['runc', ['--version']], ['bwrap', ['--version']]] as const) {
    if (existsSync(programs[name])) versions[name] = execFileSync(programs[name], args, { encoding: 'utf8', env: DEBIAN_ENVIRONMENT }).split('\n', 1)[0]!;
  }
  const manifest = join(peers, 'package.json');
  if (existsSync(manifest)) Object.assign(versions, (JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies: Record<string, string> }).dependencies);
  return versions;
}

function governor(): string {
  const path = '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor';
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : 'none visible';
}
