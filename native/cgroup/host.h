/*
 * What the two back ends share: the host, and the table of operations each of them fills. Private to native/cgroup.
 */
#ifndef FLASHD_CGROUP_HOST_H
#define FLASHD_CGROUP_HOST_H
#include <limits.h>
#include <stdbool.h>

#include "cgroup/cgroup.h"

enum {
  FL_CGROUP_TREES_MAX = 4,                       /* v1: memory, pids, cpu, cpuacct */
  FL_CGROUP_DEPTH_MAX = 8,                       /* how deep a dead generation's cgroups are followed */
  FL_CGROUP_INIT_PIDS = 1,                       /* a sandbox's init counts against pids.max, its function's limit must not feel it */
  FL_CGROUP_CPU_PERIOD_US = 100000
};

enum fl_controller { FL_CONTROLLER_MEMORY = 1, FL_CONTROLLER_PIDS = 2, FL_CONTROLLER_CPU = 4, FL_CONTROLLER_CPUACCT = 8 };

/* One hierarchy: on v2 the only one. */
struct fl_cgroup_tree {
  uint32_t controllers;                          /* enum fl_controller, or-ed */
  int base_fd;                                   /* our own cgroup's directory */
  int named_fd;                                  /* the named directory below it: sandboxes' cgroups are made here */
  char path[PATH_MAX];                           /* of the own cgroup, for messages */
};

struct fl_cgroup_ops {
  uint32_t features;                             /* those that the back end itself stands for */
  int (*create)(struct fl_cgroup_host *, const char *leaf, const struct fl_limits *, struct fl_error *);
  int (*open)(struct fl_cgroup_host *, const char *leaf, struct fl_cgroup *, struct fl_error *);
  int (*reset)(struct fl_cgroup_host *, const char *leaf, const struct fl_limits *old, const struct fl_limits *);
  int (*limit)(struct fl_cgroup_host *, const char *leaf, const struct fl_limits *old, const struct fl_limits *, struct fl_error *);
  int (*yield)(struct fl_cgroup_host *, const char *leaf, bool yields, struct fl_error *);
  const char *threads;                           /* the file that lists those of a cgroup */
  int (*memory)(struct fl_cgroup_host *, const char *leaf, uint64_t *ret_bytes);
  int (*cpu)(struct fl_cgroup_host *, const char *leaf, uint64_t *ret_us);
  int (*refused)(struct fl_cgroup_host *, const char *leaf, uint64_t *ret_forks);
  void (*report)(struct fl_cgroup_host *, const char *leaf, struct fl_cgroup_report *);
  int (*kill)(int cgroup_fd);                    /* everything in this one cgroup, not in its children */
};

struct fl_cgroup_host {
  const struct fl_cgroup_ops *ops;
  uint32_t controllers;                          /* of all trees together */
  char name[NAME_MAX + 1];
  uint32_t trees;
  struct fl_cgroup_tree tree[FL_CGROUP_TREES_MAX];
};

extern const struct fl_cgroup_ops fl_cgroup_v1, fl_cgroup_v2;

/* Find the trees and our own place in them; -ENOENT when the machine has none of this version. */
int fl_cgroup_v1_find(struct fl_cgroup_host *host, struct fl_error *err);
int fl_cgroup_v2_find(struct fl_cgroup_host *host, struct fl_error *err);
/* After the named directory was made: hands the controllers down to it. Sets tree[0].controllers. */
int fl_cgroup_v2_delegate(struct fl_cgroup_host *host, struct fl_error *err);

/* The mount of a cgroup file system: fs_type "cgroup" (with this controller among its options) or "cgroup2" (controller NULL).
 * ret_root: which cgroup the mount's root shows. */
int fl_cgroup_mount(const char *fs_type, const char *controller, char ret_point[PATH_MAX], char ret_root[PATH_MAX]);
/* Our path in the hierarchy of this controller, NULL for v2's. */
int fl_cgroup_self(const char *controller, char ret_path[PATH_MAX]);
/* point + (path without the mount's root), opened. */
int fl_cgroup_open_own(const char *point, const char *root, const char *path, char ret_full[PATH_MAX]);
#endif
