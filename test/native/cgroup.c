/*
 * cgroups through their one interface: whichever version this machine offers, and version 2's mechanics by hand where it does not. As root.
 */
#include "cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cgroup/host.h"
#include "check.h"
#include "sys/syscalls.h"

static const struct fl_limits limits = { .memory_bytes = 64 << 20, .tmp_bytes = 1 << 20, .tmp_inodes = 32, .pids = 8, .cpu_millis = 500, .descriptors = 64 };
static char name[64];

static pid_t born_in(const struct fl_cgroup *cgroup)
{
  struct clone_args args = { .exit_signal = SIGCHLD };
  int ready[2];
  char byte;
  pid_t pid;

  CHECK(pipe(ready) == 0);
  if (cgroup->into_fd >= 0) {
    args.flags = CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup->into_fd;
  }
  pid = fl_clone3(&args);
  CHECK(pid >= 0);
  if (pid == 0) {
    for (uint32_t index = 0; index < cgroup->joins; index++)
      if (write(cgroup->join_fds[index], "0", 1) != 1)
        _exit(1);
    if (write(ready[1], "x", 1) != 1)
      _exit(1);
    for (;;)
      pause();
  }
  CHECK(read(ready[0], &byte, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  return pid;
}

static uint64_t number_of(const struct fl_cgroup_host *host, uint32_t controller, const char *path)
{
  uint64_t value = 0;

  for (uint32_t index = 0; index < host->trees; index++)
    if (host->tree[index].controllers & controller)
      CHECK(fl_file_read_number(host->tree[index].named_fd, path, &value) == 0);
  return value;
}

static void limits_arrive(struct fl_cgroup_host *host)
{
  struct fl_limits more = limits, less = limits;
  struct fl_cgroup cgroup;
  struct fl_error error = { 0 };
  bool v2 = fl_cgroup_host_features(host) & FL_FEATURE_CGROUP_V2;

  if (fl_cgroup_host_features(host) & FL_FEATURE_CGROUP_PIDS) {
    uint64_t ids;

    CHECK(fl_file_read_number(AT_FDCWD, "/proc/sys/kernel/pid_max", &ids) == 0 && number_of(host, FL_CONTROLLER_PIDS, "pids.max") < ids);
  }
  CHECK(fl_cgroup_create(host, 3, &limits, &cgroup, &error) == 0);
  CHECK(v2 ? cgroup.into_fd >= 0 && cgroup.joins == 0 : cgroup.into_fd == -1 && cgroup.joins == host->trees);
  more.memory_bytes = 128 << 20;
  more.pids = 20;
  less.memory_bytes = 32 << 20;
  CHECK(fl_cgroup_limit(host, &cgroup, &limits, &more, &error) == 0);
  if (!v2) {
    CHECK(number_of(host, FL_CONTROLLER_MEMORY, "s3/memory.limit_in_bytes") == more.memory_bytes);
    CHECK(number_of(host, FL_CONTROLLER_MEMORY, "s3/memory.memsw.limit_in_bytes") == more.memory_bytes);
    CHECK(number_of(host, FL_CONTROLLER_PIDS, "s3/pids.max") == 21);
    CHECK(number_of(host, FL_CONTROLLER_CPU, "s3/cpu.cfs_quota_us") == 50000);
  }
  CHECK(fl_cgroup_limit(host, &cgroup, &more, &less, &error) == 0);
  CHECK(fl_cgroup_yield(host, &cgroup, true, &error) == 0);
  if (!v2)
    CHECK(number_of(host, FL_CONTROLLER_CPU, "s3/cpu.idle") == 1);
  CHECK(fl_cgroup_yield(host, &cgroup, false, &error) == 0);
  if (!v2)
    CHECK(number_of(host, FL_CONTROLLER_CPU, "s3/cpu.idle") == 0);
  if (!v2) {
    CHECK(number_of(host, FL_CONTROLLER_MEMORY, "s3/memory.limit_in_bytes") == less.memory_bytes);
    CHECK(number_of(host, FL_CONTROLLER_MEMORY, "s3/memory.memsw.limit_in_bytes") == less.memory_bytes);
  }
  fl_cgroup_close(&cgroup);
  CHECK(fl_cgroup_remove(host, 3, &error) == 0);
  CHECK(fl_cgroup_remove(host, 3, &error) == 0);                 /* gone already: fine */
}

static void members_count_and_keep_it_alive(struct fl_cgroup_host *host)
{
  struct fl_cgroup cgroup;
  struct fl_cgroup_report report;
  uint64_t bytes = 0, cpu_us = 0;
  pid_t pid;

  CHECK(fl_cgroup_create(host, 0, &limits, &cgroup, NULL) == 0);
  pid = born_in(&cgroup);
  CHECK(fl_cgroup_remove(host, 0, NULL) == -EBUSY);
  CHECK(fl_cgroup_memory(host, &cgroup, &bytes) == 0);
  CHECK(fl_cgroup_report(host, &cgroup, &report) == 0 && report.oom_kills == 0 && report.pids_refused == 0);
  if (fl_cgroup_host_features(host) & FL_FEATURE_CGROUP_MEMORY)
    CHECK(bytes > 0);
  for (int turn = 0; turn < 500 && cpu_us == 0; turn++) {        /* until it waits */
    usleep(1000);
    CHECK(fl_cgroup_cpu(host, &cgroup, &cpu_us) == 0);
  }
  CHECK(cpu_us > 0);
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
  fl_cgroup_close(&cgroup);
  CHECK(cgroup.joins == 0 && cgroup.into_fd == -1);
  for (int turn = 0; turn < 500 && fl_cgroup_remove(host, 0, NULL) == -EBUSY; turn++)
    usleep(1000);
  CHECK(fl_cgroup_remove(host, 0, NULL) == 0);
}

static bool is_at(pid_t pid, const cpu_set_t *processors)
{
  cpu_set_t now;

  return sched_getaffinity(pid, sizeof now, &now) == 0 && CPU_EQUAL(&now, processors);
}

/* All that live in it, and nobody else. */
static void members_are_placed(struct fl_cgroup_host *host)
{
  struct fl_cgroup cgroup, neighbour;
  cpu_set_t before, one;
  pid_t pids[3], other;
  int first = 0;

  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  while (!CPU_ISSET(first, &before))
    first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  CHECK(fl_cgroup_create(host, 4, &limits, &cgroup, NULL) == 0 && fl_cgroup_create(host, 5, &limits, &neighbour, NULL) == 0);
  CHECK(fl_cgroup_place(host, &cgroup, &one) == 0);                /* nobody */
  for (size_t index = 0; index < FL_COUNT(pids); index++)
    pids[index] = born_in(&cgroup);
  other = born_in(&neighbour);
  CHECK(fl_cgroup_place(host, &cgroup, &one) == 0);
  for (size_t index = 0; index < FL_COUNT(pids); index++)
    CHECK(is_at(pids[index], &one));
  CHECK(is_at(other, &before) && is_at(0, &before));
  CHECK(fl_cgroup_place(host, &cgroup, &before) == 0);
  for (size_t index = 0; index < FL_COUNT(pids); index++)
    CHECK(is_at(pids[index], &before) && kill(pids[index], SIGKILL) == 0 && waitpid(pids[index], NULL, 0) == pids[index]);
  CHECK(kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other);
  fl_cgroup_close(&cgroup);
  fl_cgroup_close(&neighbour);
  for (uint32_t slot = 4; slot < 6; slot++)
    for (int turn = 0; turn < 500 && fl_cgroup_remove(host, slot, NULL) == -EBUSY; turn++)
      usleep(1000);
  CHECK(fl_cgroup_place(host, &(struct fl_cgroup){ .slot = 4 }, &one) == -ENOENT);
}

static void a_sweep_kills_and_removes(struct fl_cgroup_host *host)
{
  struct fl_cgroup cgroup;
  pid_t pids[3];
  int status;

  for (uint32_t slot = 0; slot < 3; slot++) {
    CHECK(fl_cgroup_create(host, slot, &limits, &cgroup, NULL) == 0);
    pids[slot] = born_in(&cgroup);
    fl_cgroup_close(&cgroup);
  }
  for (uint32_t index = 0; index < host->trees; index++)
    CHECK(mkdirat(host->tree[index].named_fd, "s1/deeper", 0755) == 0);
  signal(SIGCHLD, SIG_IGN);                                      /* the dead generation's orphans are reaped by someone else */
  CHECK(fl_cgroup_host_sweep(host, NULL) == 0);
  signal(SIGCHLD, SIG_DFL);
  for (uint32_t slot = 0; slot < 3; slot++)
    CHECK(waitpid(pids[slot], &status, 0) < 0 && errno == ECHILD);
  CHECK(fl_cgroup_host_sweep(host, NULL) == 0);                  /* nothing left */
  CHECK(faccessat(host->tree[0].named_fd, "s1", F_OK, 0) < 0);
}

static void exercise(struct fl_cgroup_host *host)
{
  limits_arrive(host);
  members_count_and_keep_it_alive(host);
  members_are_placed(host);
  a_sweep_kills_and_removes(host);
}

/* What fl_cgroup_host_open does when it chooses version 2. */
static struct fl_cgroup_host *open_v2(void)
{
  struct fl_cgroup_host *host = calloc(1, sizeof *host);

  CHECK(host);
  for (int index = 0; index < FL_CGROUP_TREES_MAX; index++)
    host->tree[index].base_fd = host->tree[index].named_fd = -1;
  strcpy(host->name, name);
  if (fl_cgroup_v2_find(host, NULL) < 0) {
    free(host);
    return NULL;
  }
  CHECK(mkdirat(host->tree[0].base_fd, name, 0755) == 0);
  host->tree[0].named_fd = openat(host->tree[0].base_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  CHECK(host->tree[0].named_fd >= 0);
  CHECK(fl_cgroup_v2_delegate(host, NULL) == 0);
  return host;
}

int main(void)
{
  struct fl_cgroup_host *host;
  struct fl_error error = { 0 };
  struct stat status;
  bool v2;

  snprintf(name, sizeof name, "flashd-cgroup-%d", getpid());
  CHECK(fl_cgroup_host_open("", &host, NULL) < 0 && fl_cgroup_host_open("a/b", &host, NULL) < 0 && fl_cgroup_host_open("..", &host, &error) < 0);
  CHECK(error.code == FL_ERR_BAD_LIMIT);
  CHECK(fl_cgroup_host_open(name, &host, NULL) == 0);
  v2 = fl_cgroup_host_features(host) & FL_FEATURE_CGROUP_V2;
  exercise(host);
  fl_cgroup_host_close(host);
  if (!v2 && (host = open_v2())) {
    exercise(host);
    CHECK(fstat(host->tree[0].named_fd, &status) == 0 && status.st_nlink > 0);
    fl_cgroup_host_close(host);
  }
  return 0;
}
