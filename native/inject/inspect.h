/*
 * What a template may not hold, because a fork cannot carry it or would share it between sandboxes. Each refusal names the thing
 * (FL_ERR_UNSUPPORTED): shared writable memory, POSIX timers that are armed or notify anything but the process (and descriptors: descriptors.h). And what must be found in it: the two gadgets.
 */
#ifndef FLASHD_INSPECT_H
#define FLASHD_INSPECT_H
#include <flashd/error.h>
#include <flashd/rewound_seal.h>
#include <stdint.h>

#include "inject/tracee.h"

/* Its POSIX timers; whether one is armed only it can say itself. */
int fl_inspect_timers(pid_t pid, struct fl_timers *ret, struct fl_error *err);
int fl_inspect_memory(pid_t pid, struct fl_error *err);
/* Addresses in the executable file mappings of the (stopped) process. */
int fl_inspect_gadgets(const struct fl_tracee *tracee, uint64_t *ret_call, uint64_t *ret_sigreturn, struct fl_error *err);

/* What is free above its heap, or, if it has none, the largest stretch between two of its mappings; what lies in [but_from, but_from + but_bytes) counts as none. Empty when it cannot be told. */
struct fl_growth fl_inspect_growth(pid_t pid, uint64_t but_from, uint64_t but_bytes);

/* Calls visit for each mapping that fork would not copy (VmFlags dc) though it is ordinary memory. */
typedef int (*fl_inspect_visit)(void *context, uint64_t start, uint64_t bytes, struct fl_error *err);
int fl_inspect_dontfork(pid_t pid, fl_inspect_visit visit, void *context, struct fl_error *err);
#endif
