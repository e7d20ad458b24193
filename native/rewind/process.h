/* What /proc and system calls from outside tell of a stopped instance and its threads, and what can be put back from there. */
#ifndef FLASHD_REWIND_PROCESS_H
#define FLASHD_REWIND_PROCESS_H
#include "inject/tracee.h"
#include "rewind/facts.h"

/* init: of its sandbox. Threads in the tracee's order. */
int fl_process_facts(const struct fl_tracee *tracee, pid_t init, struct fl_facts *facts, struct fl_error *err);

struct fl_process_limits { uint64_t limit[32][2]; };
int fl_process_limits_get(pid_t pid, struct fl_process_limits *ret, struct fl_error *err);
/* Those that cannot be put back show in the facts. */
void fl_process_limits_put(pid_t pid, const struct fl_process_limits *limits);
#endif
