/*
 * The batch's region where it stays in the instance from the snapshot on, so that no restore has to map it and take it away again: two calls less, and their tables. Between restores it is a mapping that does nothing, holds the
 * batch's code, which is no secret, and zeros. It is not trusted for that: a restore begins with a look at mapping and code, and an instance that has changed them is over; the rest is zero at its end, whatever it was.
 * That it is the same mapping shows in that it is still watched (watch.h), so this takes a kernel that can.
 */
#ifndef FLASHD_REWIND_REGION_H
#define FLASHD_REWIND_REGION_H
#include <flashd/error.h>

#include "inject/batch.h"

/* pagemap: /proc/PID/pagemap. Before the first batch: whether it is the same mapping, and the same code. */
int fl_region_check(const struct fl_batch *batch, int pagemap, struct fl_error *err);
/* After the last one: everything but the code is zero. */
int fl_region_clean(const struct fl_batch *batch, int pagemap, struct fl_error *err);
/* Whether that is so. */
int fl_region_compare(const struct fl_batch *batch, int pagemap, struct fl_error *err);
#endif
