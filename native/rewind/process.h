/* What /proc and system calls from outside tell of a stopped instance and its threads, and what can be put back from there. */
#ifndef FLASHD_REWIND_PROCESS_H
#define FLASHD_REWIND_PROCESS_H
#include <stdbool.h>

#include "inject/tracee.h"
#include "rewind/facts.h"
#include "rewind/proc.h"

enum { FL_PROCESS_LIMITS_BYTES = 4096 };

/* told: by /proc/PID/limits. */
struct fl_process_limits { uint64_t limit[32][2]; char told[FL_PROCESS_LIMITS_BYTES]; };

int fl_process_limits_learn(const struct fl_proc *proc, struct fl_process_limits *ret, struct fl_error *err);
/* Puts limits back, and takes the facts of them. */
int fl_process_limits_put(const struct fl_proc *proc, const struct fl_process_limits *limits, struct fl_facts *facts, struct fl_error *err);
/* The same for everything else but its threads. kernels_own: where a mapping of the kernel's own lies, 0: there is none. */
int fl_process_put(const struct fl_proc *proc, uint64_t kernels_own, struct fl_facts *facts, struct fl_error *err);
/* The facts of that many threads. *ret_locked: memory is locked into place. */
int fl_process_threads(const struct fl_proc *proc, uint32_t threads, struct fl_facts *facts, bool *ret_locked, struct fl_error *err);
/* The facts that are told to the tracer alone. */
int fl_process_registrations(const struct fl_tracee *tracee, struct fl_facts *facts, struct fl_error *err);
#endif
