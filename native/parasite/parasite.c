/*
 * The parasite's main loop in a frozen template: take a fork request, clone, report. Everything the child does is in child.c.
 * Freestanding: runs inside an unmodified runtime, on a stack of its own, without touching the runtime's memory.
 */
#include "parasite/parasite.h"

#include "parasite/child.h"
#include "parasite/image.h"
#include "parasite/sys.h"

static long clone_child(const struct fl_fork *fork, const int32_t *fds)
{
  int32_t pid = fork->pid;
  struct fl_clone_args args = {.flags = FL_CLONE_PARENT, .set_tid = (uint64_t)&pid, .set_tid_size = 1};

  if (fork->cgroup_fd != FL_NO_FD) {
    args.flags |= FL_CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)fds[fork->cgroup_fd];
  }
  if (fork->home) {
    args.flags |= FL_CLONE_NEWNS;
    args.set_tid_size = 0;
    args.set_tid = 0;
  }
  long result = fl_syscall(FL_NR_setns, fds[FL_FD_INIT], FL_CLONE_NEWPID, 0, 0, 0);
  if (result >= 0)
    result = fl_syscall(FL_NR_clone3, (long)&args, sizeof args, 0, 0, 0);
  for (uint32_t tries = 1; result == -FL_EEXIST && fork->plan.isolation == FL_ISOLATION_LIGHT && tries < FL_SHARED_PIDS; tries++) {
    pid++;
    result = fl_syscall(FL_NR_clone3, (long)&args, sizeof args, 0, 0, 0);
  }
  return result;
}

/* A handler is the function's code, and a function's template has its handlers. Who is forked has its own mask again from its frame, when it leaves; until then a fault is its end. Single steps (tracee.c) let SIGTRAP in again. */
static void block_signals(void)
{
  static const uint64_t all = ~0ull;

  fl_syscall(FL_NR_rt_sigprocmask, FL_SIG_SETMASK, (long)&all, 0, sizeof all, 0);
}

/* A template of a function: nothing of the function's has executed in it, only its data is here. Ends with sandboxd, as every template does. */
static void become_template(struct fl_parasite *self, const struct fl_fork *fork, const int32_t *fds)
{
  long result = fl_syscall(FL_NR_prctl, FL_PR_SET_PDEATHSIG, FL_SIGKILL, 0, 0, 0);

  block_signals();
  if (result >= 0)
    result = fl_image_apply(self, fork, fds);
  if (result < 0)
    fl_syscall(FL_NR_exit_group, (int)-result, 0, 0, 0, 0);
}

/*
 * What is a template's comes in small pages, in it and in every fork, whatever the machine's policy: it is shared page by page, and khugepaged would copy it into huge ones of each process's own. What a fork maps
 * itself goes by the policy (child.c). -ENOMEM says that not all addresses are mapped, -EINVAL that the kernel has no huge pages.
 */
static void keep_small(void)
{
  fl_syscall(FL_NR_madvise, 0, (long)FL_ADDRESSES_END, FL_MADV_NOHUGEPAGE, 0, 0);
}

void fl_parasite_main(struct fl_parasite *self)
{
  struct fl_fork fork;
  struct fl_fork_report report = {.kind = FL_FORK_READY};
  uint64_t begun_ns;
  int32_t fds[FL_PLAN_FDS_MAX];

  block_signals();
  for (;;) {
    if (report.kind == FL_FORK_READY)
      keep_small();
    if (fl_report(self, &report) < 0)
      break;
    long count = fl_receive(self->socket, &fork, sizeof fork, fds);
    if (count == -FL_EPIPE)
      break;
    report = (struct fl_fork_report){.request = fork.request, .kind = FL_FORK_FAILED};
    begun_ns = fl_now();
    if (count < 0) {
      report.error = (int32_t)-count;
      continue;
    }
    long pid = clone_child(&fork, fds);
    if (pid == 0 && fork.home) {
      become_template(self, &fork, fds);
      report = (struct fl_fork_report){.kind = FL_FORK_READY};
      continue;
    }
    if (pid == 0)
      fl_child_run(self, &fork, fds, begun_ns);
    for (long i = 0; i < count; i++)
      fl_syscall(FL_NR_close, fds[i], 0, 0, 0, 0);
    if (pid < 0) {
      report.error = (int32_t)-pid;
    } else {
      report.kind = FL_FORKED;
      report.pid = (int32_t)pid;
    }
  }
  fl_syscall(FL_NR_exit_group, 0, 0, 0, 0, 0);
}
