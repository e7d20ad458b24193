/*
 * cgroup version 2: one hierarchy. A cgroup that hands controllers to its children may hold no process itself, so everything in our own one
 * (under a delegated systemd unit: the supervisor, the gateway and we) moves to a leaf beside the named directory first.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cgroup/host.h"

enum { MOVE_ATTEMPTS = 8 };                                      /* a process may fork while its siblings are moved */
/* Of flashd's own processes, beside 100 for all sandboxes together: whoever waits for an answer waits for the gateway first. */
#define OWN_WEIGHT "1000"

#define LEAF "flashd.main"

static const struct { const char *name; uint32_t bit; } controllers[] = {
  { "memory", FL_CONTROLLER_MEMORY }, { "pids", FL_CONTROLLER_PIDS }, { "cpu", FL_CONTROLLER_CPU },
};

static uint32_t read_controllers(int dir_fd, const char *path)
{
  char text[512], *at = text, *word;
  uint32_t found = 0;

  if (fl_file_read(dir_fd, path, text, sizeof text) < 0)
    return 0;
  while ((word = strsep(&at, " \n")))
    for (size_t index = 0; index < FL_COUNT(controllers); index++)
      if (!strcmp(word, controllers[index].name))
        found |= controllers[index].bit;
  return found;
}

/* systemd marks what it leaves to us. Anything else may hold a user's shell, whose processes are not ours to move. */
static bool delegated(int fd)
{
  char value[2];

  return (fgetxattr(fd, "trusted.delegate", value, sizeof value) == 1 || fgetxattr(fd, "user.delegate", value, sizeof value) == 1) && value[0] == '1';
}

int fl_cgroup_v2_find(struct fl_cgroup_host *host, struct fl_error *err)
{
  char point[PATH_MAX], root[PATH_MAX], path[PATH_MAX], *last;
  struct fl_cgroup_tree *tree = &host->tree[0];
  int result;

  host->ops = &fl_cgroup_v2;
  if (fl_cgroup_mount("cgroup2", NULL, point, root) < 0 || fl_cgroup_self(NULL, path) < 0)
    return -ENOENT;
  last = strrchr(path, '/');
  if (last && !strcmp(last + 1, LEAF))
    last[last == path] = 0;                                      /* a restart: the processes have been moved already */
  result = fl_cgroup_open_own(point, root, path, tree->path);
  if (result >= 0 && !delegated(result)) {
    close(result);
    result = fl_cgroup_open_own(point, "/", "/", tree->path);
  }
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "open cgroup", "%.100s", tree->path);
  tree->base_fd = result;
  host->trees = 1;
  host->controllers = read_controllers(tree->base_fd, "cgroup.controllers");
  return 0;
}

static int move_processes(int base_fd, struct fl_error *err)
{
  if (mkdirat(base_fd, LEAF, 0755) < 0 && errno != EEXIST)
    return fl_fail_errno(err, "mkdir " LEAF);
  for (int attempt = 0; attempt < MOVE_ATTEMPTS; attempt++) {
    char text[16384], *at = text, *pid;
    bool moved = false;
    int result = fl_file_read(base_fd, "cgroup.procs", text, sizeof text);

    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "read cgroup.procs", NULL);
    while ((pid = strsep(&at, "\n")) && *pid) {
      result = fl_file_write(base_fd, LEAF "/cgroup.procs", pid);
      if (result < 0 && result != -ESRCH)
        return fl_fail(err, FL_ERR_SYSTEM, -result, "move to " LEAF, "pid %.16s", pid);
      moved = true;
    }
    if (!moved)
      return 0;
  }
  return fl_fail(err, FL_ERR_SYSTEM, EBUSY, "move to " LEAF, "processes go on appearing");
}

static void enable(int dir_fd, const char *path, uint32_t wanted)
{
  for (size_t index = 0; index < FL_COUNT(controllers); index++) {
    char text[16];

    snprintf(text, sizeof text, "+%s", controllers[index].name);
    if (wanted & controllers[index].bit)
      fl_file_write(dir_fd, path, text);                         /* what did not work is missing from the features */
  }
}

int fl_cgroup_v2_delegate(struct fl_cgroup_host *host, struct fl_error *err)
{
  struct fl_cgroup_tree *tree = &host->tree[0];
  uint32_t available = read_controllers(tree->base_fd, "cgroup.controllers");
  char path[NAME_MAX + 32];

  if (available & ~read_controllers(tree->base_fd, "cgroup.subtree_control")) {
    /* The real root has no cgroup.type, and may hold processes. */
    if (faccessat(tree->base_fd, "cgroup.type", F_OK, 0) == 0) {
      int result = move_processes(tree->base_fd, err);

      if (result < 0)
        return result;
    }
    enable(tree->base_fd, "cgroup.subtree_control", available);
    fl_file_write(tree->base_fd, LEAF "/cpu.weight", OWN_WEIGHT);                     /* not there when we stand in the root itself */
  }
  snprintf(path, sizeof path, "%s/cgroup.subtree_control", host->name);
  enable(tree->base_fd, path, available);
  tree->controllers = host->controllers = read_controllers(tree->base_fd, path);
  return 0;
}

static int set(struct fl_cgroup_host *host, const char *leaf, const char *file, const char *text, struct fl_error *err)
{
  char path[64];
  int result;

  snprintf(path, sizeof path, "%s/%s", leaf, file);
  result = fl_file_write(host->tree[0].named_fd, path, text);
  return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, "limit cgroup", "%s = %s", path, text) : 0;
}

static int limit(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *old, const struct fl_limits *limits, struct fl_error *err)
{
  char text[64];
  int result = 0;

  if (host->controllers & FL_CONTROLLER_MEMORY && (!old || old->memory_bytes != limits->memory_bytes)) {
    snprintf(text, sizeof text, "%" PRIu64, limits->memory_bytes);
    result = set(host, leaf, "memory.max", text, err);
  }
  if (result == 0 && host->controllers & FL_CONTROLLER_PIDS && (!old || old->pids != limits->pids)) {
    snprintf(text, sizeof text, "%" PRIu64, (uint64_t)limits->pids + FL_CGROUP_INIT_PIDS);
    result = set(host, leaf, "pids.max", text, err);
  }
  if (result == 0 && host->controllers & FL_CONTROLLER_CPU && (!old || old->cpu_millis != limits->cpu_millis)) {
    snprintf(text, sizeof text, "%" PRIu64 " %d", (uint64_t)limits->cpu_millis * (FL_CGROUP_CPU_PERIOD_US / 1000), FL_CGROUP_CPU_PERIOD_US);
    result = set(host, leaf, "cpu.max", text, err);
  }
  return result;
}

static int create(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *limits, struct fl_error *err)
{
  int result = limit(host, leaf, NULL, limits, err);

  if (result == 0 && host->controllers & FL_CONTROLLER_MEMORY) {
    struct fl_error absent = { 0 };

    /* A kernel without swap accounting has no such file, and nothing to forbid. */
    result = set(host, leaf, "memory.swap.max", "0", &absent);
    if (result == -ENOENT)
      result = 0;
    else if (result < 0)
      return fl_fail(err, absent.code, absent.errno_value, absent.op, "%s", absent.detail);
  }
  return result;
}

static int yield(struct fl_cgroup_host *host, const char *leaf, bool yields, struct fl_error *err)
{
  return set(host, leaf, "cpu.idle", yields ? "1" : "0", err);
}

static int open_directory(struct fl_cgroup_host *host, const char *leaf, struct fl_cgroup *ret_cgroup, struct fl_error *err)
{
  ret_cgroup->into_fd = openat(host->tree[0].named_fd, leaf, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  return ret_cgroup->into_fd < 0 ? fl_fail_errno(err, "open cgroup") : 0;
}

static int get(const struct fl_cgroup_host *host, const char *leaf, const char *file, const char *key, uint64_t *ret_value)
{
  char path[64];

  snprintf(path, sizeof path, "%s/%s", leaf, file);
  return key ? fl_file_read_key(host->tree[0].named_fd, path, key, ret_value) : fl_file_read_number(host->tree[0].named_fd, path, ret_value);
}

static int memory(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_bytes)
{
  return get(host, leaf, "memory.current", NULL, ret_bytes);
}

static int cpu(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_us)
{
  return get(host, leaf, "cpu.stat", "usage_usec", ret_us);
}

static int refused(struct fl_cgroup_host *host, const char *leaf, uint64_t *ret_forks)
{
  return get(host, leaf, "pids.events", "max", ret_forks);
}

/* A number that cannot be read stays 0: memory.peak, for one, is younger than Linux 6.1's other files on some builds. */
static void report(struct fl_cgroup_host *host, const char *leaf, struct fl_cgroup_report *ret_report)
{
  uint64_t value;

  if (!get(host, leaf, "memory.events", "oom_kill", &value))
    ret_report->oom_kills = (uint32_t)value;
  if (!refused(host, leaf, &value))
    ret_report->pids_refused = (uint32_t)value;
  if (!get(host, leaf, "memory.peak", NULL, &value))
    ret_report->memory_peak_bytes = value;
  cpu(host, leaf, &ret_report->cpu_us);
}

/* memory.peak can be reset only since Linux 6.12, and one hierarchy is cheap to make: always a new one. */
static int reset(struct fl_cgroup_host *host, const char *leaf, const struct fl_limits *old, const struct fl_limits *limits)
{
  (void)host, (void)leaf, (void)old, (void)limits;
  return -EOPNOTSUPP;
}

static int kill_cgroup(int cgroup_fd)
{
  fl_file_write(cgroup_fd, "cgroup.freeze", "0");                /* a frozen one stays frozen after a kill */
  return fl_file_write(cgroup_fd, "cgroup.kill", "1");
}

const struct fl_cgroup_ops fl_cgroup_v2 = {
  .features = FL_FEATURE_CGROUP_V2, .create = create, .open = open_directory, .reset = reset, .limit = limit, .yield = yield, .threads = "cgroup.threads", .memory = memory, .cpu = cpu, .refused = refused, .report = report, .kill = kill_cgroup,
};
