/*
 * The address space of a stopped process as a list of mappings, so that two lists that are equal are two address spaces of the same shape; and how one is bent back into another.
 * From /proc/PID/smaps it has everything that the kernel tells of each; from /proc/PID/maps, which is read in a tenth of the time, all but the flags.
 */
#ifndef FLASHD_REWIND_LAYOUT_H
#define FLASHD_REWIND_LAYOUT_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/batch.h"

enum { FL_LAYOUT_MAX = 8192, FL_LAYOUT_TEXT_MAX = 1 << 20, FL_LAYOUT_REPAIRS_MAX = 2048 };

struct fl_area {
  uint64_t start, end, offset, device, inode;
  uint32_t rights;                             /* PROT_* */
  bool shared, special;                        /* special: the kernel's own, vdso and the like */
  uint32_t name, flags;                        /* within fl_layout.text: what stands behind it in maps; its VmFlags */
};

struct fl_layout {
  uint32_t areas, text_bytes;
  bool flagged;                                /* it knows flags; one that does not is compared without them */
  uint64_t region, region_bytes;               /* of it, where a batch's region stays (region.h): mapped like the rest, and nobody's memory */
  struct fl_area area[FL_LAYOUT_MAX];
  char text[FL_LAYOUT_TEXT_MAX];
};

/* flagged: from smaps. Without what begins in the given range. */
int fl_layout_read(pid_t pid, bool flagged, uint64_t but_from, uint64_t but_bytes, struct fl_layout *ret, struct fl_error *err);
bool fl_layout_is_region(const struct fl_layout *layout, const struct fl_area *area);
/* The one that covers the address, or the next one above it, or NULL. */
const struct fl_area *fl_layout_from(const struct fl_layout *layout, uint64_t address);
/* The first mapping of the kernel's own, vvar most often; 0: there is none. */
uint64_t fl_layout_kernels_own(const struct fl_layout *layout);
/* Whether the same thing is mapped at the address in both, whatever its rights and flags. */
bool fl_layout_same_thing(const struct fl_layout *one, const struct fl_area *a, const struct fl_layout *other, const struct fl_area *b);
bool fl_layout_equal(const struct fl_layout *one, const struct fl_layout *other);
/* An address, not where mappings are made by themselves, at which so many bytes are free; 0: there is none. */
uint64_t fl_layout_gap(const struct fl_layout *layout, uint64_t bytes);
/*
 * Calls in the process that make `now` into `then`: what is new is unmapped, what is gone mapped again, rights are set. Memory that is mapped again is empty. What it cannot repair, it
 * leaves: the caller compares again. *ret_repairs: how many calls that took.
 */
int fl_layout_repair(const struct fl_layout *now, const struct fl_layout *then, struct fl_batch *batch, uint32_t *ret_repairs, struct fl_error *err);
#endif
