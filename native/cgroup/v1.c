/*
 * cgroup version 1: one directory in each of the memory, pids and cpu hierarchies. cpuacct counts where it shares cpu's hierarchy; one of its own would cost every
 * instance two joins for a number that wait4(2) knows almost as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cgroup/host.h"

/* What the buffers of its TCP sockets may come to, beside its memory. */
enum { TCP_PART = 8 };

static const struct { const char *name; uint32_t bit; } controllers[] = {
  { "memory", FL_CONTROLLER_MEMORY }, { "pids", FL_CONTROLLER_PIDS }, { "cpu", FL_CONTROLLER_CPU }, { "cpuacct", FL_CONTROLLER_CPUACCT },
};

int fl_cgroup_v1_find(struct fl_cgroup_host *host, struct fl_error *err)
{
  host->ops = &fl_cgroup_v1;
  host->controllers = 0;
  for (size_t index = 0; index < FL_COUNT(controllers); index++) {
    char point[PATH_MAX], root[PATH_MAX], path[PATH_MAX];
    struct fl_cgroup_tree *tree = &host->tree[host->trees];
    uint32_t known = 0;

    if (fl_cgroup_mount("cgroup", controllers[index].name, point, root) < 0 || fl_cgroup_self(controllers[index].name, path) < 0)
      continue;                                                  /* not mounted: the features will say so */
    tree->base_fd = fl_cgroup_open_own(point, root, path, tree->path);
    if (tree->base_fd < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -tree->base_fd, "open cgroup", "%.100s", tree->path);
    while (known < host->trees && strcmp(host->tree[known].path, tree->path))
      known++;
    if (known == host->trees && controllers[index].bit == FL_CONTROLLER_CPUACCT) {
      fl_close(&tree->base_fd);
      continue;
    }
    if (known < host->trees)
      fl_close(&tree->base_fd);                                  /* cpu and cpuacct share a hierarchy */
    else
      host->trees++;
    host->tree[known].controllers |= controllers[index].bit;
    host->controllers |= controllers[index].bit;
  }
  return host->trees ? 0 : -ENOENT;
}

/* The named directory of the hierarchy with this controller, or -1. */
static int named(const struct fl_cgroup_host *host, uint32_t controller)
{
  for (uint32_t index = 0; index < host->trees; index++)
    if (host->tree[index].controllers & controller)
      return host->tree[index].named_fd;
  return -1;
}

static int set(int named_fd, const char *leaf, const char *file, int64_t value, struct fl_error *err)
{
  char path[64], text[24];
  int result;

  snprintf(path, sizeof path, "%s/%s", leaf, file);
  snprintf(text, sizeof text, "%" PRId64, value);
  result = fl_file_write(named_fd, path, text);
  return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, "limit cgroup", "%s = %s", path, text) : 0;
}

static int get(const struct fl_cgroup_host *host, uint32_t controller, const char *leaf, const char *file, const char *key, uint64_t *ret_value)
{
  char path[64];
  int named_fd = named(host, controller);

  snprintf(path, sizeof path, "%s/%s", leaf, file);
  if (named_fd < 0)
    return -ENOENT;
  return key ? fl_file_read_key(named_fd, path, key, ret_value) : fl_file_read_number(named_fd, path, ret_value);
}

/* memory + swap may never be below memory: which of the two goes first depends on the direction. */
static int set_memory(int fd, const char *leaf, bool raise, uint64_t bytes, struct fl_error *err)
{
  static const char *const plain = "memory.limit_in_bytes", *const with_swap = "memory.memsw.limit_in_bytes";
  char path[64];
  bool swap_counted;
  int result;

  snprintf(path, sizeof path, "%s/%s", leaf, with_swap);
  swap_counted = faccessat(fd, path, F_OK, 0) == 0;
  if (!swap_counted) {
    result = set(fd, leaf, plain, (int64_t)bytes, err);
    return result < 0 ? result : set(fd, leaf, "memory.swappiness", 0, err);
  }
  result = set(fd, leaf, raise ? with_swap : plain, (int64_t)bytes, err);
  return result < 0 ? result : set(fd, leaf, raise ? plain : with_swap, (int64_t)bytes, err);
}

/* In version 1 they are counted apart, and only where there is a limit (Documentation/admin-guide/cgroup-v1/memory.rst, 2.7); in version 2 they are memory as any other. */
static int limit_tcp(int fd, const char *leaf, uint64_t memory_bytes, struct fl_error *err)
{
  static const char *const buffers = "memory.kmem.tcp.limit_in_bytes";
  char path[64];

  snprintf(path, sizeof path, "%s/%s", leaf, buffers);
  return faccessat(fd, path, F_OK, 0) < 0 ? 0 : set(fd, leaf, buffers, (int64_t)(memory_bytes / TCP_PART), err);
}

static int limit(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *old, const struct fl_limits *limits, struct fl_error *err)
{
  int memory = named(host, FL_CONTROLLER_MEMORY), pids = named(host, FL_CONTROLLER_PIDS), cpu = named(host, FL_CONTROLLER_CPU);
  int result = 0;

  /* A new cgroup is unlimited, so its first limits are a lowering. */
  if (memory >= 0 && (!old || old->memory_bytes != limits->memory_bytes))
    result = set_memory(memory, leaf, old && limits->memory_bytes > old->memory_bytes, limits->memory_bytes, err);
  if (result == 0 && memory >= 0 && (!old || old->memory_bytes != limits->memory_bytes))
    result = limit_tcp(memory, leaf, limits->memory_bytes, err);
  if (result == 0 && pids >= 0 && (!old || old->pids != limits->pids))
    result = set(pids, leaf, "pids.max", (int64_t)limits->pids + FL_CGROUP_INIT_PIDS, err);
  if (result == 0 && cpu >= 0 && !old)
    result = set(cpu, leaf, "cpu.cfs_period_us", FL_CGROUP_CPU_PERIOD_US, err);
  if (result == 0 && cpu >= 0 && (!old || old->cpu_millis != limits->cpu_millis))
    result = set(cpu, leaf, "cpu.cfs_quota_us", (int64_t)limits->cpu_millis * (FL_CGROUP_CPU_PERIOD_US / 1000), err);
  return result;
}

static int yield(struct fl_cgroup_host *host, const char *leaf, bool yields, struct fl_error *err)
{
  return set(named(host, FL_CONTROLLER_CPU), leaf, "cpu.idle", yields, err);
}

static int create(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *limits, struct fl_error *err)
{
  return limit(host, leaf, NULL, limits, err);
}

static int open_tasks(struct fl_cgroup_host *host, const char *leaf, struct fl_cgroup *ret_cgroup, struct fl_error *err)
{
  for (uint32_t index = 0; index < host->trees; index++) {
    char path[64];

    snprintf(path, sizeof path, "%s/tasks", leaf);
    ret_cgroup->join_fds[index] = openat(host->tree[index].named_fd, path, O_WRONLY | O_CLOEXEC);
    if (ret_cgroup->join_fds[index] < 0)
      return fl_fail_errno(err, "open tasks");
    ret_cgroup->joins++;
  }
  return 0;
}

/* Every process is in all hierarchies, so that pids knows of all. */
static int reset(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *old, const struct fl_limits *limits)
{
  uint64_t tasks, bytes;
  int result = get(host, FL_CONTROLLER_PIDS, leaf, "pids.current", NULL, &tasks);

  if (result < 0 || tasks > 0)
    return result < 0 ? result : -EBUSY;
  result = get(host, FL_CONTROLLER_MEMORY, leaf, "memory.usage_in_bytes", NULL, &bytes);
  if (result < 0 || bytes > FL_CGROUP_CLEAN_BYTES)
    return result < 0 ? result : -ENOTEMPTY;
  result = limit(host, leaf, old, limits, NULL);
  if (result == 0)
    result = set(named(host, FL_CONTROLLER_MEMORY), leaf, "memory.max_usage_in_bytes", 0, NULL);
  if (result == 0 && host->controllers & FL_CONTROLLER_CPU)
    result = yield(host, leaf, false, NULL);
  if (result == 0 && host->controllers & FL_CONTROLLER_CPUACCT)
    result = set(named(host, FL_CONTROLLER_CPUACCT), leaf, "cpuacct.usage", 0, NULL);
  return result;
}

static int memory(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_bytes)
{
  return get(host, FL_CONTROLLER_MEMORY, leaf, "memory.usage_in_bytes", NULL, ret_bytes);
}

static int counted_us(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_us)
{
  uint64_t ns;
  int result = get(host, FL_CONTROLLER_CPUACCT, leaf, "cpuacct.usage", NULL, &ns);

  if (result == 0)
    *ret_us = ns / 1000;
  return result;
}

/* By the clocks of the processes that there are: what ended ones took is not in it. */
static int living_us(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_us)
{
  fl_autofclose FILE *processes = NULL;
  char path[64];
  int fd;

  snprintf(path, sizeof path, "%s/cgroup.procs", leaf);
  fd = openat(host->tree[0].named_fd, path, O_RDONLY | O_CLOEXEC);
  processes = fd < 0 ? NULL : fdopen(fd, "r");
  if (!processes) {
    fl_close(&fd);
    return -errno;
  }
  *ret_us = 0;
  for (int process; fscanf(processes, "%d", &process) == 1;) {
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(process, &clock) == 0 && clock_gettime(clock, &used) == 0)
      *ret_us += (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
  }
  return 0;
}

static int cpu(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_us)
{
  return host->controllers & FL_CONTROLLER_CPUACCT ? counted_us(host, leaf, ret_us) : living_us(host, leaf, ret_us);
}

static int refused(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_forks)
{
  return get(host, FL_CONTROLLER_PIDS, leaf, "pids.events", "max", ret_forks);
}

/* A number that cannot be read stays 0: a report is what is known, not a promise. */
static void report(struct fl_cgroup_host *host, const char *leaf, struct fl_cgroup_report *ret_report)
{
  uint64_t value;

  if (!get(host, FL_CONTROLLER_MEMORY, leaf, "memory.oom_control", "oom_kill", &value))
    ret_report->oom_kills = (uint32_t)value;
  if (!refused(host, leaf, &value))
    ret_report->pids_refused = (uint32_t)value;
  if (!get(host, FL_CONTROLLER_MEMORY, leaf, "memory.max_usage_in_bytes", NULL, &value))
    ret_report->memory_peak_bytes = value;
  counted_us(host, leaf, &ret_report->cpu_us);
}

/* There is no cgroup.kill: every listed process is killed, and the sweep comes back until none is left. */
static int kill_processes(int cgroup_fd)
{
  fl_autofclose FILE *file = NULL;
  int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC), pid;

  if (fd < 0)
    return -errno;
  file = fdopen(fd, "r");
  if (!file) {
    close(fd);
    return -ENOMEM;
  }
  while (fscanf(file, "%d", &pid) == 1)
    if (pid > 1 && pid != getpid())                              /* 0: a process of a pid namespace we cannot see */
      kill(pid, SIGKILL);
  return 0;
}

const struct fl_cgroup_ops fl_cgroup_v1 = {
  .features = 0, .create = create, .open = open_tasks, .reset = reset, .limit = limit, .yield = yield, .threads = "tasks", .memory = memory, .cpu = cpu, .refused = refused, .report = report, .kill = kill_processes,
};
