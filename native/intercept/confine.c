/* See confine.h. */
#include "intercept/confine.h"

#include <sys/syscall.h>

#include "base/cleanup.h"
#include "sys/allow_filter.h"

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

int fl_monitor_confine(void)
{
  return fl_allow_filter_apply(allowed, FL_COUNT(allowed));
}
