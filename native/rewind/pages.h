/*
 * Mappings and pages of an instance that stands still: put back while the rest of it is, as far as that comes without a call in the process. Once it has no more threads and processes than it had, nothing of it writes
 * to memory but where the batch lies, and its mappings stay as they are, or, where the heap does not end where it did, will be others: then it is put back first.
 */
#ifndef FLASHD_REWIND_PAGES_H
#define FLASHD_REWIND_PAGES_H
#include "rewind/state.h"

/* What is mapped now is what will be compared. */
int fl_pages_remember(struct fl_rewinder *self, struct fl_error *err);
/* Where nothing is watched, all is left to the end. */
void fl_pages_begin(struct fl_rewinder *self);
/* Once the process has put back all that it can itself: it is asked again for what has come to light meanwhile. */
int fl_pages_end(struct fl_rewinder *self, struct fl_rewind_report *report, struct fl_error *err);
#endif
