/*
 * Many system calls in a stopped process with one stop: a few instructions of ours in a mapping of their own carry them out one after the other and end in a breakpoint. Paired verbs:
 * fl_batch_open / fl_batch_close; nothing stays mapped, unless the caller wants the region to stay (fl_batch_stay) and sees to what it holds. The caller has made sure that tracee->call_at is the libc's
 * `syscall`, and that no signal but SIGTRAP can be delivered.
 *
 *   region  ┌──────┬────────┬────────┐
 *           │ code │ calls  │ memory │     what calls read and write lies in memory
 *           └──────┴────────┴────────┘
 *
 * A batch may have parts for several threads, which then work at the same time, while the caller does something else: fl_batch_start / fl_batch_finish.
 */
#ifndef FLASHD_BATCH_H
#define FLASHD_BATCH_H
#include <flashd/error.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "inject/tracee.h"

enum { FL_BATCH_CALLS_MAX = 8192, FL_BATCH_BYTES = 512 << 10 };

struct fl_batch_call { uint64_t number, argument[6]; int64_t result; };

struct fl_batch {
  struct fl_tracee *tracee;
  uint64_t region;                             /* 0: not mapped */
  bool touched;                                /* something was written there since whoever cleans it has */
  uint32_t calls, used, parts;
  struct { uint32_t thread, first; uint64_t frame; } part[FL_PARASITE_THREADS_MAX];
  struct fl_batch_call call[FL_BATCH_CALLS_MAX];
  uint8_t byte[FL_BATCH_BYTES];
};

/* home: where the region is to lie; nothing may be there, nor come to be there while it is open. */
int fl_batch_open(struct fl_batch *batch, struct fl_tracee *tracee, uint64_t home, struct fl_error *err);
int fl_batch_close(struct fl_batch *batch, struct fl_error *err);
/* The region is from now on what it may be beside the process's own mappings: code that cannot be written to, and memory that cannot be executed. */
int fl_batch_stay(struct fl_batch *batch, struct fl_error *err);
uint64_t fl_batch_region_bytes(void);
/* What stands at the beginning of the region. */
const uint8_t *fl_batch_code(void);
size_t fl_batch_code_bytes(void);

/* Forgets the calls and the memory of the last run. */
void fl_batch_begin(struct fl_batch *batch);
/* The index of the call; the last one when there is no room, and then fl_batch_run fails. */
uint32_t fl_batch_add(struct fl_batch *batch, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);
/* Memory in the process, with the given content or zero: its address there; fl_batch_bytes is our copy, valid after the run. */
uint64_t fl_batch_memory(struct fl_batch *batch, const void *content, size_t bytes);
/* How far the next piece of memory lies behind one of so many bytes. */
size_t fl_batch_memory_bytes(size_t bytes);
const void *fl_batch_bytes(const struct fl_batch *batch, uint64_t address);
/* What is added from now on is this thread's; each has one part. */
void fl_batch_part(struct fl_batch *batch, uint32_t thread);
/* What the kernel has kept of a wait that the stop has cut short, for whoever asks it to go on with it (restart_syscall), is forgotten at the end of that part. altstack: as it is by then. */
int fl_batch_forget_wait(struct fl_batch *batch, uint32_t part, const stack_t *altstack, struct fl_error *err);
int fl_batch_start(struct fl_batch *batch, struct fl_error *err);
/* Results are in call[].result. */
int fl_batch_finish(struct fl_batch *batch, struct fl_error *err);
/* All of it in this thread. */
int fl_batch_run(struct fl_batch *batch, uint32_t thread, struct fl_error *err);
#endif
