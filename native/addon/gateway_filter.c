/* The gateway's deny-list: see gateway_filter.h, and sys/deny_filter.c for what it shares with sandboxd. */
#include "addon/gateway_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

static const int denied[] = {
  /* other programs: the gateway starts none, and must never become one */
  SYS_execve, SYS_execveat,
  /* other processes' memory and descriptors */
  SYS_ptrace, SYS_pidfd_getfd, SYS_kcmp, SYS_process_vm_writev,
  /* mounts and roots */
  SYS_chroot, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_move_mount, SYS_open_tree, SYS_mount_setattr, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
  /* namespaces; clone's flags are looked at as well */
  SYS_unshare, SYS_setns, SYS_sethostname,
  /* identities: it has the one it was started with */
  SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_capset, SYS_personality,
  SYS_vmsplice, SYS_mknod, SYS_mknodat,
  /* new rings; libuv made its own before the filter came and goes on using them, and does without where it cannot */
  SYS_io_uring_setup,
  /* System V and POSIX message queues, semaphores, shared memory: not used */
  SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
  SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify, SYS_mq_getsetattr,
};

/* Only an exploit makes 32-bit calls. */
const struct fl_deny_filter fl_gateway_filter = { .denied = denied, .count = FL_COUNT(denied), .foreign = SECCOMP_RET_KILL_PROCESS };

int fl_gateway_filter_apply(struct fl_error *err)
{
  /* Nobody who got hold of the service user's rights some other way reads this process. */
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fl_fail_errno(err, "prctl");
  return fl_deny_filter_apply(&fl_gateway_filter, err);
}
