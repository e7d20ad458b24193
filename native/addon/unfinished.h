/*
 * Unfinished frames: what instances began to send and have not ended. Each is held whole in the gateway's memory, at most one of a channel, so that all together they need a limit: beyond
 * it, who began first and has had time enough is ended. Nobody else waits, since only the next instance that begins asks for room.
 */
#ifndef FLASHD_UNFINISHED_H
#define FLASHD_UNFINISHED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FL_UNFINISHED_FRAMES = 32,                   /* of the largest size, at once */
  FL_UNFINISHED_GRACE_MS = 1000                /* longer than the largest frame takes from an instance that has little of a processor */
};

struct fl_unfinished {                         /* of one channel */
  size_t bytes;                                /* 0: none */
  uint64_t since_ns;
  struct fl_unfinished *before, *behind;       /* in the order in which they began */
};

void fl_unfinished_start(size_t response_body_max);
/* A frame of so many bytes was begun. */
void fl_unfinished_begin(struct fl_unfinished *frame, size_t bytes);
/* It is complete, or given up. */
void fl_unfinished_end(struct fl_unfinished *frame);
/* One that has to go so that the others have room, never `own`; NULL: all may stay. */
struct fl_unfinished *fl_unfinished_victim(const struct fl_unfinished *own);
#endif
