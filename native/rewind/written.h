/*
 * The pages that an instance has written to since it was what its snapshot says, and how they come to hold that again: memory.h's job where the kernel can watch pages (watch.h). One scan tells of all pages;
 * what is read and written then are the pages that changed. Pages that are saved, and those that are the template's, are expected; what else is there was new:
 *
 *   expected, written to or gone   written back, from what was saved, a copy, or the template
 *   new, in memory without a file  written with zeros while they are few, so that the next request finds it in memory; else dropped
 *   new, a copy of a file's page   dropped: it is the file's again
 *
 * A page that is written to by one request after another is left unprotected: it counts as written to, and is written back whether it was or not, which is cheaper than the fault of each write and protecting it again.
 * Every so often all are protected, and those that are not written to any more come out of it.
 */
#ifndef FLASHD_REWIND_WRITTEN_H
#define FLASHD_REWIND_WRITTEN_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "inject/batch.h"
#include "inject/copies.h"
#include "rewind/helper.h"
#include "rewind/list.h"
#include "rewind/memory.h"
#include "rewind/proc.h"
#include "sys/pagemap.h"

enum { FL_WRITTEN_STRETCHES_MAX = FL_LIST_STRETCHES_MAX, FL_WRITTEN_ZEROS_MAX = 512, FL_WRITTEN_AGAIN_MAX = 1024, FL_WRITTEN_COOLING = 32, FL_WRITTEN_ROOM = 32, FL_WRITTEN_SHARES = 8 };

struct fl_written;
struct fl_stretch { uint64_t start, end; };
struct fl_stretches { uint32_t count; bool full; struct fl_stretch at[FL_WRITTEN_STRETCHES_MAX]; };

struct fl_written {
  int watch;                                   /* -1: the kernel cannot */
  struct fl_memory *memory;
  const struct fl_proc *proc;
  struct fl_stretches expected, write, protect;
  uint32_t passed;                             /* of those expected, while scanning */
  uint32_t restores, last;                     /* cooling: each time that so many restores are over */
  uint64_t last_at[FL_WRITTEN_AGAIN_MAX];      /* ascending: pages that were written back last time */
  uint32_t zeros;
  uint64_t zero_at[FL_WRITTEN_ZEROS_MAX];      /* ascending: new once, in memory since */
  struct fl_copies *copies;                    /* of the template's pages that are written back again and again; or NULL */
  uint8_t room[FL_WRITTEN_ROOM][4096];         /* for those of which there is none */
  struct fl_helper *helper;                    /* scans, and writes some of the pages */
  bool sparse;                                 /* more of the pages that the kernel looks at are not there than are: what is not told of was not there */
  struct fl_list list;                         /* of the last scan */
  struct fl_written_share { struct fl_job job; const struct fl_written *written; const struct iovec *from, *to; uint32_t pages, runs; int r; struct fl_error err; } share[FL_WRITTEN_SHARES];
};

/* After the memory was saved: what is written to from now on is found. On failure nothing is watched. */
int fl_written_watch(struct fl_written *written, struct fl_batch *batch, struct fl_error *err);
/* Ahead of the scan, or not: helpers have it then. */
void fl_written_begin(struct fl_written *written);
/* *ret_known: every mapping is one that is watched. Else some were made since, by whomever: their flags have to be looked at, all have to be watched again, and scanned again. */
int fl_written_scan(struct fl_written *written, struct fl_memory_counts *counts, bool *ret_known, struct fl_error *err);
int fl_written_rewatch(const struct fl_written *written, struct fl_error *err);
/* From outside: what the scan has found. */
int fl_written_put(struct fl_written *written, struct fl_memory_counts *counts, struct fl_error *err);
/* When nothing of the process runs any more: where the kernel writes for it. */
int fl_written_put_last(const struct fl_written *written, struct fl_error *err);
#endif
