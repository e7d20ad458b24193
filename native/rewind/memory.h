/*
 * What the pages of an instance hold, and how they come to hold it again.
 *
 * An instance is a fork of a frozen template, and the template's pages are the snapshot: a page of the instance that is mapped by more than this process, in the very frame that the template
 * has, is what it was, because whoever writes to a shared frame gets another one. Nothing has to be watched for that, by nobody, and no copy of the memory is kept: all instances of a version
 * share it. What had a frame of its own already when the snapshot was taken (the parasite's traces, eagerly copied pages) is saved beside it.
 *
 *   page at the snapshot                        page at the restore is
 *   saved                                    →  compared with what was saved, written back when it differs
 *   the template's                           →  passed over when it has the template's frame, else compared with the template's
 *   neither: untouched                       →  dropped when it is there now: it is zero again, or the file's
 */
#ifndef FLASHD_REWIND_MEMORY_H
#define FLASHD_REWIND_MEMORY_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/batch.h"
#include "rewind/layout.h"

enum { FL_REWIND_SAVED_MAX = 8192, FL_REWIND_DROPS_MAX = 4096, FL_REWIND_OWN_MAX = 262144, FL_REWIND_VOLATILE_MAX = 2 * FL_PARASITE_THREADS_MAX };

struct fl_memory {
  pid_t template, instance;
  const struct fl_layout *base, *layout;       /* of the template; of the instance when the snapshot was taken */
  int template_memory, template_pages;
  uint64_t changing[FL_REWIND_VOLATILE_MAX];   /* pages that the kernel writes to in the template as well (rseq): saved in every case */
  uint32_t changings;
  uint32_t saved, drops;
  uint64_t *saved_at;                          /* ascending */
  uint8_t *saved_bytes;
  struct { uint64_t start, end; } drop[FL_REWIND_DROPS_MAX];
};

/* Counts of pages. own: that are not the template's frame, or were written to. */
struct fl_memory_counts { uint32_t own, written, dropped; };

/* Before it is saved: where the kernel keeps what changes by itself, such as the processor a thread runs on. */
void fl_memory_changes_at(struct fl_memory *memory, uint64_t address, uint64_t bytes);
int fl_memory_save(struct fl_memory *memory, struct fl_error *err);
/* Whether it is a mapping whose pages are looked at: what is shared can never be written to, what is the kernel's own neither, but for its code, and the batch's region is looked at by itself. */
bool fl_memory_is_private(const struct fl_layout *layout, const struct fl_area *area);
/* Of addresses that ascend: the first that is not below this one, or their number. */
uint32_t fl_memory_first(const uint64_t *addresses, uint32_t count, uint64_t address);
/* After it was saved: a copy of the saved page, or NULL: the template's, or untouched. */
const uint8_t *fl_memory_saved(const struct fl_memory *memory, uint64_t address);
/* Each page, ascending, that is the template's. */
typedef int (*fl_memory_visit)(void *context, uint64_t address, struct fl_error *err);
int fl_memory_each_kept(struct fl_memory *memory, fl_memory_visit visit, void *context, struct fl_error *err);

/* What is to be dropped: added in ascending order, and done by calls in the process. */
int fl_memory_add_drop(struct fl_memory *memory, uint64_t start, uint64_t end, struct fl_error *err);
int fl_memory_run_drops(struct fl_memory *memory, struct fl_batch *batch, struct fl_error *err);

/* The layout is what it was. drop: calls in the process, before anything else of the process is put right; write: from outside, last. */
int fl_memory_drop(struct fl_memory *memory, struct fl_batch *batch, struct fl_memory_counts *counts, struct fl_error *err);
int fl_memory_write(struct fl_memory *memory, struct fl_memory_counts *counts, struct fl_error *err);
/* Whether every page holds what it did: it reads them all, whoever shares what. */
int fl_memory_compare(struct fl_memory *memory, struct fl_error *err);
#endif
