/*
 * What a template holds beyond descriptors 0 … 3, and how each fork gets its own (parasite/descriptors.h): epolls with what they watch, eventfds with their count, pipes with
 * their content, timers, signalfds; files and directories on read-only mounts, opened to be read, and device nodes without state. Everything else is refused by its number
 * (FL_ERR_UNSUPPORTED), because forks would share it or could not have it: sockets, files to be written, pipes out of the process, io_uring, pidfds …
 */
#ifndef FLASHD_INJECT_DESCRIPTORS_H
#define FLASHD_INJECT_DESCRIPTORS_H
#include <flashd/error.h>
#include <sys/types.h>

#include "parasite/descriptors.h"

/* Of a stopped process, which is never to run again: pipes are emptied, eventfds changed. ret: zeroed. */
int fl_descriptors_describe(pid_t pid, struct fl_descriptors *ret, struct fl_error *err);
/* Computes the gaps for close_rest around the table, 0 … 3 and the parasite's own two. */
void fl_descriptors_enclose(struct fl_descriptors *descriptors, int socket, int bell);
#endif
