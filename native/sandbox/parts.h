/*
 * Parts: everything of a sandbox that is made ahead of need, and the pool that keeps it.
 *
 * A sandbox is: one cgroup, one network namespace (loopback up), one root filesystem (read-only base, private writable layer) and the
 * remaining namespaces (user, pid, mount, ipc, uts, cgroup), held by a tiny init that is pid 1 inside. They are built by a separate builder
 * process, so that neither a slow clone(CLONE_NEWNET) nor an rmdir of a cgroup ever stalls a cold start. The init is a child of sandboxd
 * (CLONE_PARENT) and dies with it (PDEATHSIG); when it dies the kernel kills whatever runs in its pid namespace.
 *
 *   builder:  build ─▶ pool ─▶ take ─▶ (an instance lives in it) ─▶ end ─▶ remove
 *
 * A sandbox is used once and never handed to a second instance; its cgroup and its network namespace may serve the next one when they are proven clean.
 */
#ifndef FLASHD_PARTS_H
#define FLASHD_PARTS_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cgroup/cgroup.h"
#include "network/egress.h"
#include "sandbox/pack.h"

enum { FL_INNER_UID = 1000, FL_UIDS_PER_SLOT = 65536 };

struct fl_sandbox {
  uint32_t slot;                /* unique among the living; its host ids start at uid_base + slot * FL_UIDS_PER_SLOT */
  uint32_t network;             /* enum fl_network */
  bool pooled;                  /* came from the pool, rather than on demand */
  pid_t init_pid;               /* host pid */
  int init_pidfd;               /* setns() target; SIGKILL through it ends the sandbox, but of the light class: there it is the room's, see light.h */
  int scratch_fd;               /* O_PATH, the root of the writable layer's tmpfs: resized by limits */
  int root_fd, ruleset_fd;      /* of the light class; else -1 */
  struct fl_cgroup cgroup;
};

struct fl_parts_config {
  const char *cgroup_name;      /* one path component, e.g. "flashd-1a2b3c4d": ours alone; what stands in it at start is a dead generation's */
  uint32_t uid_base;            /* multiple of 65536 */
  uint32_t slots;               /* how many sandboxes may live at once, pooled ones included */
  uint32_t pool_floor;          /* kept ready at least */
  uint32_t pool_ceiling;        /* kept ready at most, of each kind of network; sized in between by recent demand */
  struct fl_prefix egress_range;                 /* where sandboxes with egress get their addresses from */
  uint32_t nameserver;          /* theirs; 0: the host's */
  struct fl_limits defaults;    /* what a pooled sandbox is built with */
  const struct fl_pack *pack;   /* runtimes' files: they stand in the base under /opt/flashd/<runtime>/ */
  int binary_fd;                /* flashd's own binary, above 4, for runtimes whose program it is; -1: there are none */
};

struct fl_parts;

/* Removes what a dead generation left (processes, cgroups), builds the base root, compiles the filter, starts the builder and the filling. */
int fl_parts_open(const struct fl_parts_config *config, struct fl_parts **ret_parts, struct fl_error *err);
/* Ends every sandbox and the builder, removes cgroups and mounts. NULL is fine. */
void fl_parts_close(struct fl_parts *parts);

/* Readable when the builder has something to say; then call dispatch, which never blocks. */
int fl_parts_fd(const struct fl_parts *parts);
int fl_parts_dispatch(struct fl_parts *parts, struct fl_error *err);

/* FAST PATH. Takes a ready sandbox with that kind of network, built with the default limits. With an empty pool: -EAGAIN, a build has been ordered, and the caller asks again after a
 * dispatch (pooled = false then). FL_ERR_FULL when no slot is free, FL_ERR_NETWORK when there can be no such network. */
int fl_parts_take(struct fl_parts *parts, uint32_t network, struct fl_sandbox *ret_sandbox, struct fl_error *err);
/* FAST PATH. What a sandbox with egress may reach; once per sandbox, and until then it reaches nothing. */
int fl_parts_grant(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_egress_policy *policy, struct fl_error *err);
/* So that names can be granted: egress is open, and the forwarder's address may ask the name server. */
int fl_parts_names_open(struct fl_parts *parts, struct fl_error *err);
/* Where the addresses of sandboxes with egress begin, once it is open. */
uint32_t fl_parts_egress_first(const struct fl_parts *parts);
/* network/egress.h; of a sandbox whose policy has names. */
int fl_parts_open_targets(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_egress_target *target, uint32_t count, uint32_t seconds, struct fl_error *err);
/* FAST PATH. Of the light class: mounts the bundle; all others do that themselves. */
int fl_parts_bundle(struct fl_parts *parts, const struct fl_sandbox *sandbox, int bundle, struct fl_error *err);
/* FAST PATH. Applies limits where they differ from the defaults; once per sandbox. */
int fl_parts_limit(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_limits *limits, struct fl_error *err);

/* FAST PATH. Whether it runs only where no other sandbox wants to. Until it is told, it does not yield. */
int fl_parts_yield(struct fl_parts *parts, const struct fl_sandbox *sandbox, bool yields, struct fl_error *err);
/* FAST PATH. As fl_cgroup_place. */
int fl_parts_place(struct fl_parts *parts, const struct fl_sandbox *sandbox, const cpu_set_t *processors);

/* Forks that were refused to it, counted from anywhere. */
int fl_parts_refused(const struct fl_parts *parts, const struct fl_sandbox *sandbox, uint64_t *ret_forks);
/* Of the processor it has so much for now, in thousandths, instead of what its limits say; they are the function's. */
int fl_parts_hold(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_limits *limits, uint32_t cpu_millis, struct fl_error *err);

/* True when every network with egress is cut, because somebody has removed our rules from this host: whoever lives in one is to be ended. Asked after each dispatch. */
bool fl_parts_egress_lost(struct fl_parts *parts);

/* What its cgroup has counted for this sandbox. Once, when its instance has ended: whatever comes after counts for the next one. */
void fl_parts_report(struct fl_parts *parts, const struct fl_sandbox *sandbox, struct fl_cgroup_report *ret_report);

/* Kills everything in the sandbox (of the light class in the background: its caller kills its own child first) and has its cgroup removed in the background. All descriptors in *sandbox are closed, it is dead afterwards.
 * The caller (who is the parent) goes on reaping with waitpid(-1): its instance first, the init after; tell fl_parts_reaped each unknown pid. */
void fl_parts_end(struct fl_parts *parts, struct fl_sandbox *sandbox);
/* Whether the pid is the builder's or the room's init's. */
bool fl_parts_runs(const struct fl_parts *parts, pid_t pid);
/* True if the pid was a sandbox's init, the room's or the builder. A pooled sandbox whose init died is dropped and replaced; a dead builder is restarted. */
bool fl_parts_reaped(struct fl_parts *parts, pid_t pid, int wait_status);

struct fl_parts_levels { uint32_t pooled, building, ending; uint64_t built, on_demand; };
void fl_parts_levels(const struct fl_parts *parts, struct fl_parts_levels *ret_levels);

/* For booting a template: moves the calling, single-threaded process into a fresh mount namespace whose root is the base (read-only, /dev, a /proc of the
 * current pid namespace, a small private /tmp), and fresh, empty net, ipc and uts namespaces. */
int fl_parts_enter_base(const struct fl_parts *parts, struct fl_error *err);
/* The instances' seccomp allow-list plus what the parasite needs (setns, clone3, move_mount …, closed by the seal in the child). Valid until close. */
struct sock_fprog fl_parts_filter(const struct fl_parts *parts);
struct fl_cgroup_host *fl_parts_cgroup_host(const struct fl_parts *parts);
#endif
