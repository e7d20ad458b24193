/*
 * The builder: a process of its own that makes sandboxes and removes (or cleans) their cgroups, so that neither ever stalls a cold start. It lives in the stage
 * (sandbox/base.h) and obeys one socket, SOCK_SEQPACKET; several builds are under way at once, because most of each happens in the init.
 *
 *   sandboxd                     builder
 *      │ ◀──────────────── READY     │  once; or FAILED_START, and it exits
 *      │ BUILD slot ───────────────▶ │
 *      │ ◀── BUILT slot + fds        │  or FAILED_BUILD: something of it may stand, order its removal
 *      │ REMOVE slot [+ scratch_fd]▶ │  with its writable layer when that holds many files: see emptier.h
 *      │ ◀─────────────── REMOVED    │  FAILED_REMOVE once when it takes long; it goes on trying
 *      │ DROP slot ────────────────▶ │  the cgroup that was kept for it goes
 */
#ifndef FLASHD_BUILDER_H
#define FLASHD_BUILDER_H
#include "flashd/error.h"
#include "sandbox/network.h"
#include "sandbox/parts.h"

enum {
  FL_BUILDS_MAX = 4,                             /* under way at once */
  FL_BUILD_MAX_MS = 5000,
  FL_CGROUPS_KEPT_MAX = 64,                      /* idle ones */
  FL_REMOVE_SLOW_MS = 10000                      /* from when on a removal that does not succeed is worth a message */
};

enum fl_order_op { FL_ORDER_BUILD = 1, FL_ORDER_REMOVE = 2, FL_ORDER_DROP = 3 };
struct fl_order {
  uint32_t op, slot;
  struct fl_limits limits;                       /* REMOVE: what its cgroup has now */
  struct fl_network_want network;
};

enum fl_news_op { FL_NEWS_READY = 1, FL_NEWS_FAILED_START, FL_NEWS_BUILT, FL_NEWS_FAILED_BUILD, FL_NEWS_REMOVED, FL_NEWS_FAILED_REMOVE };
struct fl_news {                                 /* BUILT: descriptors init_pidfd, scratch_fd, of the light class root_fd and ruleset_fd, then the cgroup's join_fds or its into_fd; pid: of the init */
  uint32_t op, slot, kept;                       /* REMOVED: whether its cgroup stands, clean, for the slot's next sandbox */
  int32_t pid;
  uint32_t joins;
  struct fl_error error;
};

/* Forks it. *ret_socket_fd: nonblocking. The first news is READY or FAILED_START. */
int fl_builder_start(const struct fl_parts_config *config, int *ret_socket_fd, pid_t *ret_pid, struct fl_error *err);
#endif
