/*
 * Chooses the cgroup version, owns the named directory in every hierarchy and what is the same for both versions: names, removal, and
 * the sweep of what a dead generation left behind. See cgroup.h.
 */
#include "cgroup/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { RESERVED_PIDS = 8192, SWEEP_MAX_MS = 5000, SWEEP_PAUSE_MS = 5, LEAF_SIZE = 16, PLACE_PASSES_MAX = 4 };

static const char *leaf_name(uint32_t slot, char buffer[LEAF_SIZE])
{
  snprintf(buffer, LEAF_SIZE, "s%u", slot);
  return buffer;
}

static int open_named(struct fl_cgroup_host *host, struct fl_error *err)
{
  for (uint32_t index = 0; index < host->trees; index++) {
    struct fl_cgroup_tree *tree = &host->tree[index];

    if (mkdirat(tree->base_fd, host->name, 0755) < 0 && errno != EEXIST)
      return fl_fail(err, FL_ERR_SYSTEM, errno, "mkdir cgroup", "%s/%s", tree->path, host->name);
    tree->named_fd = openat(tree->base_fd, host->name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (tree->named_fd < 0)
      return fl_fail(err, FL_ERR_SYSTEM, errno, "open cgroup", "%s/%s", tree->path, host->name);
  }
  return 0;
}

/* Sandboxes together leave the host as many processes: the smaller one of 8,192 and half of what there can be. */
static int limit_together(const struct fl_cgroup_host *host, struct fl_error *err)
{
  uint64_t ids, threads;
  int result = fl_file_read_number(AT_FDCWD, "/proc/sys/kernel/pid_max", &ids);

  if (result == 0)
    result = fl_file_read_number(AT_FDCWD, "/proc/sys/kernel/threads-max", &threads);
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "read the number of processes", NULL);
  uint64_t most = ids < threads ? ids : threads, kept = most / 2 < RESERVED_PIDS ? most / 2 : RESERVED_PIDS;

  for (uint32_t index = 0; index < host->trees; index++)
    if (host->tree[index].controllers & FL_CONTROLLER_PIDS && (result = fl_file_write_number(host->tree[index].named_fd, "pids.max", most - kept)) < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "limit cgroup", "pids.max of %.100s", host->name);
  return 0;
}

/* Version 2 with controllers, else version 1, else version 2 without (namespaces and kill still work; the features tell what is missing). */
static int choose(struct fl_cgroup_host *host, struct fl_error *err)
{
  struct fl_error ignored = { 0 };
  int v2 = fl_cgroup_v2_find(host, &ignored);
  int v1;

  if (!v2 && host->controllers)
    return 0;
  if (!v2)
    close(host->tree[0].base_fd);
  host->trees = 0;
  v1 = fl_cgroup_v1_find(host, err);
  if (v1 != -ENOENT)
    return v1;
  if (v2)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENOENT, "cgroup", "no cgroup hierarchy is mounted");
  return fl_cgroup_v2_find(host, err);
}

int fl_cgroup_host_open(const char *name, struct fl_cgroup_host **ret_host, struct fl_error *err)
{
  struct fl_cgroup_host *host = calloc(1, sizeof *host);
  int result;

  if (!host)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", NULL);
  for (int index = 0; index < FL_CGROUP_TREES_MAX; index++)
    host->tree[index].base_fd = host->tree[index].named_fd = -1;
  if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= sizeof host->name) {
    result = fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "cgroup name", "%.100s", name);
  } else {
    strcpy(host->name, name);
    result = choose(host, err);
    if (!result)
      result = open_named(host, err);
    if (!result && host->ops == &fl_cgroup_v2)
      result = fl_cgroup_v2_delegate(host, err);
    if (!result)
      result = limit_together(host, err);
  }
  if (result < 0) {
    fl_cgroup_host_close(host);
    return result;
  }
  *ret_host = host;
  return 0;
}

void fl_cgroup_host_close(struct fl_cgroup_host *host)
{
  if (!host)
    return;
  for (uint32_t index = 0; index < host->trees; index++) {
    struct fl_cgroup_tree *tree = &host->tree[index];

    if (tree->named_fd >= 0)
      unlinkat(tree->base_fd, host->name, AT_REMOVEDIR);        /* stays when something still stands in it: the next generation sweeps it */
    fl_close(&tree->named_fd);
    fl_close(&tree->base_fd);
  }
  free(host);
}

uint32_t fl_cgroup_host_features(const struct fl_cgroup_host *host)
{
  return host->ops->features | (host->controllers & FL_CONTROLLER_MEMORY ? FL_FEATURE_CGROUP_MEMORY : 0) |
         (host->controllers & FL_CONTROLLER_PIDS ? FL_FEATURE_CGROUP_PIDS : 0) | (host->controllers & FL_CONTROLLER_CPU ? FL_FEATURE_CGROUP_CPU : 0);
}

/* One attempt, depth first. Returns 0 when nothing is left below, -EBUSY when something dies still, or another errno. */
static int sweep_once(struct fl_cgroup_host *host, int cgroup_fd, int depth, char *ret_stuck, size_t size)
{
  fl_autoclosedir DIR *entries = NULL;
  struct dirent *entry;
  int copy, result = 0;

  if (depth > FL_CGROUP_DEPTH_MAX)
    return -ELOOP;
  copy = openat(cgroup_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  if (copy < 0)
    return -errno;
  entries = fdopendir(copy);
  if (!entries) {
    close(copy);
    return -ENOMEM;
  }
  while ((entry = readdir(entries))) {
    fl_autoclose int child = -1;

    if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
      continue;
    child = openat(cgroup_fd, entry->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (child < 0)
      continue;                                                  /* removed by itself */
    host->ops->kill(child);
    sweep_once(host, child, depth + 1, ret_stuck, size);
    if (unlinkat(cgroup_fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
      result = -errno;
      snprintf(ret_stuck, size, "%.60s", entry->d_name);
    }
  }
  return result;
}

static int64_t now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int fl_cgroup_host_sweep(struct fl_cgroup_host *host, struct fl_error *err)
{
  const struct timespec pause = { .tv_nsec = SWEEP_PAUSE_MS * 1000000L };
  int64_t deadline = now_ms() + SWEEP_MAX_MS;

  for (uint32_t index = 0; index < host->trees; index++) {
    struct fl_cgroup_tree *tree = &host->tree[index];
    char stuck[64] = "";
    int result;

    while ((result = sweep_once(host, tree->named_fd, 0, stuck, sizeof stuck)) < 0) {
      if (now_ms() >= deadline)
        return fl_fail(err, FL_ERR_SYSTEM, -result, "sweep cgroups", "%.60s: %.40s stays", host->name, stuck);
      nanosleep(&pause, NULL);
    }
  }
  return 0;
}

int fl_cgroup_create(struct fl_cgroup_host *host, uint32_t slot, const struct fl_limits *limits, struct fl_cgroup *ret_cgroup, struct fl_error *err)
{
  char leaf[LEAF_SIZE];
  int result;

  leaf_name(slot, leaf);
  for (uint32_t index = 0; index < host->trees; index++) {
    int named_fd = host->tree[index].named_fd;

    if (mkdirat(named_fd, leaf, 0755) == 0)
      continue;
    /* One that was killed must not be used again, so never adopt what stands there: remove it, or fail. */
    if (errno != EEXIST || unlinkat(named_fd, leaf, AT_REMOVEDIR) < 0 || mkdirat(named_fd, leaf, 0755) < 0) {
      result = fl_fail(err, FL_ERR_SYSTEM, errno, "mkdir cgroup", "%.80s/%s", host->name, leaf);
      fl_cgroup_remove(host, slot, NULL);
      return result;
    }
  }
  result = host->ops->create(host, leaf, limits, err);
  if (result == 0)
    result = fl_cgroup_open(host, slot, ret_cgroup, err);
  if (result < 0)
    fl_cgroup_remove(host, slot, NULL);
  return result;
}

int fl_cgroup_open(struct fl_cgroup_host *host, uint32_t slot, struct fl_cgroup *ret_cgroup, struct fl_error *err)
{
  char leaf[LEAF_SIZE];
  int result;

  *ret_cgroup = (struct fl_cgroup){ .slot = slot, .into_fd = -1 };
  for (int index = 0; index < FL_CGROUP_JOINS_MAX; index++)
    ret_cgroup->join_fds[index] = -1;
  result = host->ops->open(host, leaf_name(slot, leaf), ret_cgroup, err);
  if (result < 0)
    fl_cgroup_close(ret_cgroup);
  return result;
}

int fl_cgroup_reset(struct fl_cgroup_host *host, uint32_t slot, const struct fl_limits *old, const struct fl_limits *limits)
{
  char leaf[LEAF_SIZE];

  return host->ops->reset(host, leaf_name(slot, leaf), old, limits);
}

int fl_cgroup_limit(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, const struct fl_limits *old, const struct fl_limits *limits,
                    struct fl_error *err)
{
  char leaf[LEAF_SIZE];

  return host->ops->limit(host, leaf_name(cgroup->slot, leaf), old, limits, err);
}

int fl_cgroup_yield(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, bool yields, struct fl_error *err)
{
  char leaf[LEAF_SIZE];

  return host->controllers & FL_CONTROLLER_CPU ? host->ops->yield(host, leaf_name(cgroup->slot, leaf), yields, err) : 0;
}

/* How many threads were not yet there. Opened anew each time: on version 1, who reads on gets the list of the first time. */
static int place_threads(int named_fd, const char *path, const cpu_set_t *processors)
{
  int fd = openat(named_fd, path, O_RDONLY | O_CLOEXEC), moved = 0;
  fl_autofclose FILE *threads = fd < 0 ? NULL : fdopen(fd, "re");
  cpu_set_t before;

  if (!threads) {
    fl_close(&fd);
    return -errno;
  }
  for (int thread; fscanf(threads, "%d", &thread) == 1;) {
    if (sched_getaffinity(thread, sizeof before, &before) == 0 && CPU_EQUAL(&before, processors))
      continue;
    if (sched_setaffinity(thread, sizeof *processors, processors) == 0)
      moved++;
    else if (errno != ESRCH)
      return -errno;
  }
  return moved;
}

int fl_cgroup_place(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, const cpu_set_t *processors)
{
  char path[LEAF_SIZE + 32], leaf[LEAF_SIZE];
  int moved = 1;

  snprintf(path, sizeof path, "%s/%s", leaf_name(cgroup->slot, leaf), host->ops->threads);
  for (int pass = 0; pass < PLACE_PASSES_MAX && moved > 0; pass++)
    moved = place_threads(host->tree[0].named_fd, path, processors);
  return moved < 0 ? moved : 0;
}

int fl_cgroup_memory(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_bytes)
{
  char leaf[LEAF_SIZE];

  *ret_bytes = 0;
  return host->controllers & FL_CONTROLLER_MEMORY ? host->ops->memory(host, leaf_name(cgroup->slot, leaf), ret_bytes) : 0;
}

int fl_cgroup_cpu(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_us)
{
  char leaf[LEAF_SIZE];

  return host->ops->cpu(host, leaf_name(cgroup->slot, leaf), ret_us);
}

int fl_cgroup_refused(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_forks)
{
  char leaf[LEAF_SIZE];

  return host->ops->refused(host, leaf_name(cgroup->slot, leaf), ret_forks);
}

int fl_cgroup_report(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, struct fl_cgroup_report *ret_report)
{
  char leaf[LEAF_SIZE];

  *ret_report = (struct fl_cgroup_report){ 0 };
  host->ops->report(host, leaf_name(cgroup->slot, leaf), ret_report);
  return 0;
}

void fl_cgroup_kill(struct fl_cgroup_host *host, uint32_t slot)
{
  char leaf[LEAF_SIZE];

  leaf_name(slot, leaf);
  for (uint32_t index = 0; index < host->trees; index++) {
    fl_autoclose int fd = openat(host->tree[index].named_fd, leaf, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
      host->ops->kill(fd);
  }
}

int fl_cgroup_remove(struct fl_cgroup_host *host, uint32_t slot, struct fl_error *err)
{
  char leaf[LEAF_SIZE];
  int result = 0;

  leaf_name(slot, leaf);
  for (uint32_t index = 0; index < host->trees; index++) {
    if (unlinkat(host->tree[index].named_fd, leaf, AT_REMOVEDIR) == 0 || errno == ENOENT)
      continue;
    if (errno == EBUSY)
      return -EBUSY;                                             /* expected and retried: no error to keep */
    result = fl_fail(err, FL_ERR_SYSTEM, errno, "rmdir cgroup", "%.80s/%s", host->name, leaf);
  }
  return result;
}

void fl_cgroup_close(struct fl_cgroup *cgroup)
{
  for (int index = 0; index < FL_CGROUP_JOINS_MAX; index++)
    fl_close(&cgroup->join_fds[index]);
  fl_close(&cgroup->into_fd);
  cgroup->joins = 0;
}
