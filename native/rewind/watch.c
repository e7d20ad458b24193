/* See watch.h. Documentation/admin-guide/mm/userfaultfd.rst and pagemap.rst */
#include "rewind/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/packet.h"

/* Younger than the headers we build with. */
enum { WRITES_UNPOPULATED = 1 << 13, WRITES_ASYNCHRONOUS = 1 << 15 };

static int open_device(void)
{
  return open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
}

static int begin(int watch)
{
  struct uffdio_api api = {.api = UFFD_API, .features = WRITES_UNPOPULATED | WRITES_ASYNCHRONOUS};

  return ioctl(watch, UFFDIO_API, &api) < 0 ? -errno : 0;
}

bool fl_watch_possible(void)
{
  fl_autoclose int device = open_device();
  fl_autoclose int watch = device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);

  return watch >= 0 && begin(watch) == 0;
}

/* What a call has to have given, for the next batch. */
static int result(const struct fl_batch *batch, uint32_t call, struct fl_error *err)
{
  int64_t result = batch->call[call].result;

  return result < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, (int)-result, "watch", "system call %lu in the process", batch->call[call].number) : (int)result;
}

/* A descriptor of ours for it, through a pair of sockets of which it has made both ends. */
static int hand_over(struct fl_batch *batch, int pidfd, int device, int ret_pair[2], struct fl_error *err)
{
  fl_batch_begin(batch);
  uint64_t pair = fl_batch_memory(batch, NULL, 2 * sizeof ret_pair[0]);
  uint32_t call = fl_batch_add(batch, SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair, 0);
  int r = fl_batch_run(batch, 0, err);

  if (r == 0)
    r = result(batch, call, err);
  if (r < 0)
    return r;
  memcpy(ret_pair, fl_batch_bytes(batch, pair), 2 * sizeof ret_pair[0]);
  fl_autoclose int ours = pidfd_getfd(pidfd, ret_pair[0], 0);
  return ours < 0 || fl_packet_send(ours, "", 1, &device, 1) < 0 ? fl_fail_errno(err, "hand_over") : 0;
}

static int receive(struct fl_batch *batch, int socket, struct fl_error *err)
{
  union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control;
  int device;

  fl_batch_begin(batch);
  uint64_t byte = fl_batch_memory(batch, NULL, 1), room = fl_batch_memory(batch, NULL, sizeof control);
  uint64_t vector = fl_batch_memory(batch, &(struct iovec){(void *)byte, 1}, sizeof(struct iovec));
  const struct msghdr message = {.msg_iov = (void *)vector, .msg_iovlen = 1, .msg_control = (void *)room, .msg_controllen = sizeof control};
  uint32_t call = fl_batch_add(batch, SYS_recvmsg, (uint64_t)socket, fl_batch_memory(batch, &message, sizeof message), MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0, 0);
  int r = fl_batch_run(batch, 0, err);
  if (r == 0)
    r = result(batch, call, err);
  if (r < 0)
    return r;
  memcpy(&control, fl_batch_bytes(batch, room), sizeof control);
  if (control.header.cmsg_len != CMSG_LEN(sizeof device) || control.header.cmsg_type != SCM_RIGHTS)
    return fl_fail(err, FL_ERR_UNSUPPORTED, EPROTO, "watch", "no descriptor arrived");
  memcpy(&device, CMSG_DATA(&control.header), sizeof device);
  return device;
}

int fl_watch_open(struct fl_batch *batch, struct fl_error *err)
{
  fl_autoclose int device = open_device(), pidfd = pidfd_open(batch->tracee->pid, 0);
  int pair[2] = {-1, -1}, inside = -1, made = -1;

  if (device < 0 || pidfd < 0)
    return fl_fail_errno(err, "open_userfaultfd");
  int r = hand_over(batch, pidfd, device, pair, err);
  if (r == 0)
    r = inside = receive(batch, pair[1], err);
  if (r >= 0) {
    fl_batch_begin(batch);
    uint32_t call = fl_batch_add(batch, SYS_ioctl, (uint64_t)inside, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK, 0, 0);
    r = fl_batch_run(batch, 0, err);
    if (r == 0)
      r = made = result(batch, call, err);
  }
  fl_autoclose int watch = made < 0 ? -1 : pidfd_getfd(pidfd, made, 0);
  if (r >= 0 && (watch < 0 || (r = begin(watch)) < 0))
    r = fl_fail_errno(err, "watch");
  const int opened[] = {pair[0], pair[1], inside, made};
  fl_batch_begin(batch);
  for (size_t i = 0; i < FL_COUNT(opened); i++)
    if (opened[i] >= 0)
      fl_batch_add(batch, SYS_close, (uint64_t)opened[i], 0, 0, 0, 0);
  struct fl_error unused = {0};
  int closed = batch->calls ? fl_batch_run(batch, 0, r < 0 ? &unused : err) : 0;
  return r < 0 ? r : closed < 0 ? closed : fl_steal_fd(&watch);
}

int fl_watch_range(int watch, uint64_t start, uint64_t end, struct fl_error *err)
{
  struct uffdio_register request = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};

  return ioctl(watch, UFFDIO_REGISTER, &request) < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, errno, "watch", "memory at %#lx", start) : 0;
}
