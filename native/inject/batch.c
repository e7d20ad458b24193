/* See batch.h. */
#include "inject/batch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "inject/arch/x86_64/frame.h"

enum { PAGE_BYTES = 4096, CALLS_BYTES = FL_BATCH_CALLS_MAX * sizeof(struct fl_batch_call), CALLS_AT = PAGE_BYTES, MEMORY_AT = CALLS_AT + CALLS_BYTES, REGION_BYTES = MEMORY_AT + FL_BATCH_BYTES, ALIGN = 16 };

_Static_assert(CALLS_BYTES % PAGE_BYTES == 0 && FL_BATCH_BYTES % PAGE_BYTES == 0, "whole pages");

uint64_t fl_batch_region_bytes(void)
{
  return REGION_BYTES;
}

const uint8_t *fl_batch_code(void)
{
  return fl_arch_batch;
}

size_t fl_batch_code_bytes(void)
{
  return fl_arch_batch_bytes();
}

static int step(struct fl_batch *batch, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, int64_t *ret, struct fl_error *err)
{
  *ret = fl_tracee_call(batch->tracee, 0, number, (const uint64_t[6]){a, b, c, d, e}, err);
  if (err->code != FL_OK)
    return -EINTR;
  return *ret < 0 && *ret >= -PAGE_BYTES ? fl_fail(err, FL_ERR_UNSUPPORTED, (int)-*ret, "batch", "system call %ld in the process", number) : 0;
}

/* One call instead of two: nobody but us can run before it is gone again. */
int fl_batch_open(struct fl_batch *batch, struct fl_tracee *tracee, uint64_t home, struct fl_error *err)
{
  int64_t region;

  batch->tracee = tracee;
  batch->region = 0;
  fl_batch_begin(batch);
  int r = step(batch, SYS_mmap, home, REGION_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, &region, err);
  if (r < 0)
    return r;
  batch->region = (uint64_t)region;
  return fl_tracee_write(tracee, batch->region, fl_batch_code(), fl_batch_code_bytes(), err);
}

int fl_batch_stay(struct fl_batch *batch, struct fl_error *err)
{
  fl_batch_begin(batch);
  fl_batch_add(batch, SYS_mprotect, batch->region + CALLS_AT, REGION_BYTES - CALLS_AT, PROT_READ | PROT_WRITE, 0, 0);
  fl_batch_add(batch, SYS_mprotect, batch->region, CALLS_AT, PROT_READ | PROT_EXEC, 0, 0);
  int r = fl_batch_run(batch, 0, err);
  return r == 0 && (batch->call[0].result < 0 || batch->call[1].result < 0) ? fl_fail(err, FL_ERR_UNSUPPORTED, EACCES, "batch", "mprotect in the process") : r;
}

int fl_batch_close(struct fl_batch *batch, struct fl_error *err)
{
  uint64_t region = batch->region;
  int64_t unused;

  batch->region = 0;
  return region ? step(batch, SYS_munmap, region, REGION_BYTES, 0, 0, 0, &unused, err) : 0;
}

void fl_batch_begin(struct fl_batch *batch)
{
  batch->calls = batch->used = batch->parts = 0;
}

uint32_t fl_batch_add(struct fl_batch *batch, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
  if (batch->calls >= FL_BATCH_CALLS_MAX) {
    batch->calls = FL_BATCH_CALLS_MAX + 1;
    return FL_BATCH_CALLS_MAX - 1;
  }
  batch->call[batch->calls] = (struct fl_batch_call){(uint64_t)number, {a, b, c, d, e, 0}, -ENOSYS};
  return batch->calls++;
}

size_t fl_batch_memory_bytes(size_t bytes)
{
  return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

uint64_t fl_batch_memory(struct fl_batch *batch, const void *content, size_t bytes)
{
  uint32_t at = batch->used;

  if (bytes > FL_BATCH_BYTES - at) {
    batch->calls = FL_BATCH_CALLS_MAX + 1;
    return batch->region + MEMORY_AT;
  }
  memset(batch->byte + at, 0, bytes);
  if (content)
    memcpy(batch->byte + at, content, bytes);
  batch->used = at + (uint32_t)fl_batch_memory_bytes(bytes);
  return batch->region + MEMORY_AT + at;
}

const void *fl_batch_bytes(const struct fl_batch *batch, uint64_t address)
{
  return batch->byte + (address - batch->region - MEMORY_AT);
}

void fl_batch_part(struct fl_batch *batch, uint32_t thread)
{
  batch->part[batch->parts].thread = thread;
  batch->part[batch->parts].frame = 0;
  batch->part[batch->parts++].first = batch->calls;
}

int fl_batch_forget_wait(struct fl_batch *batch, uint32_t part, const stack_t *altstack, struct fl_error *err)
{
  const struct fl_thread *thread = &batch->tracee->thread[batch->part[part].thread];
  uint8_t frame[FL_ARCH_RESUMPTION_BYTES];

  if (!fl_arch_is_kept(&thread->regs))
    return 0;
  int r = fl_arch_resumption(thread->tid, &thread->regs, batch->region, batch->region + REGION_BYTES, altstack, frame, err);
  if (r == 0)
    batch->part[part].frame = fl_batch_memory(batch, frame, sizeof frame);
  return r;
}

static uint32_t calls_of(const struct fl_batch *batch, uint32_t part)
{
  return (part + 1 < batch->parts ? batch->part[part + 1].first : batch->calls) - batch->part[part].first;
}

int fl_batch_start(struct fl_batch *batch, struct fl_error *err)
{
  if (batch->calls > FL_BATCH_CALLS_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "batch", "too much to do in the process at once");
  batch->touched = true;
  int r = fl_tracee_write(batch->tracee, batch->region + CALLS_AT, batch->call, batch->calls * sizeof batch->call[0], err);
  if (r == 0 && batch->used)
    r = fl_tracee_write(batch->tracee, batch->region + MEMORY_AT, batch->byte, batch->used, err);
  for (uint32_t i = 0; i < batch->parts && r == 0; i++) {
    const struct fl_thread *thread = &batch->tracee->thread[batch->part[i].thread];
    struct user_regs_struct regs = thread->regs;

    fl_arch_set_batch(&regs, batch->region, batch->region + REGION_BYTES, batch->region + CALLS_AT + batch->part[i].first * sizeof batch->call[0], calls_of(batch, i), batch->part[i].frame);
    if (ptrace(PTRACE_SETREGS, thread->tid, NULL, &regs) < 0 || ptrace(PTRACE_CONT, thread->tid, NULL, NULL) < 0)
      r = fl_fail_errno(err, "batch");
  }
  return r;
}

int fl_batch_finish(struct fl_batch *batch, struct fl_error *err)
{
  struct user_regs_struct regs;

  for (uint32_t i = 0; i < batch->parts; i++) {
    pid_t tid = batch->tracee->thread[batch->part[i].thread].tid;
    int stop = fl_tracee_wait(tid, err);

    if (stop < 0)
      return stop;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
      return fl_fail_errno(err, "ptrace_getregs");
    if (stop != SIGTRAP || regs.rip != batch->region + fl_arch_batch_bytes())
      return fl_fail(err, FL_ERR_UNSUPPORTED, EINTR, "batch", "stopped by %#x", stop);
  }
  int r = fl_tracee_read(batch->tracee, batch->region + CALLS_AT, batch->call, batch->calls * sizeof batch->call[0], err);
  return r < 0 || !batch->used ? r : fl_tracee_read(batch->tracee, batch->region + MEMORY_AT, batch->byte, batch->used, err);
}

int fl_batch_run(struct fl_batch *batch, uint32_t thread, struct fl_error *err)
{
  batch->parts = 1;
  batch->part[0].thread = thread;
  batch->part[0].first = 0;
  batch->part[0].frame = 0;
  int r = fl_batch_start(batch, err);
  return r < 0 ? r : fl_batch_finish(batch, err);
}
