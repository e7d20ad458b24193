/*
 * The inside of parts: which state every slot is in, and what moves it there. Private to parts.c (the interface) and pool.c (the states).
 *
 *   FREE ─order─▶ BUILDING ─BUILT─▶ READY ─take─▶ TAKEN ─end─▶ ENDING ─REMOVED─▶ FREE
 *                     └─FAILED, or the builder died ────────────▲ (from READY too: its init died, or it is one too many)
 */
#ifndef FLASHD_POOL_H
#define FLASHD_POOL_H
#include "sandbox/network.h"
#include "sandbox/parts.h"

enum {
  FL_POOL_REFILL_AFTER_MS = 5,                   /* a take is part of a cold start: the builder starts when that is probably over, and no other has come */
  FL_POOL_BURST_MAX_MS = 25,                     /* unless they come for so long already: then it works beside them … */
  FL_POOL_BURST_GAP_MS = 50,                     /* … until none has come for so long */
  FL_POOL_MISSED_MS = 20,                        /* so long after somebody found the pool empty, what is built for those who wait goes before what is removed, … */
  FL_POOL_PUT_OFF_MAX = 128,                     /* … unless there is so much of that */
  FL_POOL_DEMAND_HALVES_MS = 2000,
  FL_POOL_SHRINK_EVERY_MS = 1000,                /* by one of each kind */
  FL_POOL_DROPS_MAX = 16,                        /* kept cgroups given up in one go */
  FL_POOL_RETRY_MS = 200,                        /* after a failed build, or an order that did not fit the socket */
  FL_POOL_RESTART_FIRST_MS = 50,                 /* pauses before a dead builder is restarted: doubled from the first to the last */
  FL_POOL_RESTART_LAST_MS = 5000,
  FL_POOL_NEWS_MAX = 64,                         /* read in one dispatch */
  FL_POOL_NEEDED_FLOOR = 2                       /* with egress, and of the light class, kept ready at least once that was needed */
};

enum fl_slot_state { FL_SLOT_FREE = 0, FL_SLOT_BUILDING, FL_SLOT_READY, FL_SLOT_TAKEN, FL_SLOT_ENDING };

struct fl_slot {
  uint8_t state;                                 /* enum fl_slot_state */
  bool named;                                    /* its policy has host names: there is more to take back */
  bool on_demand;                                /* someone was waiting when it arrived */
  bool removal_sent;
  struct fl_network_want network;                /* what it was built with */
  uint32_t losses;                               /* of the rules of egress, when its building was ordered */
  struct fl_limits limits;                       /* what its cgroup has now */
  struct fl_cgroup_report before;                /* what its cgroup's counters said before this sandbox */
  pid_t pid;                                     /* of the init until it is reaped, else 0 */
  int init_pidfd, scratch_fd, root_fd, ruleset_fd;  /* ours while READY, the taker's afterwards */
  struct fl_cgroup cgroup;                       /* likewise */
};

/* Sandboxes with one kind of network: how many are ready, on their way, wanted. */
struct fl_pool_kind {
  uint32_t *ready, ready_count;                  /* slots, the newest last: its memory is the warmest */
  uint32_t building, floor;
  uint32_t demand;                               /* takes of late: halves every FL_POOL_DEMAND_HALVES_MS */
  uint32_t target;                               /* how many should be ready: rises with demand at once, and falls by one each FL_POOL_SHRINK_EVERY_MS */
  int64_t demand_at, build_after;
  bool waiting;                                  /* a take found nothing since the last arrival */
  struct fl_error failure;                       /* of a build that a take waits for: what the take is told */
};

struct fl_parts {
  struct fl_parts_config config;
  char *name;
  struct fl_cgroup_host *host;
  struct sock_fprog filter;
  int poll_fd, timer_fd, socket_fd, stage_fd;
  pid_t builder;
  int64_t timer_at, restart_at, shrink_at, restart_pause;
  int64_t taken_at, burst_at, missed_at;         /* the newest take; the first one of those that came one after the other; when one last found nothing */
  struct fl_pool_kind kind[FL_NETWORK_KINDS];
  struct fl_egress egress;
  uint32_t losses;                               /* how often its rules were lost */
  int own_mounts;                                /* the mount namespace that we live in, once there is a sandbox of the light class; else -1 */
  pid_t room;                                    /* the light class's init, until it is reaped, else 0 */
  int room_pidfd;
  uint32_t building, ending, cursor;             /* building: of all kinds */
  uint64_t built, on_demand;
  uint32_t *kept, kept_count;                    /* free slots with a clean cgroup, built first */
  struct fl_slot slot[];
};

int64_t fl_pool_now(void);                       /* CLOCK_MONOTONIC, milliseconds */
/* Has fl_parts_fd become readable at that time. An earlier wish stands; 0 is none. */
void fl_pool_wake_at(struct fl_parts *parts, int64_t at);
int fl_pool_watch(struct fl_parts *parts, int fd);
int fl_pool_start_builder(struct fl_parts *parts, struct fl_error *err);
void fl_pool_builder_died(struct fl_parts *parts);
/* Everything the builder has said. The first error is returned, all are obeyed. */
int fl_pool_read_news(struct fl_parts *parts, struct fl_error *err);
bool fl_pool_order_build(struct fl_parts *parts, uint32_t network);
/* A sandbox of that kind was taken: more may be wanted, and what can wait does so, since starts want the processors. */
void fl_pool_taken(struct fl_parts *parts, struct fl_pool_kind *kind);
/* Orders what is missing and not being built yet. */
void fl_pool_fill(struct fl_parts *parts);
/* What can wait, whenever the owner dispatches: restarting the builder, orders that did not fit, filling, shrinking. */
void fl_pool_tend(struct fl_parts *parts, struct fl_error *err);
/* Kills, closes what the slot holds, and has its cgroup removed. */
void fl_pool_end(struct fl_parts *parts, uint32_t slot);
/* The room of the light class has died, or must: so do all that are in it. */
void fl_pool_end_room(struct fl_parts *parts);
/* Removal orders that could not be sent. */
void fl_pool_order_removals(struct fl_parts *parts);
/* Takes it out of the ready ones; false when it is none. */
bool fl_pool_unready(struct fl_parts *parts, uint32_t slot);
/* Descriptors to -1, without closing them. */
void fl_pool_forget_fds(struct fl_slot *slot);
#endif
