/*
 * What code in a sandbox may ask of the kernel. The yardstick is Docker's default profile for a container without capabilities: this list is a subset of it,
 * save for `parasite`, which the seal (flashd/seal.h) closes before any user code runs. Left out of Docker's list on purpose:
 *   ptrace, process_vm_*, process_mrelease     nobody debugs in a sandbox; kernel memory-access bugs lived there
 *   io_uring_*, modify_ldt, remap_file_pages, memfd_secret, fanotify_mark   large or old attack surface without a use here
 *   sync, syncfs                               they make the host write back its own file systems
 *   inotify_*, io_*, mq_*                      see `absent` below
 *   seccomp                                    once the seal is there: see SO_ATTACH_FILTER among the refusals
 *   adjtimex, clock_adjtime                    the host's clock is none of a function's business
 */
#include "sandbox/policy.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/personality.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

#if !defined(__x86_64__)
#error "the table below was judged for x86-64"
#endif

/* Younger than the headers we build with. */
#define NR_cachestat 451
#define NR_fchmodat2 452
#define NR_futex_wake 454
#define NR_futex_wait 455
#define NR_futex_requeue 456
#define NR_mseal 462
#define NR_SO_PASSPIDFD 76
#define NR_SO_PEERPIDFD 77

#define WORD 0xffffffffULL

static const int memory[] = {
  SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_mincore, SYS_msync, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_munlock,
  SYS_munlockall, SYS_memfd_create, SYS_membarrier, NR_mseal,
};

static const int descriptors[] = {
  SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_lseek, SYS_close,
  SYS_close_range, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_ioctl, SYS_flock, SYS_pipe, SYS_pipe2, SYS_splice, SYS_tee, SYS_vmsplice, SYS_sendfile,
  SYS_copy_file_range, SYS_select, SYS_pselect6, SYS_poll, SYS_ppoll, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
  SYS_epoll_pwait2, SYS_eventfd, SYS_eventfd2, SYS_signalfd, SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
};

static const int files[] = {
  SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_access,
  SYS_faccessat, SYS_faccessat2, SYS_getdents, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_readlink, SYS_readlinkat, SYS_mkdir, SYS_mkdirat,
  SYS_rmdir, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_mknod, SYS_mknodat,
  SYS_chmod, SYS_fchmod, SYS_fchmodat, NR_fchmodat2, SYS_chown, SYS_fchown, SYS_lchown, SYS_fchownat, SYS_umask, SYS_utime, SYS_utimes, SYS_futimesat,
  SYS_utimensat, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, NR_cachestat,
  SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_listxattr, SYS_llistxattr, SYS_flistxattr, SYS_removexattr,
  SYS_lremovexattr, SYS_fremovexattr,
};

static const int processes[] = {
  SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill, SYS_getpid, SYS_gettid,
  SYS_getppid, SYS_getpgid, SYS_setpgid, SYS_getpgrp, SYS_getsid, SYS_setsid, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_prctl, SYS_arch_prctl,
  SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_futex, SYS_futex_waitv, NR_futex_wake, NR_futex_wait, NR_futex_requeue,
  SYS_set_thread_area, SYS_get_thread_area, SYS_restart_syscall,
};

static const int signals[] = {
  SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
  SYS_rt_sigsuspend, SYS_sigaltstack, SYS_pause, SYS_alarm, SYS_getitimer, SYS_setitimer,
};

static const int clocks[] = {
  SYS_time, SYS_gettimeofday, SYS_clock_gettime, SYS_clock_getres, SYS_nanosleep, SYS_clock_nanosleep, SYS_times, SYS_timer_create, SYS_timer_settime,
  SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
};

static const int identity[] = {
  SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid,
  SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_capget, SYS_capset, SYS_landlock_create_ruleset,
  SYS_landlock_add_rule, SYS_landlock_restrict_self,
};

static const int scheduling[] = {
  SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_setparam, SYS_sched_getscheduler, SYS_sched_setscheduler,
  SYS_sched_getattr, SYS_sched_setattr, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_rr_get_interval, SYS_getpriority,
  SYS_setpriority, SYS_ioprio_get, SYS_ioprio_set, SYS_getcpu, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage, SYS_sysinfo, SYS_uname,
  SYS_getrandom,
};

static const int sockets[] = {
  SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto,
  SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
};

static const int ipc[] = {
  SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
};

/* The files that a sandbox shows are the host's own, and their use by the host and by other functions would be told. Of instances there is one count for all sandboxes, since one user owns their namespaces. */
static const int watches[] = { SYS_inotify_init, SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch };
/* Of requests there is one count for the machine (fs.aio-max-nr). */
static const int asynchronous[] = { SYS_io_setup, SYS_io_submit, SYS_io_cancel, SYS_io_getevents, SYS_io_pgetevents, SYS_io_destroy };
/* Of bytes there is one count for all sandboxes. */
static const int queues[] = { SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify, SYS_mq_getsetattr };

static const int parasite[] = { SYS_seccomp, SYS_setns, SYS_chroot, SYS_move_mount, SYS_clone3, SYS_io_uring_register };

#define GROUP(name, why) { why, name, FL_COUNT(name) }

const struct fl_policy_group fl_policy_groups[] = {
  GROUP(memory, "a process's own address space"),
  GROUP(descriptors, "work on descriptors it holds; ioctl is refused below for what types into terminals"),
  GROUP(files, "paths: the sandbox's own root decides what they reach"),
  GROUP(processes, "its own processes: the pid namespace decides what they reach, pids.max how many there are"),
  GROUP(signals, "signals within its pid namespace"),
  GROUP(clocks, "reading clocks, sleeping, timers"),
  GROUP(identity, "its ids and capabilities, which are none and can only shrink; tightening itself further by Landlock"),
  GROUP(scheduling, "its own priority and limits; the machine's facts"),
  GROUP(sockets, "sockets in its own network namespace; which kinds can be made is a rule below"),
  GROUP(ipc, "System V IPC in its own ipc namespace"),
  GROUP(parasite, "what turns the template's clone into an instance; closed by the seal"),
};
const size_t fl_policy_group_count = FL_COUNT(fl_policy_groups);

const struct fl_policy_group fl_policy_absent[] = {
  GROUP(watches, "what becomes of files that are not the function's"),
  GROUP(asynchronous, "a limit that is the machine's"),
  GROUP(queues, "a limit that all sandboxes share"),
};
const size_t fl_policy_absent_count = FL_COUNT(fl_policy_absent);

const struct fl_policy_rule fl_policy_rules[] = {
  /* CLONE_PARENT too: the newborn would be sandboxd's child. (On clone, unlike clone3, CLONE_NEWTIME's bit is part of the exit signal.) */
  { SYS_clone, 1, { { 0, CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT, 0 } },
    "threads and children, never namespaces" },
  { SYS_io_uring_setup, 1, { { 0, WORD, FL_POLICY_RING_ENTRIES } }, "the template's pinned pages (inject/pin.h), closed by the seal; a runtime's own ring, which has more, could not be carried" },
  { SYS_socket, 1, { { 0, WORD, AF_UNIX } }, "local sockets" },
  { SYS_socket, 1, { { 0, WORD, AF_INET } }, "internet" },
  { SYS_socket, 1, { { 0, WORD, AF_INET6 } }, "internet" },
  { SYS_socket, 2, { { 0, WORD, AF_NETLINK }, { 2, WORD, 0 } }, "NETLINK_ROUTE: getifaddrs" },
  { SYS_socketpair, 1, { { 0, WORD, AF_UNIX } }, "local sockets" },
  { SYS_personality, 1, { { 0, WORD, PER_LINUX } }, "the plain one" },
  { SYS_personality, 1, { { 0, WORD, PER_LINUX32 } }, "uname -m says i686; nothing else changes" },
  { SYS_personality, 1, { { 0, WORD, UNAME26 } }, "as Docker" },
  { SYS_personality, 1, { { 0, WORD, UNAME26 | PER_LINUX32 } }, "as Docker" },
  { SYS_personality, 1, { { 0, WORD, WORD } }, "asking which one it is" },
};
const size_t fl_policy_rule_count = FL_COUNT(fl_policy_rules);

const struct fl_policy_pretence fl_policy_pretences[] = {
  { SYS_sched_setaffinity, "whose processors are whose is sandboxd's to say (base/lane.h); a program that asks has to be content with less anyway (cpuset)" },
};
const size_t fl_policy_pretence_count = FL_COUNT(fl_policy_pretences);

const struct fl_policy_refusal fl_policy_refusals[] = {
  { SYS_ioctl, 1, { { 1, WORD, TIOCSTI } }, 0, EPERM, "types into the terminal as if its user had" },
  { SYS_ioctl, 1, { { 1, WORD, TIOCLINUX } }, 0, EPERM, "pastes into the console" },
  { SYS_fcntl, 1, { { 1, WORD, F_NOTIFY } }, 0, EPERM, "tells what becomes of directories, as watches do" },
  { SYS_fcntl, 1, { { 1, WORD, F_SETPIPE_SZ } }, 0, EPERM, "of the pipes that it logs to, it would be on the gateway's account (fs.pipe-user-pages-soft)" },
  { SYS_getsockopt, 2, { { 1, WORD, SOL_SOCKET }, { 2, WORD, NR_SO_PEERPIDFD } }, 0, EPERM, "a descriptor of the process at the other end, which is sandboxd" },
  { SYS_setsockopt, 2, { { 1, WORD, SOL_SOCKET }, { 2, WORD, NR_SO_PASSPIDFD } }, 0, EPERM, "the same, with each message" },
  { SYS_setsockopt, 2, { { 1, WORD, SOL_SOCKET }, { 2, WORD, SO_ATTACH_FILTER } }, 0, EPERM, "compiled filters are nobody's memory, and of their bytes there is one count for the machine (net.core.bpf_jit_limit)" },
  { SYS_setsockopt, 2, { { 1, WORD, SOL_SOCKET }, { 2, WORD, SO_ATTACH_REUSEPORT_CBPF } }, 0, EPERM, "the same" },
  { SYS_prctl, 1, { { 0, WORD, PR_SET_SECCOMP } }, 0, EPERM, "the same; by seccomp(), which templates and forks need, until the seal" },
  { SYS_setsockopt, 2, { { 1, WORD, SOL_SOCKET }, { 2, WORD, SO_RCVBUF } }, 0, 0, "what waits in netlink sockets, and in connections that nobody has accepted, is nobody's memory: as where net.core.rmem_max is not above the default" },
  { SYS_setrlimit, 1, { { 0, WORD, RLIMIT_CORE } }, 0, 0, "1 is the only one that keeps the host's program for core dumps from being started (core(5)); none is written anyway" },
  { SYS_prlimit64, 1, { { 1, WORD, RLIMIT_CORE } }, 2, 0, "the same" },
  { SYS_mmap, 1, { { 3, MAP_HUGETLB, MAP_HUGETLB } }, 0, ENOMEM, "the machine's reserve of huge pages is for whom its owner meant it, and is counted apart from memory; there is none" },
  { SYS_memfd_create, 1, { { 1, MFD_HUGETLB, MFD_HUGETLB } }, 0, ENOMEM, "the same" },
  { SYS_shmget, 1, { { 2, SHM_HUGETLB, SHM_HUGETLB } }, 0, ENOMEM, "the same" },
};
_Static_assert(FL_COUNT(fl_policy_refusals) <= FL_POLICY_REFUSALS_MAX, "filter.c has room for them");
const size_t fl_policy_refusal_count = FL_COUNT(fl_policy_refusals);
