/*
 * From a booted, warm runtime to a template: stop it, refuse what cannot be carried, put the parasite in, write every thread's frame, let the other threads
 * go, and start the parasite on the main thread. 2–8 ms, once per template.
 */
#ifndef FLASHD_INFECT_H
#define FLASHD_INFECT_H
#include <flashd/error.h>
#include <sys/types.h>

#include "parasite/parasite.h"

struct fl_infection {
  int socket, bell;                            /* SOCK_SEQPACKET to the parasite; eventfd that says: something can be received */
  uint64_t region, region_bytes;               /* what a fork unmaps */
  uint64_t parasite_at;                        /* its struct fl_parasite */
  uint64_t call_at;                            /* a `syscall` instruction in the process, for later remote calls */
  uint32_t threads;
  pid_t tid[FL_PARASITE_THREADS_MAX];          /* at the freeze; every fork has them again, but (mostly) for the first */
};

/* data_fd: the far end of the process's descriptor 3, through which the parasite's descriptors are handed in. On success the process is a template;
 * on failure it is to be killed. */
int fl_infect(pid_t pid, int data_fd, struct fl_infection *ret_infection, struct fl_error *err);
#endif
