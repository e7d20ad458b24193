/*
 * What a runtime has begun when it says that it is ready (compilers, collectors): frozen in the middle of it, every fork would go on with it, beside its first request and in memory of its own.
 * A process has settled when its threads but the main one were found asleep several times in a row; one with a single thread at once.
 */
#ifndef FLASHD_SETTLE_H
#define FLASHD_SETTLE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { FL_SETTLE_LOOK_MS = 10, FL_SETTLE_LOOKS = 4, FL_SETTLE_MS_MAX = 2000 };

struct fl_settling { uint32_t looks, asleep; };   /* asleep: looks in a row */

/* One look, FL_SETTLE_LOOK_MS after the one before. True: it has settled, or has had FL_SETTLE_MS_MAX and works on. A process that is gone has settled. */
bool fl_settled(pid_t pid, struct fl_settling *settling);
/* Looks until it has. */
void fl_settle(pid_t pid);
#endif
