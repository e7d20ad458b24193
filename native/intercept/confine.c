/* See confine.h. */
#include "intercept/confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "sys/syscalls.h"

static const int allowed[] = {
  /* notifications, and the loop around them */
  SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_poll, SYS_ioctl, SYS_recvmsg, SYS_sendmsg, SYS_read, SYS_write, SYS_close, SYS_fcntl, SYS_clock_gettime,
  /* who asks */
  SYS_pidfd_open, SYS_pidfd_getfd, SYS_pread64, SYS_readlinkat,
  /* opening as the instance would */
  SYS_openat, SYS_openat2, SYS_newfstatat, SYS_fstat, SYS_setfsuid, SYS_setfsgid, SYS_capset,
  /* connecting, and the threads that wait for it */
  SYS_connect, SYS_getsockopt, SYS_shutdown, SYS_clone, SYS_clone3, SYS_set_robust_list, SYS_rseq, SYS_exit, SYS_sched_getaffinity,
  /* memory, ends */
  SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap, SYS_brk, SYS_futex, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_restart_syscall, SYS_gettid, SYS_getpid, SYS_tgkill, SYS_exit_group,
};

enum { FIXED = 5 };

int fl_monitor_confine(void)
{
  struct sock_filter filter[FIXED + 2 * FL_COUNT(allowed)];
  size_t at = 0;

  filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < FL_COUNT(allowed); i++) {
    filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  return fl_seccomp_filter(&(struct sock_fprog){.len = (unsigned short)at, .filter = filter}, 0);
}
