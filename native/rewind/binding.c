/* See binding.h. */
#include "rewind/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/light.h"
#include "sys/packet.h"

enum { CONTROL_BYTES = CMSG_SPACE(FL_BINDING_FDS * sizeof(int)), BUSY_TRIES = 20, BUSY_US = 500 };

static const char place[] = "/function", root[] = "/";

int fl_binding_learn(pid_t instance, pid_t init, struct fl_binding *ret, struct fl_error *err)
{
  fl_autoclose int pidfd = pidfd_open(instance, 0);
  char path[64];

  *ret = (struct fl_binding){-1, -1, {-1, -1, -1}, {-1, -1}};
  if (pidfd < 0)
    return fl_fail_errno(err, "pidfd_open");
  if ((ret->own = fl_light_own(err)) < 0)
    return ret->own;
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", init);
  if ((ret->sandbox = open(path, O_RDONLY | O_CLOEXEC)) < 0)
    return fl_fail_errno(err, "open_mounts");
  for (int i = 0; i < FL_BINDING_FDS; i++)
    if ((ret->rest[i] = pidfd_getfd(pidfd, i + 1, 0)) < 0)
      return fl_fail_errno(err, "pidfd_getfd");
  return 0;
}

static int results(const struct fl_batch *batch, uint32_t from, struct fl_error *err)
{
  for (uint32_t i = from; i < batch->calls; i++)
    if (batch->call[i].result < 0)
      return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-batch->call[i].result, "bind", "system call %lu in the process", batch->call[i].number);
  return 0;
}

static int run(struct fl_batch *batch, uint32_t checked_from, struct fl_error *err)
{
  int r = fl_batch_run(batch, 0, err);

  return r < 0 ? r : results(batch, checked_from, err);
}

/* Nothing of it may be in use by anybody. A descriptor that was just closed may be let go of a moment later. */
static int unmount(void)
{
  int r = -1;

  for (int tries = 0; tries < BUSY_TRIES && (r = umount2(place, UMOUNT_NOFOLLOW)) < 0 && errno == EBUSY; tries++)
    usleep(BUSY_US);
  return r;
}

/* Whoever does not come back would go on with the sandbox's files: better not at all. */
static int change_mount(const struct fl_binding *binding, int mount, struct fl_error *err)
{
  if (setns(binding->sandbox, CLONE_NEWNS) < 0)
    return fl_fail_errno(err, "enter_mounts");
  int r = mount < 0 ? unmount() : move_mount(mount, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH), error = errno;
  if (setns(binding->own, CLONE_NEWNS) < 0)
    _exit(1);
  return r < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, error, "bind", mount < 0 ? "its function's files are still in use" : "its function's files cannot be mounted") : 0;
}

static int send_to(pid_t pid, int number, const int *fds, struct fl_error *err)
{
  fl_autoclose int pidfd = pidfd_open(pid, 0), near = pidfd < 0 ? -1 : pidfd_getfd(pidfd, number, 0);
  int r = near < 0 ? -errno : fl_packet_send(near, "", 1, fds, FL_BINDING_FDS);

  return r < 0 ? fl_fail(err, FL_ERR_SYSTEM, -r, "bind", "descriptors cannot be sent") : 0;
}

static void watch(struct fl_batch *batch, const struct fl_descriptors *carried, int operation)
{
  for (uint32_t i = 0; i < carried->watches; i++) {
    const struct fl_watch *watch = &carried->watch[i];
    struct epoll_event event = {.events = watch->events, .data.u64 = watch->data};

    if (watch->number <= FL_DATA_FD)
      fl_batch_add(batch, SYS_epoll_ctl, (uint64_t)watch->epoll, (uint64_t)operation, (uint64_t)watch->number, fl_batch_memory(batch, &event, sizeof event), 0);
  }
}

/* What is watched goes by the file as well as by the number: the one before may still be held by whoever it is lent from. The three numbers are taken, so that nothing else comes to stand there. */
static uint32_t take(struct fl_batch *batch, const struct fl_descriptors *carried)
{
  fl_batch_begin(batch);
  watch(batch, carried, EPOLL_CTL_DEL);
  uint32_t checked_from = batch->calls;
  for (int number = 1; number <= FL_BINDING_FDS; number++)
    fl_batch_add(batch, SYS_dup3, 0, (uint64_t)number, 0, 0, 0);
  return checked_from;
}

int fl_binding_take(struct fl_batch *batch, const struct fl_descriptors *carried, struct fl_error *err)
{
  return run(batch, take(batch, carried), err);
}

int fl_binding_ready(struct fl_binding *binding, struct fl_batch *batch, const struct fl_descriptors *carried, struct fl_error *err)
{
  uint32_t checked_from = take(batch, carried);
  uint64_t pair = fl_batch_memory(batch, NULL, 2 * sizeof(int));
  fl_batch_add(batch, SYS_chdir, fl_batch_memory(batch, root, sizeof root), 0, 0, 0, 0);
  fl_batch_add(batch, SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair, 0);
  int r = run(batch, checked_from, err);
  if (r == 0)
    memcpy(binding->pair, fl_batch_bytes(batch, pair), 2 * sizeof(int));
  return r;
}

static int receive(struct fl_batch *batch, int far, int *ret_fds, struct fl_error *err)
{
  fl_batch_begin(batch);
  uint64_t control = fl_batch_memory(batch, NULL, CONTROL_BYTES), word = fl_batch_memory(batch, NULL, 1);
  const struct iovec iov = {(void *)(uintptr_t)word, 1};
  const struct msghdr message = {.msg_iov = (void *)(uintptr_t)fl_batch_memory(batch, &iov, sizeof iov), .msg_iovlen = 1, .msg_control = (void *)(uintptr_t)control, .msg_controllen = CONTROL_BYTES};
  fl_batch_add(batch, SYS_recvmsg, (uint64_t)far, fl_batch_memory(batch, &message, sizeof message), MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0, 0);
  int r = run(batch, 0, err);
  if (r < 0)
    return r;
  const struct cmsghdr *header = fl_batch_bytes(batch, control);
  if (header->cmsg_len != CMSG_LEN(FL_BINDING_FDS * sizeof(int)) || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
    return fl_fail(err, FL_ERR_UNSUPPORTED, EPROTO, "bind", "descriptors do not arrive");
  memcpy(ret_fds, CMSG_DATA(header), FL_BINDING_FDS * sizeof(int));
  return 0;
}

static int place_all(struct fl_batch *batch, const struct fl_descriptors *carried, const int *pair, const int *fds, struct fl_error *err)
{
  fl_batch_begin(batch);
  for (int i = 0; i < FL_BINDING_FDS; i++)
    fl_batch_add(batch, SYS_dup3, (uint64_t)fds[i], (uint64_t)i + 1, i + 1 == FL_DATA_FD ? O_CLOEXEC : 0, 0, 0);
  for (int i = 0; i < FL_BINDING_FDS; i++)
    fl_batch_add(batch, SYS_close, (uint64_t)fds[i], 0, 0, 0, 0);
  for (int i = 0; i < 2; i++)
    fl_batch_add(batch, SYS_close, (uint64_t)pair[i], 0, 0, 0, 0);
  if (carried->data_flags)
    fl_batch_add(batch, SYS_fcntl, FL_DATA_FD, F_SETFL, carried->data_flags, 0, 0);
  fl_batch_add(batch, SYS_chdir, fl_batch_memory(batch, place, sizeof place), 0, 0, 0, 0);
  watch(batch, carried, EPOLL_CTL_ADD);
  return run(batch, 0, err);
}

int fl_binding_put(const struct fl_binding *binding, struct fl_batch *batch, const struct fl_descriptors *carried, const int *fds, int mount, struct fl_error *err)
{
  int arrived[FL_BINDING_FDS], r = change_mount(binding, mount, err);

  if (r == 0)
    r = send_to(batch->tracee->pid, binding->pair[0], fds, err);
  if (r == 0)
    r = receive(batch, binding->pair[1], arrived, err);
  return r < 0 ? r : place_all(batch, carried, binding->pair, arrived, err);
}
