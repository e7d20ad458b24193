/*
 * Raw system calls: see syscalls.h.
 */
#include "sys/syscalls.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int checked(long result)
{
  return result < 0 ? -errno : (int)result;
}

int fl_clone3(const struct clone_args *args)
{
  return checked(syscall(SYS_clone3, args, sizeof *args));
}

int fl_pivot_root(const char *new_root, const char *put_old)
{
  return checked(syscall(SYS_pivot_root, new_root, put_old));
}

int fl_set_no_new_privs(void)
{
  return checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int fl_seccomp_filter(const struct sock_fprog *program, unsigned flags)
{
  return checked(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program));
}

int fl_forbid_core_dumps(void)
{
  struct rlimit limit;

  if (setrlimit(RLIMIT_CORE, &(struct rlimit){1, 1}) == 0)
    return 0;
  return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0 ? 0 : -errno;
}

int fl_capabilities_bound_none(void)
{
  /* One past the kernel's last capability is EINVAL, whichever kernel it is. */
  for (unsigned long capability = 0; capability < 64; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      if (errno == EINVAL && capability > CAP_WAKE_ALARM)
        break;
      return -errno;
    }
  }
  return checked(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
}

int fl_capabilities_drop(void)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2];

  memset(none, 0, sizeof none);
  return checked(syscall(SYS_capset, &header, none));
}

int fl_capabilities_inherit(uint64_t inheritable)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

  if (syscall(SYS_capget, &header, data) < 0)
    return -errno;
  for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++)
    data[half].inheritable = data[half].permitted & (uint32_t)(inheritable >> 32 * half);
  return checked(syscall(SYS_capset, &header, data));
}

int fl_capabilities_keep(uint64_t kept)
{
  bool root = geteuid() == 0;
  int result = checked(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));

  if (result == 0)
    result = fl_capabilities_inherit(root ? 0 : kept);
  for (unsigned long capability = 0; result == 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    if (!(kept >> capability & 1))
      result = checked(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    else if (!root && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0 && errno != EPERM)   /* EPERM: the caller does not have it */
      result = -errno;
  }
  return result;
}

int fl_close_from(unsigned first)
{
  return checked(syscall(SYS_close_range, first, ~0U, 0));
}

int fl_close_others(const int *kept, size_t count)
{
  for (unsigned from = STDERR_FILENO + 1;;) {
    unsigned next = ~0U;
    int result;

    for (size_t index = 0; index < count; index++)
      if (kept[index] >= 0 && (unsigned)kept[index] >= from && (unsigned)kept[index] < next)
        next = (unsigned)kept[index];
    if (next == ~0U)
      return fl_close_from(from);
    result = next > from ? checked(syscall(SYS_close_range, from, next - 1, 0)) : 0;
    if (result < 0)
      return result;
    from = next + 1;
  }
}

void fl_signals_reset(void)
{
  struct sigaction action = { .sa_handler = SIG_DFL };
  sigset_t none;

  for (int number = 1; number < NSIG; number++)
    sigaction(number, &action, NULL);            /* SIGKILL, SIGSTOP and glibc's own two refuse: nothing to reset there */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

int fl_die_with_parent(pid_t parent)
{
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
    return -errno;
  return getppid() == parent ? 0 : -ESRCH;       /* it may have ended before the line above */
}

int fl_pidfd_kill(int pidfd)
{
  return checked(pidfd_send_signal(pidfd, SIGKILL, NULL, 0));
}
