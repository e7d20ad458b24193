/*
 * What the launcher and the gateway need of the operating system beyond Node's own API. Every function returns a value >= 0, or -errno and
 * fills err.
 */
#ifndef FLASHD_PROCESS_H
#define FLASHD_PROCESS_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { FL_TURN_NS = 100000 };                  /* the shortest that the kernel grants */

/* A memfd (close-on-exec, mode 0555) with these bytes, sealed: neither its content, its size nor its seals can change. */
int fl_memfd(const char *name, const void *bytes, size_t size, struct fl_error *err);
/* Replaces the process, which keeps the standard streams and keep_fds. Returns on failure only: signals are then as they were. argv and envp
 * end with NULL. */
int fl_exec(int fd, char *const argv[], char *const envp[], const int *keep_fds, size_t keep_count, struct fl_error *err);
int fl_peer(int fd, struct ucred *ret_peer, struct fl_error *err);
/* Of this process's two sockets that listen on a port together, new connections go to the younger one, so that the elder's queue can be emptied before it is closed: what is in a closed
 * one's queue is reset (SO_ATTACH_REUSEPORT_CBPF, socket(7)). */
int fl_prefer_successor(uint16_t port, struct fl_error *err);
/* The calling thread asks the fair scheduler for short turns, and gets them sooner: without, whoever works beside it ends his own first, 3 to 4 ms. It gets no more of the processor for that. Linux 6.12; others take no notice. */
int fl_prefer_short_turns(struct fl_error *err);
/* The calling thread runs in the lane (base/lane.h) and all others of the process elsewhere; or all wherever they may. Returns whether there is a lane. Threads that are made meanwhile are where their makers are. */
int fl_keep_lane(bool open, struct fl_error *err);
#endif
