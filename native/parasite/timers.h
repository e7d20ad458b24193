/* POSIX timers of a template, which fork does not copy: every child makes its own under the same ids. Only disarmed ones that signal the process are carried. */
#ifndef FLASHD_PARASITE_TIMERS_H
#define FLASHD_PARASITE_TIMERS_H
#include <stdint.h>

enum { FL_TIMERS_MAX = 16 };

struct fl_timer { int32_t id, clock, notify, signal; uint64_t value; };        /* as in timer_create(2) */
struct fl_timers { uint32_t count; struct fl_timer timer[FL_TIMERS_MAX]; };    /* by ascending id */

/* For the child: 0 or a negative errno. */
long fl_timers_make(const struct fl_timers *self);
#endif
