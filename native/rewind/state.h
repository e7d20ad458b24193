/*
 * A rewinder, for its own files alone; and everything of an instance but its memory and registers: put back, and gone through as facts, from inside by the process itself, from outside by helpers at the same time.
 */
#ifndef FLASHD_REWIND_STATE_H
#define FLASHD_REWIND_STATE_H
#include "inject/batch.h"
#include "rewind/binding.h"
#include "rewind/facts.h"
#include "rewind/files.h"
#include "rewind/helper.h"
#include "rewind/inside.h"
#include "rewind/layout.h"
#include "rewind/memory.h"
#include "rewind/process.h"
#include "rewind/rewinder.h"
#include "rewind/scratch.h"
#include "rewind/shape.h"
#include "rewind/threads.h"
#include "rewind/written.h"

enum { FL_REWIND_CODE = 16 };

/* Each list is gone through by one thread. */
enum { FL_FACTS_FROM_INSIDE, FL_FACTS_OF_DESCRIPTORS, FL_FACTS_OF_LAYER, FL_FACTS_OF_PROCESS, FL_FACTS_OF_THREADS, FL_FACTS_LISTS };

/* What the helpers were given to do, and what came of it. */
struct fl_side { struct fl_job job; int r; struct fl_error err; };

struct fl_rewinder {
  struct fl_rewind_target target;
  struct fl_tracee tracee;
  struct fl_parasite parasite;                 /* of the template, as it stands there */
  struct fl_batch batch;
  uint8_t code[FL_REWIND_CODE];            /* at the parasite's gadget, in the template */
  uint64_t home;                               /* where the batch's region lies */
  uint64_t kernels_own;                        /* where a mapping of the kernel's own does, 0: there is none */
  struct fl_threads threads;
  struct fl_proc proc;
  struct fl_layout base, then, now;            /* the template's; the instance's at the snapshot; at the restore */
  struct fl_shape shape;                       /* which says what `then` does, batch included */
  struct fl_facts facts[FL_FACTS_LISTS];       /* of the snapshot */
  bool described, tells, locked;               /* tells: as fl_state_put was told; locked: memory is, as the kernel told last */
  bool stays;                                  /* the batch's region (region.h) */
  struct fl_helper helper;
  struct fl_side descriptors, emptying, telling, telling_of_threads, paging;   /* what the helpers do */
  struct fl_paged { bool heap_comes, same_shape, known, put; struct fl_memory_counts counts; } paged;               /* how far paging has come (pages.c) */
  struct fl_inside inside;
  struct fl_files files;
  struct fl_scratch scratch;
  struct fl_process_limits limits;
  struct fl_memory memory;
  struct fl_written written;
  struct fl_binding binding;                   /* of one that goes from function to function; learnt when it rests for the first time */
  bool learnt, bound;                          /* bound: it is a function's */
};

void fl_side_begin(struct fl_rewinder *self, struct fl_side *side, void (*run)(void *));
/* before: how it has gone so far; that comes first. Once or more after each beginning, or without one. */
int fl_side_end(struct fl_rewinder *self, struct fl_side *side, int before, struct fl_error *err);

/* Reads what is mapped now, without what is mapped for the batch alone. */
int fl_state_layout(struct fl_rewinder *self, bool flagged, struct fl_error *err);
/* Once, with a batch open: what fl_state_put puts back, and what is compared later. */
int fl_state_describe(struct fl_rewinder *self, struct fl_error *err);
/* What is open since is closed, and what can be done from outside at any time then is begun. tells: what the kernel tells of the process is among that. */
int fl_state_begin(struct fl_rewinder *self, bool tells, struct fl_error *err);
/* The rest, as far as the process itself does it; and the end of what was begun, which comes first. before: as for fl_side_end. */
int fl_state_put(struct fl_rewinder *self, int before, struct fl_error *err);
int fl_state_end(struct fl_rewinder *self, int before, struct fl_error *err);
/* Ends that. Before anything of the process runs again: of a process at work the kernel tells other things. before: as for fl_side_end. */
int fl_state_told(struct fl_rewinder *self, int before, struct fl_error *err);
/* After all of that has ended. */
int fl_state_compare(struct fl_rewinder *self, struct fl_error *err);
#endif
