/*
 * cgroups, v1 (hybrid) and v2 behind one interface, chosen once at start.
 *
 *   v1: <hierarchy>/<own path>/<name>/s<slot> in each of memory, pids, cpu (cpuacct beside it when it is a hierarchy of its own)
 *   v2: <mount>/<own path>/<name>/s<slot>; sandboxd moves itself (and every process beside it in a delegated unit) to a leaf first, because a v2
 *       cgroup that hands controllers down may hold no processes
 *
 * How a child joins, and why: on v1 the single-threaded child writes "0" to `tasks` through a descriptor opened beforehand, the one form that takes no
 * global lock (any other pid, or cgroup.procs, waits 6–20 ms for an RCU grace period when writes are sparse). On v2 it is cloned into the cgroup (CLONE_INTO_CGROUP).
 * A cgroup that was killed with cgroup.kill is never used again. On v1 one is used again once it is proven clean: no task in it, next to no memory charged to it, its limits
 * and its peak as at first. Making and removing one in three hierarchies is otherwise a sixth of a cold start's work. Its counters go on: their owner subtracts.
 */
#ifndef FLASHD_CGROUP_H
#define FLASHD_CGROUP_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  FL_CGROUP_JOINS_MAX = 4,
  FL_CGROUP_CLEAN_BYTES = 2 << 20               /* what may still be charged: the kernel keeps up to 64 pages per processor in stock */
};

struct fl_cgroup {
  uint32_t slot;
  int join_fds[FL_CGROUP_JOINS_MAX];           /* v1: `tasks` of each hierarchy, write "0" into each; unused ones -1 */
  uint32_t joins;
  int into_fd;                                 /* v2: the directory, for CLONE_INTO_CGROUP; else -1 */
};

struct fl_cgroup_report { uint32_t oom_kills, pids_refused; uint64_t memory_peak_bytes, cpu_us; };

struct fl_cgroup_host;                         /* the back end chosen, and the directories opened */

int fl_cgroup_host_open(const char *name, struct fl_cgroup_host **ret_host, struct fl_error *err);
void fl_cgroup_host_close(struct fl_cgroup_host *host);                   /* removes the named directory too when it is empty */
uint32_t fl_cgroup_host_features(const struct fl_cgroup_host *host);      /* enum fl_feature, the CGROUP bits */
/* Kills and removes everything below the named directory: a dead generation's. Bounded in time (5 s), then fails naming what stays. */
int fl_cgroup_host_sweep(struct fl_cgroup_host *host, struct fl_error *err);

int fl_cgroup_create(struct fl_cgroup_host *host, uint32_t slot, const struct fl_limits *limits, struct fl_cgroup *ret_cgroup, struct fl_error *err);
/* The descriptors of one that fl_cgroup_reset has kept. */
int fl_cgroup_open(struct fl_cgroup_host *host, uint32_t slot, struct fl_cgroup *ret_cgroup, struct fl_error *err);
/* As created, with `limits` instead of `old`; -EBUSY while something lives in it, another -errno when it must be removed. */
int fl_cgroup_reset(struct fl_cgroup_host *host, uint32_t slot, const struct fl_limits *old, const struct fl_limits *limits);
int fl_cgroup_limit(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, const struct fl_limits *old, const struct fl_limits *limits, struct fl_error *err);
/* Wherever a process of another of our cgroups wants to run, those of this one do not. As created, it does not yield. */
int fl_cgroup_yield(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, bool yields, struct fl_error *err);
/* Everything in it runs on these processors alone, and what it forks; what it forks meanwhile may be missed where it forks without end. -EPERM: some of it is not the caller's. */
int fl_cgroup_place(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, const cpu_set_t *processors);
/* How many forks were refused in it so far; as with all its counters, since it was made, whoever had it. */
int fl_cgroup_refused(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_forks);
int fl_cgroup_memory(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_bytes);
/* Since it was made, whoever had it; on hosts that do not count it, of its living processes. */
int fl_cgroup_cpu(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, uint64_t *ret_us);
int fl_cgroup_report(struct fl_cgroup_host *host, const struct fl_cgroup *cgroup, struct fl_cgroup_report *ret_report);
/* Everything that is listed in it now: what forks meanwhile may escape, so until fl_cgroup_remove succeeds. */
void fl_cgroup_kill(struct fl_cgroup_host *host, uint32_t slot);
int fl_cgroup_remove(struct fl_cgroup_host *host, uint32_t slot, struct fl_error *err);   /* -EBUSY while something lives in it */
void fl_cgroup_close(struct fl_cgroup *cgroup);                           /* closes descriptors only; safe on a half-made one */
#endif
