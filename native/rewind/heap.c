/* See heap.h. */
#include "rewind/heap.h"

#include <sys/syscall.h>

#include "base/cleanup.h"

enum { KEEPS_PROGRAM = -1 };

/* Fields of stat (proc(5)). */
static const int fields[] = {26, 27, 28, 45, 46, 47, 48, 49, 50, 51};

static uint32_t add_addresses(struct fl_batch *batch, const struct fl_heap *heap)
{
  return fl_batch_add(batch, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, fl_batch_memory(batch, &heap->addresses, sizeof heap->addresses), sizeof heap->addresses, 0);
}

int fl_heap_learn(struct fl_batch *batch, const struct fl_proc *proc, struct fl_heap *ret, struct fl_error *err)
{
  uint64_t told[FL_COUNT(fields)];

  *ret = (struct fl_heap){0};
  fl_batch_begin(batch);
  uint32_t ask = fl_batch_add(batch, SYS_brk, 0, 0, 0, 0, 0);
  int r = fl_batch_run(batch, 0, err);
  if (r < 0)
    return r;
  ret->end = (uint64_t)batch->call[ask].result;
  if (fl_proc_stat(proc, fields, FL_COUNT(fields), told) < 0)
    return 0;
  ret->addresses = (struct prctl_mm_map){.start_code = told[0], .end_code = told[1], .start_stack = told[2], .start_data = told[3], .end_data = told[4], .start_brk = told[5], .brk = ret->end,
                                         .arg_start = told[6], .arg_end = told[7], .env_start = told[8], .env_end = told[9], .exe_fd = (uint32_t)KEEPS_PROGRAM};
  fl_batch_begin(batch);
  uint32_t set = add_addresses(batch, ret);
  if ((r = fl_batch_run(batch, 0, err)) < 0)
    return r;
  ret->settable = batch->call[set].result == 0;
  return 0;
}

uint32_t fl_heap_add(struct fl_batch *batch, const struct fl_heap *heap)
{
  return heap->settable ? add_addresses(batch, heap) : fl_batch_add(batch, SYS_brk, heap->end, 0, 0, 0, 0);
}
