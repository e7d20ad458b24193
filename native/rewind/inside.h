/* What only the process itself can be asked, or can put back: done in it, in batches of system calls. */
#ifndef FLASHD_REWIND_INSIDE_H
#define FLASHD_REWIND_INSIDE_H
#include <signal.h>
#include <stdbool.h>

#include "inject/batch.h"
#include "rewind/facts.h"
#include "rewind/heap.h"
#include "rewind/proc.h"

enum { FL_INSIDE_SIGNALS = 64, FL_INSIDE_COMM = 16, FL_INSIDE_TIMERS_BYTES = 2048 };

struct fl_inside_action { uint64_t handler, flags, restorer, mask; };       /* the kernel's struct sigaction */
struct fl_inside_thread { stack_t alternative; uint64_t tid_address, robust, robust_bytes; int64_t slack; char comm[FL_INSIDE_COMM]; };
/* Where a thread's calls stand in the batch: [put, done) have to succeed, taken is a signal that waited; from query on they are asked for facts. */
struct fl_inside_part { uint32_t put, done, taken, query; uint64_t answer; };

struct fl_inside {
  struct fl_inside_action action[FL_INSIDE_SIGNALS];
  struct fl_heap heap;
  struct fl_timers timers;
  char told_timers[FL_INSIDE_TIMERS_BYTES];    /* as the kernel tells of them */
  uint32_t umask;
  char directory[256];
  struct fl_inside_thread thread[FL_PARASITE_THREADS_MAX];
  uint32_t heap_call, reaped;                  /* the calls that put its end back, and reap */
  int64_t heap_result;
  struct fl_batch_call *then_calls;
  uint8_t *then_bytes;
  struct fl_inside_part process, part[FL_PARASITE_THREADS_MAX];
};

int fl_inside_learn(struct fl_batch *batch, const struct fl_proc *proc, struct fl_inside *ret, struct fl_error *err);
/* Signals that wait are taken, timers stopped, dead children reaped, and every thread is asked what it knows, all at once: it goes on while the caller looks at the process from outside. */
int fl_inside_start(struct fl_batch *batch, const struct fl_proc *proc, struct fl_inside *inside, struct fl_error *err);
int fl_inside_finish(struct fl_batch *batch, struct fl_inside *inside, struct fl_error *err);
/* Right after it. The first answers are what later ones are compared with. */
int fl_inside_remember(const struct fl_batch *batch, struct fl_inside *inside, struct fl_error *err);
bool fl_inside_differs(const struct fl_batch *batch, const struct fl_inside *inside);
/* What is put back only when the answers tell that it was changed: scheduling, personality and the like, and System V objects. 1: something was, all are to be asked again. */
int fl_inside_repair(struct fl_batch *batch, const struct fl_inside *inside, struct fl_error *err);
/* By itself, where it is needed at all: the heap ends where it did, once that is learnt, no memory is locked into place, and what is mapped by now has small pages only. */
int fl_inside_put_memory(struct fl_batch *batch, const struct fl_inside *inside, struct fl_error *err);
void fl_inside_facts(const struct fl_batch *batch, const struct fl_inside *inside, struct fl_facts *facts);
#endif
