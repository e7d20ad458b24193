/* The threads of an instance, their registers, extended state and signal masks: as they were when the snapshot was taken, and put back last. */
#ifndef FLASHD_REWIND_THREADS_H
#define FLASHD_REWIND_THREADS_H
#include <flashd/error.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/arch/x86_64/frame.h"
#include "inject/tracee.h"
#include "rewind/facts.h"
#include "rewind/memory.h"

struct fl_saved_thread {
  pid_t tid;
  struct user_regs_struct regs;                /* an interrupted system call is made again */
  uint64_t mask;
  cpu_set_t processors;
  size_t xstate_bytes, xstate_used;            /* as the kernel gives it; without the zeros at its end, most often AMX tiles that nobody loaded */
  uint8_t *xstate;
};

struct fl_threads { uint32_t count; struct fl_saved_thread *thread; };

/* Stopped as they are: no signal but our breakpoint's can be delivered; hold: and from now on they do not outlive us. */
int fl_threads_block(const struct fl_tracee *tracee, struct fl_error *err);
int fl_threads_hold(const struct fl_tracee *tracee, struct fl_error *err);
/* The memory is told where the kernel writes for each. */
int fl_threads_remember(struct fl_threads *ret, const struct fl_tracee *tracee, struct fl_memory *memory, struct fl_error *err);
/* In the tracee: in the order of the snapshot, what was born since behind them. */
int fl_threads_arrange(const struct fl_threads *threads, struct fl_tracee *tracee, struct fl_error *err);
/* To our own processor: who is stopped and let go again by us has not to be woken on another one, which takes longer than what it does there. Where that cannot be, it stays where it is. Those from first on, below end: all but the
 * main thread have to be stopped, since the number of one that has ended may be somebody else's by then. */
void fl_threads_gather(struct fl_threads *threads, uint32_t first, uint32_t end);
/* To the processors that they had: where they run is sandboxd's to say, and no part of the snapshot. */
int fl_threads_spread(const struct fl_threads *threads, struct fl_error *err);
/* Extended state, which no batch changes that is without a wait to be forgotten (inject/batch.h); and, last of all, the rest. */
int fl_threads_put_extended(const struct fl_threads *threads, struct fl_error *err);
int fl_threads_put(const struct fl_threads *threads, struct fl_error *err);
/* -EBUSY: something is not as it was. */
int fl_threads_compare(const struct fl_threads *threads, struct fl_error *err);
#endif
