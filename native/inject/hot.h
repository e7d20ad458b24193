/*
 * Hot pages: what every fork of a template will touch before its first response, found by comparing a probe (a real fork that served the runtime's warm-up) with its
 * template. Each would cost a fault on the request's path.
 *
 *   written   private pages that both have and that are no longer the same: pinned in the template (pin.h), so that fork copies them
 *   of_files  such pages in the private mappings of files, which not every kernel pins
 *   fresh     writable pages that only the probe has: the fork makes them itself before it parks
 *   read      pages of files that the probe has mapped, as many as bring all of them: fork does not copy the page tables of a file's mapping, so they are mapped before it parks
 */
#ifndef FLASHD_HOT_H
#define FLASHD_HOT_H
#include <flashd/error.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { FL_HOT_RUNS_MAX = 1024, FL_HOT_PAGES_MAX = 2048, FL_HOT_LOOKED_AT_MAX = 1 << 18 };  /* 1 GiB of mappings */

struct fl_hot_runs { uint32_t runs, pages; struct iovec run[FL_HOT_RUNS_MAX]; };
struct fl_hot { struct fl_hot_runs written, of_files, fresh, read; };
/* Where it wrote, in few bytes. */
struct fl_hot_writes { uint32_t runs; struct iovec run[]; };

/* The child may be hostile. What is beyond the bounds above is left out: it costs its fault again. Needs CAP_SYS_ADMIN (page frame numbers). */
int fl_hot_find(pid_t template, pid_t child, struct fl_hot *ret_hot, struct fl_error *err);
/* NULL: there is no memory. */
struct fl_hot_writes *fl_hot_writes(const struct fl_hot *hot);
/* The first pages_max pages that one has written to, and the one before it has not. */
void fl_hot_late(const struct fl_hot *hot, const struct fl_hot_writes *before, uint32_t pages_max, struct fl_hot_runs *ret_late);
#endif
