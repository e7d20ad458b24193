/*
 * What the hot pages (hot.h) are good for. Every fork writes to the same few hundred pages of its template before its first response (reference counts, allocator heads,
 * stacks), and each such write costs a copy-on-write fault: about half of a cold start in CPython. Pages that are pinned for DMA, however, are copied by fork itself,
 * eagerly, at a third of a fault's price (copy_present_page in mm/memory.c, since Linux 5.9: a pinned page must stay with its owner). So those pages are pinned in the
 * template as registered buffers of an io_uring that is used for nothing else. The others a fork touches in bulk before it parks (madvise(2), MADV_POPULATE_*, Linux 5.14).
 *
 * Each child gets private copies, as it would by faulting: nothing is shared that was not. The copies are charged to the template's cgroup.
 */
#ifndef FLASHD_PIN_H
#define FLASHD_PIN_H
#include <flashd/error.h>

#include "inject/hot.h"
#include "inject/infect.h"

enum fl_pinned { FL_PINNED_NOTHING, FL_PINNED_WITHOUT_FILES, FL_PINNED_ALL };

/* What a fork touches before it parks; pinned: in its template; late: of what it touches, what it would not have written to when it stands by, or NULL. */
void fl_pin_touches(const struct fl_hot *hot, enum fl_pinned pinned, const struct fl_hot_runs *late, struct fl_parasite_touches *ret_touches);
/* Stops the template for a moment, pins what forks write and tells the parasite what else they touch. What cannot be pinned (mappings of files before
 * Linux 6.5, everything where io_uring is disabled) forks touch too. The probe must be gone, or the template's pages are copied first. ret_pinned: pages. */
int fl_pin_apply(pid_t template, const struct fl_infection *infection, const struct fl_hot *hot, uint32_t *ret_pinned, struct fl_error *err);
/* The same for a function template, which runs and has nothing pinned. */
int fl_pin_tell(pid_t template, const struct fl_infection *infection, const struct fl_hot *hot, const struct fl_hot_runs *late, struct fl_error *err);
#endif
