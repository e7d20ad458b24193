/** The right answer to every attempt. Reports are compared whole: an attempt that is missing, or that nobody knows, fails as one that was let through does. */
import assert from 'node:assert/strict';
import type { Answers } from './attack.ts';

/** What differs between kernels and machines that are all right: a file that only some have. */
const REFUSED = /^(EACCES|EPERM|ENOENT|EROFS|EISDIR)$/;
const UNREACHABLE = /^(ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT)$/;

export type Answer = string | RegExp;
export const each = (answer: Answer, ...names: string[]): Record<string, Answer> => Object.fromEntries(names.map((name) => [name, answer]));

const TARGETS = ['supervisor', 'sandboxd', 'gateway', 'builder', 'template', 'function template', 'victim', "victim's init", 'test'];
export const FILES = [
  'mem', 'maps', 'environ', 'root', 'cwd', 'exe', 'fd', 'ns/mnt', 'syscall', 'stack', 'auxv', 'map_files', 'task/1/mem', 'write mem of', 'clear_refs of', 'oom_score_adj of',
  'uid_map of',
];
export const SIGNALS = [
  'kill', 'kill group of', 'tgkill', 'queue a signal to', 'prlimit', 'priority of',
];
/** Nothing is done, whoever it is about: native/sandbox/policy.c. */
const PRETENCES = ['affinity of'];
/** What the kernel tells of any process that one can name. */
export const LOOKS = ['session of', 'processors of'];
const PIDFD = [
  'signal the pidfd of',
];
const CALLS = [
  'pidfd_getfd of', 'ptrace attach', 'ptrace seize', 'process_vm_readv', 'process_vm_writev', 'process_madvise', 'process_mrelease', 'kcmp',
];
export const of = (names: readonly string[], who: string): string[] => names.map((name) => `${name} ${who}`);

export const ANSWERS: Readonly<Record<string, Readonly<Record<string, Answer>>>> = {
  calls: {
    ...each('EPERM',
      'unshare user', 'clone user', 'clone user and high bits', 'clone user and user', 'unshare mount', 'clone mount', 'clone mount and high bits', 'clone user and mount',
      'unshare pid', 'clone pid', 'clone pid and high bits', 'clone user and pid', 'unshare net', 'clone net', 'clone net and high bits', 'clone user and net', 'unshare ipc',
      'clone ipc', 'clone ipc and high bits', 'clone user and ipc', 'unshare uts', 'clone uts', 'clone uts and high bits', 'clone user and uts', 'unshare cgroup', 'clone cgroup',
      'clone cgroup and high bits', 'clone user and cgroup', 'unshare time', 'unshare user and all', 'clone as a sibling', 'setns own', 'setns init', 'mount tmpfs', 'mount proc',
      'mount bind', 'mount bind of a link', 'mount cgroup', 'mount cgroup2', 'mount move', 'remount usr writable', 'remount proc sys writable', 'make shared', 'umount function',
      'umount a mask', 'umount root', 'pivot_root', 'chroot', 'fsopen', 'fsconfig', 'fsmount', 'fspick', 'open_tree', 'move_mount', 'mount_setattr', 'statmount', 'listmount',
      'quotactl', 'quotactl_fd', 'swapon', 'swapoff', 'name_to_handle_at', 'open_by_handle_at', 'fanotify_init', 'fanotify_mark', 'bpf', 'perf_event_open', 'userfaultfd',
      'io_uring_setup', 'io_uring_setup large', 'io_uring_enter', 'io_uring_register', 'keyctl', 'add_key', 'request_key', 'init_module', 'finit_module', 'delete_module',
      'kexec_load', 'kexec_file_load', 'memfd_secret', 'remap_file_pages', 'mbind', 'migrate_pages', 'move_pages', 'lookup_dcookie', 'settimeofday', 'clock_settime', 'adjtimex',
      'clock_adjtime', 'sethostname', 'setdomainname', 'reboot', 'syslog', 'acct', 'vhangup', 'sync', 'TIOCSTI', 'TIOCSTI and high bits', 'TIOCLINUX',
    ),
    ...each('ENOSYS', 'clone3 user', 'inotify_init', 'inotify_init1', 'inotify_add_watch', 'io_setup', 'mq_open', 'filter for system calls'),
    ...each('EPERM', 'notifications for a directory', 'filter for system calls by prctl', 'filter for a socket', 'filter for the sockets of a port', 'larger log'),
    ...each('ENOMEM', 'reserve of huge pages', 'reserve of huge pages by a file', 'reserve of huge pages by a segment'),
    'larger buffer to receive into': 'as before',
  },
  identity: {
    ...each('EPERM',
      'setuid 0', 'setresuid 0', 'setresuid another function', 'setgid 0', 'setgroups', 'capset all', 'ambient capability', 'securebits', 'PR_SET_MM',
      'personality ADDR_NO_RANDOMIZE', 'personality READ_IMPLIES_EXEC', 'personality MMAP_PAGE_ZERO', 'the page at zero', 'real time', 'real-time i/o', 'more descriptors',
      'more processes', 'more locked memory', 'more message queues', 'more pending signals', 'core dumps', 'core dumps for the host', 'seccomp off', 'limits of the init',
    ),
    ...each('1000',
      'fsuid', 'set-user-id program of the host', 'set-user-id program of its own',
    ),
    'bounding set': '0',
    ...each('EINVAL',
      'no_new_privs off', 'PR_SET_MDWE undone',
    ),
    'higher priority': 'EACCES',
    'program from memory': '1000 1000 1000 1000 0000000000000000 0000000000000000 0000000000000000 1 2 ',
    'program by its descriptor': '1000 1000 1000 1000 0000000000000000 0000000000000000 0000000000000000 1 2',
  },
  processes: {
    ...Object.assign({}, ...TARGETS.map((who) => ({ ...each('ENOENT', ...of(FILES, who)), ...each('ESRCH', ...of([...SIGNALS, ...LOOKS], who)), ...each('EPERM', ...of(CALLS, who)), ...each('EBADF', ...of(PIDFD, who)), ...each('done', ...of(PRETENCES, who)) }))),
    ...each('EACCES', ...of(FILES, 'the init')),
    ...each('done', ...of([...LOOKS, ...PRETENCES], 'the init')),
    ...each('EPERM', ...of([...SIGNALS.filter((name) => name !== 'kill group of'), ...CALLS, ...PIDFD], 'the init')),
    ...each('EPERM',
      'ptrace attach own child', 'ptrace traceme', 'process_vm_readv own child', 'pidfd_getfd own child',
    ),
    'strangers in /proc': '0',
    'to other processors': 'as before',
  },
  files: {
    'descriptors': '0 /dev/null, 1 pipe:, 2 pipe:, 3 socket:',
    'ways out by a descriptor': '0',
    ...each('ENOENT',
      'read /etc/shadow', 'read /etc/ssh/ssh_host_ed25519_key', 'read /root/.bashrc', 'read /boot', 'read /sys/class', 'read /sys/devices', 'read /sys/kernel/security', 'read /run/systemd',
      'read /run/docker.sock', 'read /var/log', 'read /var/lib/dpkg', 'read /base', 'read /scratch', 'read /var/lib/flashd', 'read /opt/flashd/self/../../../etc/shadow',
      'read canary', 'read state directory', 'read management socket', "read victim's file", 'read /proc of the gateway', 'climb from the working directory',
      'follow a link to /etc/shadow', 'open /dev/mem', 'open /dev/kmem', 'open /dev/port', 'open /dev/kmsg', 'open /dev/fuse', 'open /dev/kvm', 'open /dev/net/tun',
      'open /dev/sda', 'open /dev/vda', 'open /dev/loop0', 'open /dev/loop-control', 'open /dev/userfaultfd', 'open /dev/console', 'open /dev/ptmx', 'open /dev/pts/0',
      'open /dev/vsock', 'open /dev/cpu/0/msr', 'open /dev/btrfs-control', 'open /dev/mapper/control', 'open /dev/rtc0', 'open /dev/dri/card0', 'open /dev/snapshot',
      'open /dev/autofs', 'open /dev/vhost-net', 'open /dev/uinput', 'write /sys/fs/cgroup', 'write /sys/fs/cgroup/release_agent', 'write /sys/fs/cgroup/memory/release_agent',
      'write /sys/fs/cgroup/cgroup.procs', 'write /cgroup',
    ),
    ...each(REFUSED,
      'read /proc/1/root/etc/shadow', 'read /proc/self/root/etc/shadow', 'read /proc/self/cwd/../etc/shadow', 'read /proc/thread-self/root/../etc/shadow',
      'write /proc/self/exe by a descriptor', 'read /proc/kmsg', 'read /proc/kpagecount', 'read /proc/kpageflags', 'read /proc/kpagecgroup', 'read /proc/slabinfo',
      'read /proc/vmallocinfo', 'read /proc/pagetypeinfo', 'read /proc/mtrr', 'read /proc/vmcore', 'write /proc/sys/kernel/core_pattern', 'write /proc/sys/kernel/modprobe',
      'write /proc/sys/kernel/hotplug', 'write /proc/sys/kernel/poweroff_cmd', 'write /proc/sys/kernel/hostname', 'write /proc/sys/kernel/domainname',
      'write /proc/sys/kernel/ns_last_pid', 'write /proc/sys/kernel/shmmax', 'write /proc/sys/kernel/msgmax', 'write /proc/sys/kernel/sysrq',
      'write /proc/sys/kernel/randomize_va_space', 'write /proc/sys/kernel/yama/ptrace_scope', 'write /proc/sys/kernel/unprivileged_bpf_disabled',
      'write /proc/sys/kernel/cap_last_cap', 'write /proc/sys/kernel/perf_event_paranoid', 'write /proc/sys/vm/drop_caches', 'write /proc/sys/vm/overcommit_memory',
      'write /proc/sys/vm/panic_on_oom', 'write /proc/sys/vm/mmap_min_addr', 'write /proc/sys/fs/binfmt_misc', 'write /proc/sys/fs/binfmt_misc/register',
      'write /proc/sys/fs/protected_symlinks', 'write /proc/sys/fs/suid_dumpable', 'write /proc/sys/fs/mqueue/msg_max', 'write /proc/sys/net/ipv4/ip_forward',
      'write /proc/sys/net/core/somaxconn', 'write /proc/sys/user/max_user_namespaces', 'write /proc/self/oom_score_adj', 'write /proc/self/uid_map', 'write /proc/self/gid_map',
      'write /proc/self/setgroups', 'write /proc/self/timens_offsets', 'write /proc/irq', 'write /proc/bus', 'write /proc/fs', 'write /proc/self/cgroup',
      'write /sys/kernel/mm/transparent_hugepage/enabled',
    ),
    'names in /': 'bin dev etc function home lib lib64 mnt opt proc root run sbin sys tmp usr var',
    ...each('',
      'names in /root', 'names in /mnt', 'names in /run',
    ),
    'names in /home': 'function',
    'names in /sys': 'kernel',
    'names in /sys/kernel': 'mm',
    'names in /sys/kernel/mm': 'transparent_hugepage',
    'names in /sys/kernel/mm/transparent_hugepage': 'enabled hpage_pmd_size',
    'names in /var': 'empty tmp',
    'names in /opt': 'flashd',
    'names in /dev': 'fd full null random shm stderr stdin stdout tty urandom zero',
    'working directory': '/function',
    ...each('EACCES',
      'write /proc/self/exe', 'write /proc/1/exe', 'write /usr/bin/sh', 'write /usr/lib/x86_64-linux-gnu/libc.so.6', 'write /etc/passwd', 'write /etc/ld.so.cache',
      'truncate /proc/self/exe', 'map /proc/self/exe shared and writable', 'follow a link through the init',
    ),
    ...each('EROFS',
      'write /etc/ld.so.preload', 'write /opt/flashd/made', 'write /function/made', 'write /made', 'write /dev/made', 'write /usr/made', 'write /home/made', 'write /root/made',
      'chmod /proc/self/exe', 'exchange /function and /tmp', 'remove /function', 'replace /proc by a link', 'replace /tmp by a link', 'link in /', 'link in /function',
      'remove a file of its own',
    ),
    ...each('EXDEV',
      'rename /function', 'replace the home directory', 'hard link of a program', 'hard link of its own program', 'hard link by a descriptor',
    ),
    'open /dev/tty': 'ENXIO',
    ...each('EPERM',
      'mknod mem', 'mknod null', 'mknod disk',
    ),
    ...each('nothing',
      '/proc/kcore', '/proc/sysrq-trigger', '/proc/kallsyms', '/proc/modules', '/proc/keys', '/proc/locks', '/proc/key-users', '/proc/timer_list', '/proc/iomem', '/proc/ioports',
      '/proc/interrupts', '/proc/softirqs', '/proc/zoneinfo', '/proc/latency_stats', '/proc/sched_debug', '/proc/acpi', '/proc/scsi', '/proc/driver', '/proc/asound',
      '/proc/firmware',
    ),
    'cgroup file systems': 'none',
    'files of cgroups and of the host anywhere': 'none',
  },
  network: {
    ...each('EPERM',
      'packet socket', 'packet socket, cooked', 'raw socket', 'raw icmp socket', 'raw ipv6 socket', 'netlink uevent', 'netlink audit', 'netlink netfilter', 'netlink generic',
      'netlink xfrm', 'netlink sock_diag', 'vsock', 'crypto socket', 'key socket', 'bluetooth socket', 'can socket', 'tipc socket', 'rds socket', 'xdp socket', 'smc socket',
      'ax25 socket', 'x25 socket', 'kcm socket', 'nfc socket', 'llc socket', 'qipcrtr socket', 'packet socket the old way', 'vsock and high bits', 'socketpair of tipc',
      'change a link', 'add a route', 'interface down', 'name an interface', 'mark packets', 'transparent proxy', 'larger buffers', 'busy polling', 'iptables',
      'forged credentials', 'descriptor of the process at the other end', 'descriptors of processes with messages',
    ),
    'port 80': 'EACCES',
    ...each('done', 'the number of a port that the victim has', 'the name of a socket that the victim has'),
    "the victim's socket in /proc/net/unix": 'unlisted',
    ...each('ECONNREFUSED',
      'abstract socket of the host', 'abstract socket of the host, datagrams', 'abstract socket of the victim', 'port of the gateway', 'port of the gateway by 0.0.0.0',
      "port of the host's", 'port of the victim',
    ),
    ...each('ENOENT',
      'socket of the host in a file', 'management socket', 'shared memory of the victim', 'message queue of the victim',
      'named shared memory of the victim',
    ),
    "port of the host's by ipv6": UNREACHABLE,
    'the internet by ipv6': UNREACHABLE,
    ...each('ENETUNREACH',
      "port of the host's by its address", 'the internet', 'metadata service',
    ),
  },
  processor: {
    ...each('ENOSYS',
      'int 0x80 getpid', 'int 0x80 mount', 'int 0x80 unshare user', 'int 0x80 keyctl', 'x32 getpid', 'x32 unshare user', 'x32 ptrace', 'negative number', 'number past the table',
    ),
    ...each('EPERM',
      'number and high bits', 'modify_ldt write', 'modify_ldt read', 'iopl', 'ioperm', 'gs base in the kernel', 'fs base in the kernel',
    ),
    'arch_prctl unknown': 'EINVAL',
    'a page of the kernel': 'ENOMEM',
  },
  memory: {
    'mappings': 'read',
    ...each('0',
      "executable memory that is no file's", 'writable and executable memory', 'shared writable memory', 'memory of files without a name', 'TracerPid:',
    ),
    'Groups:': '',
    ...each('0000000000000000',
      'SigPnd:', 'ShdPnd:', 'SigBlk:', 'CapInh:', 'CapPrm:', 'CapEff:', 'CapBnd:', 'CapAmb:',
    ),
    'NoNewPrivs:': '1',
    'Seccomp:': '2',
    'timers': 'none',
  },
  limits: {
    'descriptors': 'EMFILE',
    'processes': 'EAGAIN',
    'threads': 'EAGAIN',
    ...each('ENOSPC',
      'inodes', 'bytes in /tmp', 'bytes in /dev/shm', 'bytes in the home directory',
    ),
    'locked memory': 'ENOMEM',
  },
};

/** What is "done" where the victim itself tries it: so these are attempts that nothing but the sandbox refuses. */
export const WITHIN_REACH = ['abstract socket of the victim', 'port of the victim', 'shared memory of the victim', 'message queue of the victim', 'named shared memory of the victim'];

/** A program of its own per request has pipes where the others have /dev/null and the data socket. */
export const PROGRAM: Readonly<Record<string, Readonly<Record<string, Answer>>>> = { files: { 'descriptors': '0 pipe:, 1 pipe:, 2 pipe:' } };

export function compare(found: Answers, expected: Readonly<Record<string, Answer>>, what: string): void {
  assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort(), `${what}: the attempts`);
  const wrong = Object.entries(expected).filter(([name, answer]) => (typeof answer === 'string' ? found[name] !== answer : !answer.test(found[name]!)));
  assert.deepEqual(wrong.map(([name, answer]) => `${name}: ${found[name]} instead of ${String(answer)}`), [], what);
}
