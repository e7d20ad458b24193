/**
 * `runc run` with a bundle equal to an instance's isolation: all seven namespaces, no capabilities, no_new_privs, Docker's default system call filter, masked /proc,
 * read-only root, memory, pids and cpu limits. The filter is libseccomp's name list as Docker's own daemon writes it into its bundles.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Language, System } from '../series.ts';
import { LANGUAGES } from '../series.ts';
import { COMMANDS } from '../rootfs.ts';
import { programs, type Workspace } from '../workspace.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { removeCgroups } from './docker-daemon.ts';
import { checkGreetings, startSeries } from './program.ts';

const MIB = 1024 * 1024;
const CGROUP = 'flashd-bench-runc';
/** Host ids of the user namespace, which nobody else uses. */
const HOST_ID = 1_200_000_000;

export function runcSystem(workspace: Workspace, docker: DockerDaemon): System {
  const directory = join(workspace.directory, 'runc');
  const commandOf = (language: Language) => [programs.runc, '--root', join(directory, 'state'), 'run', '--bundle', join(directory, language), `flashd-bench-${language}`];
  return {
    name: 'runc',
    series: startSeries('runc', commandOf, 3),
    async prepare() {
      const seccomp = await docker.defaultSeccomp();
      for (const language of LANGUAGES) {
        mkdirSync(join(directory, language), { recursive: true });
        writeFileSync(join(directory, language, 'config.json'), JSON.stringify(bundle(workspace.rootfs, COMMANDS[language], seccomp)));
      }
      await checkGreetings(commandOf);
    },
    cleanup: () => removeCgroups(CGROUP),
  };
}

function bundle(rootfs: string, args: readonly string[], seccomp: unknown): object {
  const ids = [{ containerID: 0, hostID: HOST_ID, size: 65_536 }];
  const protectedMount = ['nosuid', 'noexec', 'nodev'];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 1000, gid: 1000 },
      args,
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/function',
      capabilities: {},
      noNewPrivileges: true,
    },
    root: { path: rootfs, readonly: true },
    hostname: 'function',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: protectedMount },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...protectedMount, 'mode=1777', 'size=65536k'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777', 'size=64m'] },
    ],
    linux: {
      cgroupsPath: `/${CGROUP}`,
      namespaces: ['pid', 'mount', 'network', 'ipc', 'uts', 'user', 'cgroup'].map(type => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        memory: { limit: 128 * MIB },
        cpu: { quota: 100_000, period: 100_000 },
        pids: { limit: 64 },
      },
      seccomp,
      maskedPaths: ['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/proc/sched_debug', '/proc/scsi'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}
