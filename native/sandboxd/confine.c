/* See confine.h. */
#include "sandboxd/confine.h"

#include <errno.h>
#include <flashd/protocol.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "sys/syscalls.h"

/* Beyond what nobody needs. What the policy of instances allows must not stand here: they inherit this (test/native/sandboxd_filter.c). */
static const int denied[] = {
  /* rings are made in templates alone, to pin pages (inject/pin.h), and never entered */
  SYS_io_uring_enter,
  /* placing memory by hand; writing the host's own file systems back */
  SYS_remap_file_pages, SYS_get_mempolicy, SYS_sync, SYS_syncfs,
};

/* Instances are told ENOSYS by their own filter, and templates start programs that may ask which tables there are. */
const struct fl_deny_filter fl_sandboxd_filter = { .denied = denied, .count = FL_COUNT(denied), .namespaces = true, .foreign = SECCOMP_RET_ERRNO | ENOSYS };

int fl_confine_memory(struct fl_error *err)
{
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fl_fail_errno(err, "prctl");
  return fl_forbid_core_dumps() < 0 ? fl_fail_errno(err, "setrlimit") : 0;
}

/* A function may ask for more than whoever has started us was given. */
static void raise_descriptors(void)
{
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < FL_DESCRIPTORS_MAX)
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ limit.rlim_cur, FL_DESCRIPTORS_MAX });
}

/* The limit of whoever makes a user namespace holds for all that are in those it has made, together. Each sandbox has one of its own (sandbox/plan.c). */
static void share_no_limits(void)
{
  struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

  if (setrlimit(RLIMIT_SIGPENDING, &limit) < 0 && getrlimit(RLIMIT_SIGPENDING, &limit) == 0)
    setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){ limit.rlim_max, limit.rlim_max });
}

int fl_confine(struct fl_error *err)
{
  int r = fl_confine_memory(err);

  if (r < 0)
    return r;
  share_no_limits();
  raise_descriptors();
  /* Under systemd it has its capabilities by way of ambient ones: what it starts gets them only where that is said. */
  if ((r = fl_capabilities_inherit(0)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "capset", NULL);
  r = fl_deny_filter_apply(&fl_sandboxd_filter, err);
  return r < 0 ? r : 0;
}
