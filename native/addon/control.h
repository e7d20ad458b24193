/*
 * The control socket to sandboxd and the supervisor's lifeline, both SOCK_SEQPACKET.
 */
#ifndef FLASHD_CONTROL_H
#define FLASHD_CONTROL_H
#include <flashd/error.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
  FL_CONTROL_QUEUE_CREATES = 256,              /* packets waiting for sandboxd to read, beyond which no packet with descriptors is taken */
  FL_CONTROL_QUEUE_MAX = 1 << 17,              /* … and none at all: there is room to destroy every instance */
  FL_CONTROL_TURN_PACKETS = 256,               /* read in one turn */
  FL_LIFELINE_TURN_PACKETS = 4
};

/* Own fd from success on. A new control socket replaces the one before, of which nothing is told any more. */
int fl_control_open(uv_loop_t *loop, int fd, struct fl_error *err);
int fl_lifeline_open(uv_loop_t *loop, int fd, struct fl_error *err);
/* To the supervisor: flashd/lifeline.h. What does not get through is its silence, which a watchdog hears. */
void fl_lifeline_tell(char word);
void fl_control_stop(void);

/* Sends now, or queues a copy (descriptors duplicated) while sandboxd is busy; -EAGAIN when the queue is full. */
int fl_control_send(const void *packet, size_t size, const int *fds, size_t fd_count, struct fl_error *err);
/* Reads what has come. Called after the loop has polled, so that a packet follows the data sent before it. */
void fl_control_read(void);
/* Changes with every control socket: events of an older one are void. */
uint32_t fl_control_generation(void);
#endif
