/**
 * A sandbox as the Open Containers runtime specification would describe it (config.json), and where it differs from what that asks of every runtime: what runtimetest, run inside a sandbox,
 * says is not so. native/README.md has the same list; test/unit/runtimetest.test.ts compares them, and `npm run soak` holds it against runtimetest itself.
 */
const MASKED = ['acpi', 'driver', 'interrupts', 'iomem', 'ioports', 'kallsyms', 'key-users', 'keys', 'softirqs', 'timer_list', 'zoneinfo'];
const READ_ONLY = ['bus', 'fs', 'irq', 'sys'];
const LAYER = ['nosuid', 'nodev'];

/** It reads its config.json in a directory: one that can be written to, since only there it is known which ids the sandbox has. */
export const ARGUMENTS = ['/function/runtimetest', '--compliance-level', 'SHOULD', '--path', '/tmp'] as const;
/** Stands for the sandbox's first id on the host. */
export const HOST_ID = 4_294_967_295;

export function ociConfig(): object {
  const ids = [{ containerID: 0, hostID: HOST_ID, size: 65_536 }];
  return {
    ociVersion: '1.0.2',
    hostname: 'function',
    root: { path: 'rootfs', readonly: true },
    process: {
      user: { uid: 1000, gid: 1000 },
      cwd: '/function',
      args: ARGUMENTS,
      env: ['HOME=/home/function', 'LANG=C.UTF-8', 'PATH=/usr/local/bin:/usr/bin:/bin', 'TMPDIR=/tmp', 'MEMORY_MB=128'],
      capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
      // And RLIMIT_SIGPENDING, which runtimetest does not know.
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: 1024, hard: 1024 }, { type: 'RLIMIT_NPROC', soft: 65, hard: 65 }, { type: 'RLIMIT_CORE', soft: 1, hard: 1 },
        { type: 'RLIMIT_MEMLOCK', soft: 65_536, hard: 65_536 }, { type: 'RLIMIT_MSGQUEUE', soft: 0, hard: 0 },
      ],
      noNewPrivileges: true,
      oomScoreAdj: 0,
    },
    mounts: [
      { destination: '/usr', type: '', source: '/usr', options: ['bind', 'ro', 'nosuid', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['ro', 'nosuid', 'noexec'] },
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
      ...['/tmp', '/var/tmp', '/dev/shm', '/home/function'].map((destination) => ({ destination, type: 'tmpfs', source: 'tmpfs', options: LAYER })),
      { destination: '/function', options: ['bind', 'ro', 'nosuid', 'nodev'] },
    ],
    linux: {
      namespaces: ['user', 'pid', 'mount', 'network', 'ipc', 'uts', 'cgroup'].map((type) => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
      devices: [['/dev/null', 1, 3], ['/dev/zero', 1, 5], ['/dev/full', 1, 7], ['/dev/random', 1, 8], ['/dev/urandom', 1, 9], ['/dev/tty', 5, 0]].map(([path, major, minor]) => ({ path, type: 'c', major, minor, fileMode: 0o666 })),
      maskedPaths: MASKED.map((name) => `/proc/${name}`),
      readonlyPaths: READ_ONLY.map((name) => `/proc/${name}`),
    },
  };
}

/** What runtimetest says is not so → why. */
export const DIFFERENCES: Readonly<Record<string, string>> = {
  'has a file at default symlink path "/dev/ptmx"': 'nobody sits at a terminal in a sandbox: there are no pseudo-terminals, and less of the kernel to be attacked',
  'has a file at /dev/ptmx (default device)': 'the same',
  'mount /dev/pts has expected type': 'the same',
  'mount /sys has expected type': "/sys tells of the host's devices, and no runtime needs more of it than two files of flashd's own",
};
