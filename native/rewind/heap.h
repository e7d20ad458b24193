/*
 * Where the heap ends, to the byte: which page that is in shows in the mappings, where in the page no kernel tells. brk(2) puts it back as a writer of the lock of the address space, and who waits for that holds up all who look at
 * the process meanwhile. PR_SET_MM_MAP (prctl(2); prctl_set_mm_map in kernel/sys.c, where it is configured) sets it as a reader, with the other addresses that the kernel keeps of a program, and needs no privilege for that.
 */
#ifndef FLASHD_REWIND_HEAP_H
#define FLASHD_REWIND_HEAP_H
#include <linux/prctl.h>
#include <stdbool.h>

#include "inject/batch.h"
#include "rewind/proc.h"

struct fl_heap { uint64_t end; bool settable; struct prctl_mm_map addresses; };

/* As it is now. */
int fl_heap_learn(struct fl_batch *batch, const struct fl_proc *proc, struct fl_heap *ret, struct fl_error *err);
/* For a heap that ends in the same page: the call that puts its end back, which has the same result each time. */
uint32_t fl_heap_add(struct fl_batch *batch, const struct fl_heap *heap);
#endif
