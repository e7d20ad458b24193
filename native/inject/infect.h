/*
 * From a booted, warm runtime to a template: stop it, refuse what cannot be carried, put the parasite in, write every thread's frame, let the other threads
 * go, and start the parasite on the main thread. 2–8 ms, once per template.
 */
#ifndef FLASHD_INFECT_H
#define FLASHD_INFECT_H
#include <flashd/error.h>
#include <sys/types.h>

/* data_fd: the far end of the process's descriptor 3, through which the parasite's socket is handed in. On success the process is a template and
 * *ret_socket (SOCK_SEQPACKET) speaks to its parasite; on failure it is to be killed. ret_tids (FL_PARASITE_THREADS_MAX entries) and
 * *ret_threads: the threads it had. *ret_call_at: a `syscall` instruction in it, for later calls. */
int fl_infect(pid_t pid, int data_fd, int *ret_socket, uint64_t *ret_call_at, pid_t *ret_tids, uint32_t *ret_threads, struct fl_error *err);
#endif
