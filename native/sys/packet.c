/*
 * Packets with descriptors: see packet.h.
 */
#include "sys/packet.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
  struct cmsghdr header;                         /* for its alignment */
  char bytes[CMSG_SPACE(sizeof(int) * FL_PACKET_FDS_MAX)];
};

int fl_packet_send(int socket_fd, const void *bytes, size_t size, const int *fds, size_t fd_count)
{
  struct iovec part = { .iov_base = (void *)bytes, .iov_len = size };
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
  union control control;
  ssize_t sent;

  if (fd_count > FL_PACKET_FDS_MAX)
    return -EMSGSIZE;
  if (fd_count > 0) {
    struct cmsghdr *header;

    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
  }
  do
    sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : 0;
}

ssize_t fl_packet_receive(int socket_fd, void *bytes, size_t size, int *ret_fds, size_t fd_max, size_t *ret_fd_count)
{
  struct iovec part = { .iov_base = bytes, .iov_len = size };
  union control control;
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
  size_t count = 0;
  bool refuse;
  ssize_t got;

  *ret_fd_count = 0;
  do
    got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return -errno;
  refuse = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    size_t in_header;

    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    in_header = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < in_header; index++) {
      int fd;

      memcpy(&fd, CMSG_DATA(header) + index * sizeof(int), sizeof fd);
      if (count < fd_max && !refuse) {
        ret_fds[count++] = fd;
      } else {
        close(fd);
        refuse = true;
      }
    }
  }
  if (refuse) {
    for (size_t index = 0; index < count; index++)
      close(ret_fds[index]);
    return -EMSGSIZE;
  }
  *ret_fd_count = count;
  return got;
}
