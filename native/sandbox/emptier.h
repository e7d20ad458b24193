/*
 * The emptier: a process that removes what a function has left in its writable layer, where that is many files, a little at a time. The kernel frees an inode in two callbacks of RCU, by itself and without letting anybody else run on that
 * processor until thousands are done (Documentation/RCU/Design); and whoever gives up the last reference to the layer removes them all in one go. So it waits for a grace period after
 * each FL_EMPTIER_BATCH, in which the callbacks of these run. It has the function's user and nothing else, and works in the sandbox's cgroup, at the expense of the function. When it fails, is killed or has no time left,
 * the kernel removes what is left at once.
 */
#ifndef FLASHD_EMPTIER_H
#define FLASHD_EMPTIER_H
#include <stdbool.h>
#include <sys/types.h>

#include "cgroup/cgroup.h"
#include "flashd/error.h"

enum {
  FL_EMPTIER_FILES_MIN = 512,                    /* fewer may go at once */
  FL_EMPTIER_BATCH = 128,
  FL_EMPTIER_PAUSE_US = 4000,                    /* where the kernel does not wait for a grace period on request (nohz_full) */
  FL_EMPTIER_MAX_MS = 5000,
  FL_EMPTIERS_MAX = 64,                          /* at once, and of a FL_EMPTIERS_SHARE-th of all slots: beyond that, layers go as they are */
  FL_EMPTIERS_SHARE = 4
};

/* scratch_fd: the root of a writable layer, O_PATH. */
bool fl_emptier_needed(int scratch_fd);
/* A child of the caller, which reaps it. cgroup, scratch_fd: still the caller's, who closes them. */
int fl_emptier_start(int scratch_fd, const struct fl_cgroup *cgroup, uid_t owner, struct fl_error *err);
#endif
