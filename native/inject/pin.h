/*
 * Hot pages. Every fork writes to the same few hundred pages of its template before its first response (reference counts, allocator heads, stacks), and each such write
 * costs a copy-on-write fault: about half of a cold start in CPython. Pages that are pinned for DMA, however, are copied by fork itself, eagerly, at a third of
 * a fault's price (copy_present_page in mm/memory.c, since Linux 5.9: a pinned page must stay with its owner). So the hot pages are found by comparing a probe (a
 * real fork that served the runtime's warm-up) with its template, and pinned in the template as registered buffers of an io_uring that is used for nothing else.
 *
 * Each child gets private copies, as it would by faulting: nothing is shared that was not. The copies are charged to the template's cgroup.
 */
#ifndef FLASHD_PIN_H
#define FLASHD_PIN_H
#include <flashd/error.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { FL_PIN_RUNS_MAX = 1024, FL_PIN_PAGES_MAX = 2048 };

struct fl_pin { uint32_t runs, pages; struct iovec run[FL_PIN_RUNS_MAX]; };

/* Pages of private writable memory that are present in both processes and no longer the same. Needs CAP_SYS_ADMIN (page frame numbers). */
int fl_pin_find(pid_t template, pid_t child, struct fl_pin *ret_pin, struct fl_error *err);
/* Stops the template for a moment and pins them. call_at: a `syscall` instruction in it. The child must be gone, or the template's pages are copied first. */
int fl_pin_apply(pid_t template, uint64_t call_at, const struct fl_pin *pin, struct fl_error *err);
#endif
