/*
 * The writable layer of an instance: it is emptied, with the rights of whoever owns each thing and no more, so that no name or link of the function's making leads anywhere else. What
 * directories of its own keep beside their entries (rights, times, attributes) goes back or shows in the facts, and so does every byte that somebody still holds.
 */
#ifndef FLASHD_REWIND_SCRATCH_H
#define FLASHD_REWIND_SCRATCH_H
#include <sys/stat.h>

#include "rewind/facts.h"

enum { FL_SCRATCH_PLACES = 4, FL_SCRATCH_DEPTH_MAX = 64 };

struct fl_scratch {
  struct statx place[FL_SCRATCH_PLACES], now[FL_SCRATCH_PLACES];                /* now: after it was put back */
  int fd[FL_SCRATCH_PLACES];
  struct statx_timestamp changed[FL_SCRATCH_PLACES];                            /* as we left it: only the kernel sets this time */
};

/* root: the layer's root directory, O_PATH. */
int fl_scratch_learn(int root, struct fl_scratch *ret, struct fl_error *err);
int fl_scratch_put(int root, struct fl_scratch *scratch, struct fl_error *err);
int fl_scratch_facts(const struct fl_scratch *scratch, struct fl_facts *facts, struct fl_error *err);
#endif
