/*
 * One packet of an AF_UNIX SOCK_SEQPACKET socket, with descriptors. Descriptors arrive close-on-exec. A packet that is longer than the buffer,
 * or brings more descriptors than asked for, is refused with -EMSGSIZE and nothing of it is kept.
 */
#ifndef FLASHD_PACKET_H
#define FLASHD_PACKET_H
#include <stddef.h>
#include <sys/types.h>

enum { FL_PACKET_FDS_MAX = 16 };

/* 0 or -errno (-EAGAIN when the socket is full and nonblocking). Never raises SIGPIPE. */
int fl_packet_send(int socket_fd, const void *bytes, size_t size, const int *fds, size_t fd_count);
/* The packet's length, 0 at the end, or -errno. *ret_fd_count descriptors are the caller's to close. */
ssize_t fl_packet_receive(int socket_fd, void *bytes, size_t size, int *ret_fds, size_t fd_max, size_t *ret_fd_count);
#endif
