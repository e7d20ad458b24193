/* sandboxd's deny-list: what it refuses, what it lets through for the sandboxes that are built behind it, and that no instance loses by inheriting it. */
#include "sandboxd/confine.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"
#include "sandbox/policy.h"
#include "sys/syscalls.h"

static bool denied(int number)
{
  for (size_t index = 0; index < fl_denied_always_count; index++)
    if (fl_denied_always[index] == number)
      return true;
  for (size_t index = 0; index < fl_sandboxd_filter.count; index++)
    if (fl_sandboxd_filter.denied[index] == number)
      return true;
  return false;
}

/* An instance inherits the list. */
static void nothing_that_instances_may_is_denied(void)
{
  for (size_t group = 0; group < fl_policy_group_count; group++)
    for (size_t index = 0; index < fl_policy_groups[group].count; index++)
      CHECK(!denied(fl_policy_groups[group].numbers[index]));
  for (size_t index = 0; index < fl_policy_rule_count; index++)
    CHECK(!denied(fl_policy_rules[index].number));
}

static void what_is_denied_is_refused(void)
{
  for (int number = 0; number < FL_POLICY_UNKNOWN_FROM; number++)
    if (denied(number))
      CHECK(syscall(number, -1, -1, -1, -1, -1, -1) == -1 && errno == EPERM);
  CHECK(syscall(SYS_bpf, 0, NULL, 0) == -1 && errno == EPERM);
  CHECK(syscall(0x40000000 | SYS_getpid) == -1 && errno == EPERM);
}

static void what_sandboxes_need_works(void)
{
  struct clone_args arguments = { .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS, .exit_signal = SIGCHLD };
  int status;
  pid_t pid = fl_clone3(&arguments);

  if (pid == 0)
    _exit(unshare(CLONE_NEWCGROUP) == 0 ? 7 : 1);
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void confined_child(void)
{
  struct fl_error error = { 0 };
  struct rlimit limit;

  CHECK(fl_confine(&error) == 0);
  CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
  CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max <= 1);
  what_is_denied_is_refused();
  what_sandboxes_need_works();
  _exit(0);
}

int main(void)
{
  int status;
  pid_t pid;

  nothing_that_instances_may_is_denied();
  pid = fork();
  if (pid == 0)
    confined_child();
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return 0;
}
