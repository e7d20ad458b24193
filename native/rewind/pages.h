/*
 * Mappings and pages of an instance that stands still: put back while the rest of it is, as far as that comes without a call in the process. Once it has no more threads and processes than it had, nothing of it writes
 * to memory but where the batch lies, and its mappings stay as they are, but for the heap, which is put back first where it has grown.
 */
#ifndef FLASHD_REWIND_PAGES_H
#define FLASHD_REWIND_PAGES_H
#include "rewind/state.h"

/* What is mapped now is what will be compared. */
int fl_pages_remember(struct fl_rewinder *self, struct fl_error *err);
/* Whether what is mapped says that the heap ends where it did. Where that cannot be asked: no. */
bool fl_pages_heap_ends(const struct fl_rewinder *self);
/* Where nothing is watched, all is left to the end. heap_comes: it is being put back. What it had grown by is no mapping any more long before the kernel is done with freeing it (do_vmi_align_munmap in mm/vma.c lets others read meanwhile). */
void fl_pages_begin(struct fl_rewinder *self, bool heap_comes);
/* Once the process has put back all that it can itself: it is asked again for what has come to light meanwhile. */
int fl_pages_end(struct fl_rewinder *self, struct fl_rewind_report *report, struct fl_error *err);
#endif
