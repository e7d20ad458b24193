/* The child's side: from the clone to the runtime's next instruction. */
#ifndef FLASHD_PARASITE_CHILD_H
#define FLASHD_PARASITE_CHILD_H
#include "parasite/parasite.h"

/* Executes the plan; on a failing step reports it and exits. Never returns. */
__attribute__((noreturn)) void fl_child_run(struct fl_parasite *self, const struct fl_fork *fork, const int32_t *fds, uint64_t begun_ns);
#endif
