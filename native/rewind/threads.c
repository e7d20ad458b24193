/* See threads.h. */
#include "rewind/threads.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>

enum { SIGSET_BYTES = 8 };

int fl_threads_block(const struct fl_tracee *tracee, struct fl_error *err)
{
  const uint64_t all_but_trap = ~(1ull << (SIGTRAP - 1));

  for (uint32_t i = 0; i < tracee->threads; i++)
    if (ptrace(PTRACE_SETSIGMASK, tracee->thread[i].tid, (void *)SIGSET_BYTES, &all_but_trap) < 0)
      return fl_fail_errno(err, "block_signals");
  return 0;
}

int fl_threads_hold(const struct fl_tracee *tracee, struct fl_error *err)
{
  for (uint32_t i = 0; i < tracee->threads; i++)
    if (ptrace(PTRACE_SETOPTIONS, tracee->thread[i].tid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
      return fl_fail_errno(err, "hold_threads");
  return fl_threads_block(tracee, err);
}

static int remember_xstate(struct fl_saved_thread *thread, struct fl_error *err)
{
  uint8_t xstate[FL_ARCH_XSTATE_MAX];
  int r = fl_arch_get_xstate(thread->tid, xstate, &thread->xstate_bytes, err);

  if (r < 0)
    return r;
  for (thread->xstate_used = thread->xstate_bytes; thread->xstate_used && xstate[thread->xstate_used - 1] == 0;)
    thread->xstate_used--;
  if (!(thread->xstate = malloc(thread->xstate_used)))
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "xstate");
  memcpy(thread->xstate, xstate, thread->xstate_used);
  return 0;
}

static void whole_xstate(const struct fl_saved_thread *thread, uint8_t ret_image[FL_ARCH_XSTATE_MAX])
{
  memcpy(ret_image, thread->xstate, thread->xstate_used);
  memset(ret_image + thread->xstate_used, 0, thread->xstate_bytes - thread->xstate_used);
}

int fl_threads_remember(struct fl_threads *ret, const struct fl_tracee *tracee, struct fl_memory *memory, struct fl_error *err)
{
  int r = 0;

  ret->count = tracee->threads;
  ret->thread = calloc(ret->count, sizeof *ret->thread);
  if (!ret->thread)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "threads");
  for (uint32_t i = 0; i < ret->count && r == 0; i++) {
    struct fl_saved_thread *thread = &ret->thread[i];
    struct __ptrace_rseq_configuration rseq = {0};

    thread->tid = tracee->thread[i].tid;
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread->tid, (void *)sizeof rseq, &rseq) > 0)
      fl_memory_changes_at(memory, rseq.rseq_abi_pointer, rseq.rseq_abi_size);
    thread->regs = tracee->thread[i].regs;
    fl_arch_rewind_call(&thread->regs);
    if (ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)SIGSET_BYTES, &thread->mask) < 0)
      return fl_fail_errno(err, "getsigmask");
    if (sched_getaffinity(thread->tid, sizeof thread->processors, &thread->processors) < 0)
      return fl_fail_errno(err, "getaffinity");
    r = remember_xstate(thread, err);
  }
  return r;
}

int fl_threads_arrange(const struct fl_threads *threads, struct fl_tracee *tracee, struct fl_error *err)
{
  for (uint32_t i = 0; i < threads->count; i++) {
    uint32_t place = i;

    while (place < tracee->threads && tracee->thread[place].tid != threads->thread[i].tid)
      place++;
    if (place >= tracee->threads)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "a thread of its runtime has ended");
    struct fl_thread found = tracee->thread[place];
    tracee->thread[place] = tracee->thread[i];
    tracee->thread[i] = found;
  }
  return 0;
}

void fl_threads_gather(struct fl_threads *threads, uint32_t first, uint32_t end)
{
  int processor = sched_getcpu();
  cpu_set_t here;

  if (processor < 0)
    return;
  CPU_ZERO(&here);
  CPU_SET(processor, &here);
  for (uint32_t i = first; i < end; i++)
    if (sched_getaffinity(threads->thread[i].tid, sizeof here, &threads->thread[i].processors) >= 0)
      sched_setaffinity(threads->thread[i].tid, sizeof here, &here);
}

int fl_threads_spread(const struct fl_threads *threads, struct fl_error *err)
{
  for (uint32_t i = 0; i < threads->count; i++) {
    const struct fl_saved_thread *thread = &threads->thread[i];

    if (sched_setaffinity(thread->tid, sizeof thread->processors, &thread->processors) < 0)
      return fl_fail_errno(err, "setaffinity");
  }
  return 0;
}

int fl_threads_put_extended(const struct fl_threads *threads, struct fl_error *err)
{
  uint8_t image[FL_ARCH_XSTATE_MAX];
  int r = 0;

  for (uint32_t i = 0; i < threads->count && r == 0; i++) {
    whole_xstate(&threads->thread[i], image);
    r = fl_arch_set_xstate(threads->thread[i].tid, image, threads->thread[i].xstate_bytes, err);
  }
  return r;
}

int fl_threads_put(const struct fl_threads *threads, struct fl_error *err)
{
  int r = 0;

  for (uint32_t i = 0; i < threads->count && r == 0; i++) {
    const struct fl_saved_thread *thread = &threads->thread[i];

    if ((ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->regs) < 0 || ptrace(PTRACE_SETSIGMASK, thread->tid, (void *)SIGSET_BYTES, &thread->mask) < 0))
      r = fl_fail_errno(err, "setregs");
  }
  return r;
}

int fl_threads_compare(const struct fl_threads *threads, struct fl_error *err)
{
  for (uint32_t i = 0; i < threads->count; i++) {
    const struct fl_saved_thread *thread = &threads->thread[i];
    uint8_t xstate[FL_ARCH_XSTATE_MAX], image[FL_ARCH_XSTATE_MAX];
    struct user_regs_struct regs;
    size_t bytes = 0;
    uint64_t mask;

    if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &regs) < 0 || ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)SIGSET_BYTES, &mask) < 0)
      return fl_fail_errno(err, "getregs");
    int r = fl_arch_get_xstate(thread->tid, xstate, &bytes, err);
    if (r < 0)
      return r;
    if (memcmp(&regs, &thread->regs, sizeof regs) != 0 || mask != thread->mask)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "verify", "registers of thread %u: not as they were", i);
    whole_xstate(thread, image);
    if (bytes != thread->xstate_bytes || memcmp(xstate, image, bytes) != 0)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "verify", "extended state of thread %u: not as it was", i);
  }
  return 0;
}
