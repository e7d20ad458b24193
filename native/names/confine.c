/* The forwarder's own filter: the calls that answering takes. All memory is there before it, and every socket but the connections that sandboxes make. */
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "names/forwarder.h"
#include "sys/allow_filter.h"

static const int allowed[] = {
  SYS_epoll_wait, SYS_epoll_pwait, SYS_recvfrom, SYS_sendto, SYS_connect, SYS_recvmsg, SYS_sendmsg, SYS_clock_gettime, SYS_getrandom,
  SYS_accept4, SYS_epoll_ctl, SYS_close,
  SYS_futex, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_exit_group,
};

int fl_forwarder_confine(void)
{
  return fl_allow_filter_apply(allowed, FL_COUNT(allowed));
}
