/*
 * A stand-in for the parasite: turns a plain fork into an instance of a sandbox by the same calls in the same order, then runs a probe in it.
 * The probe's exit status is the child's; a check that fails inside prints and exits 1.
 */
#ifndef FLASHD_TEST_INSTANCE_H
#define FLASHD_TEST_INSTANCE_H
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"
#include "flashd/seal.h"
#include "sandbox/parts.h"
#include "sys/syscalls.h"

/* waitpid of one child, telling parts about every other. */
static inline int instance_wait(struct fl_parts *parts, pid_t pid)
{
  for (;;) {
    int status;
    pid_t got = waitpid(-1, &status, 0);

    CHECK(got > 0);
    if (got == pid)
      return status;
    fl_parts_reaped(parts, got, status);
  }
}

static inline int instance_bundle(const char *path)
{
  struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
  int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

  CHECK(tree >= 0);
  CHECK(mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0);
  return tree;
}

__attribute__((noreturn)) static inline void instance_become(const struct fl_sandbox *sandbox, int bundle, const struct sock_fprog *filter, void (*probe)(void *),
                                                             void *argument)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;
  const struct sock_fprog seal_program = { .len = FL_COUNT(seal), .filter = (struct sock_filter *)seal };

  CHECK(setsid() > 0);
  CHECK(setns(sandbox->init_pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP) == 0);
  CHECK(move_mount(bundle, "", AT_FDCWD, "/function", MOVE_MOUNT_F_EMPTY_PATH) == 0);
  CHECK(chdir("/function") == 0);
  for (uint32_t index = 0; index < sandbox->cgroup.joins; index++)
    CHECK(write(sandbox->cgroup.join_fds[index], "0", 1) == 1);
  CHECK(fl_close_from(3) == 0);
  CHECK(fl_capabilities_bound_none() == 0);
  CHECK(setgroups(0, NULL) == 0 && setresgid(FL_INNER_UID, FL_INNER_UID, FL_INNER_UID) == 0 && setresuid(FL_INNER_UID, FL_INNER_UID, FL_INNER_UID) == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
  CHECK(fl_capabilities_drop() == 0);
  CHECK(fl_set_no_new_privs() == 0);
  if (filter) {
    CHECK(fl_seccomp_filter(filter, 0) == 0);
    CHECK(fl_seccomp_filter(&seal_program, 0) == 0);
  }
  probe(argument);
  _exit(0);
}

struct instance { int bundle; const struct sock_fprog *filter; void (*probe)(void *); void *argument; };

static inline void instance_of(const struct fl_sandbox *sandbox, const void *instance)
{
  const struct instance *of = instance;

  instance_become(sandbox, of->bundle, of->filter, of->probe, of->argument);
}

/* As a template does it: a fork of ours enters the sandbox's pid namespace, and clones a child of ours into its cgroup, which becomes what it is to be. Returns the child's pid. */
static inline pid_t instance_clone(const struct fl_sandbox *sandbox, void (*become)(const struct fl_sandbox *, const void *), const void *argument)
{
  pid_t template, pid = 0;
  int result[2];

  CHECK(pipe2(result, O_CLOEXEC) == 0);
  template = fork();
  if (template == 0) {
    struct clone_args args = { .flags = CLONE_PARENT };

    CHECK(setns(sandbox->init_pidfd, CLONE_NEWPID) == 0);
    if (sandbox->cgroup.into_fd >= 0) {
      args.flags |= CLONE_INTO_CGROUP;
      args.cgroup = (uint64_t)sandbox->cgroup.into_fd;
    }
    pid = fl_clone3(&args);
    CHECK(pid >= 0);
    if (pid == 0) {
      become(sandbox, argument);
      _exit(1);
    }
    CHECK(write(result[1], &pid, sizeof pid) == sizeof pid);
    _exit(0);
  }
  CHECK(template > 0);
  close(result[1]);
  CHECK(read(result[0], &pid, sizeof pid) == sizeof pid);
  close(result[0]);
  CHECK(waitpid(template, NULL, 0) == template);
  return pid;
}

/* Returns the wait status of the probe. */
static inline int instance_run(struct fl_parts *parts, const struct fl_sandbox *sandbox, bool filtered, void (*probe)(void *), void *argument)
{
  struct sock_fprog filter = fl_parts_filter(parts);
  struct instance instance = { .bundle = instance_bundle("/usr/share"), .filter = filtered ? &filter : NULL, .probe = probe, .argument = argument };
  pid_t pid = instance_clone(sandbox, instance_of, &instance);

  close(instance.bundle);
  return instance_wait(parts, pid);
}

/* Or the test ends. */
static inline struct fl_parts *parts_open(const struct fl_parts_config *config)
{
  struct fl_error error = { 0 };
  struct fl_parts *parts;

  if (fl_parts_open(config, &parts, &error) < 0) {
    fprintf(stderr, "open: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
    exit(1);
  }
  return parts;
}

/* Nothing is being built or taken down. */
static inline bool parts_settled(struct fl_parts *parts)
{
  struct fl_parts_levels levels;

  fl_parts_levels(parts, &levels);
  return levels.ending == 0 && levels.building == 0;
}

/* Reaps and dispatches until done() or the time is over. */
static inline bool parts_pump(struct fl_parts *parts, bool (*done)(struct fl_parts *), int max_ms)
{
  struct timespec start, now;

  clock_gettime(CLOCK_MONOTONIC, &start);
  for (;;) {
    struct pollfd polled = { .fd = fl_parts_fd(parts), .events = POLLIN };
    struct fl_error error = { 0 };
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
      fl_parts_reaped(parts, pid, status);
    if (poll(&polled, 1, 1) > 0 && fl_parts_dispatch(parts, &error) < 0)
      fprintf(stderr, "dispatch: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
    if (done(parts))
      return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 > max_ms)
      return false;
  }
}
#endif
