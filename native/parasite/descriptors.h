/*
 * The descriptors of a template beyond 0 … 3, as data: described once at the freeze (inject/descriptors.h), made anew by every child at the same numbers, with the same
 * state. The template keeps its own, unused, so that their numbers stay taken; a child's first act on each is to replace it. So no two forks share an object.
 *
 *   make        before the park: the objects, in the order of the table (what is named by another entry stands before it), and what epolls watch among them
 *   start       after the park: the function's files, what epolls watch among 1 … 3, which are final only now; timers, whose time begins to run
 *   close_rest  what the template itself did not have: one range per gap between the numbers
 */
#ifndef FLASHD_PARASITE_DESCRIPTORS_H
#define FLASHD_PARASITE_DESCRIPTORS_H
#include <stdint.h>

enum { FL_CARRIED_MAX = 128, FL_WATCHES_MAX = 256, FL_CARRIED_BYTES_MAX = 8192 };

enum fl_carried_kind {
  FL_CARRIED_EVENTFD = 1, FL_CARRIED_PIPE, FL_CARRIED_TIMER, FL_CARRIED_SIGNALS, FL_CARRIED_EPOLL,
  FL_CARRIED_FILE,                             /* opened again by its path: regular files and directories to be read, device nodes */
  FL_CARRIED_ENDED,                            /* one end of a socket pair, the other closed */
  FL_CARRIED_DUPLICATE                         /* of an earlier entry */
};

struct fl_carried {
  int32_t number;
  uint32_t kind;                               /* enum fl_carried_kind */
  uint32_t flags;                              /* O_* */
  uint32_t late;                               /* a file of the function's: it is there only when the fork is assigned */
  uint32_t at, bytes;                          /* PIPE: its content; FILE: its path, NUL included; within fl_descriptors.bytes */
  union {
    struct { uint64_t count; uint32_t semaphore; } eventfd;
    struct { int32_t number; uint32_t flags; } write_end;                              /* PIPE: the entry itself is its read end */
    struct { int64_t interval[2], value[2]; uint64_t ticks; int32_t clock; uint32_t flags; } timer;  /* seconds, nanoseconds; flags: TFD_TIMER_* */
    uint64_t signals;
    uint64_t offset;
    int32_t original;
  };
};

struct fl_watch { int32_t epoll, number; uint64_t data; uint32_t events; };

struct fl_descriptors {
  uint32_t count, watches, gaps, bytes;
  uint32_t data_flags;                         /* O_NONBLOCK, when descriptor 3 was to be */
  struct fl_carried carried[FL_CARRIED_MAX];   /* ascending, but for the write ends */
  struct fl_watch watch[FL_WATCHES_MAX];
  struct { uint32_t first, last; } gap[FL_CARRIED_MAX + 3];
  char byte[FL_CARRIED_BYTES_MAX];
};

/* For the child; each returns 0 or a negative errno. */
long fl_descriptors_make(const struct fl_descriptors *self);
long fl_descriptors_start(const struct fl_descriptors *self);
long fl_descriptors_close_rest(const struct fl_descriptors *self, int32_t but);
#endif
