/* See descriptors.h. */
#include "parasite/descriptors.h"

#include <flashd/frame.h>

#include "parasite/sys.h"

/* packed: on x86-64 the kernel's ABI has no hole between the two. */
struct epoll_event { uint32_t events; uint64_t data; } __attribute__((packed));

/* Moves a new descriptor to its number, over the template's. */
static long settle(long fd, int32_t number, uint32_t flags)
{
  if (fd < 0)
    return fd;
  long result = fl_syscall(FL_NR_dup3, fd, number, flags & FL_O_CLOEXEC, 0, 0);
  fl_syscall(FL_NR_close, fd, 0, 0, 0, 0);
  return result;
}

static long make_eventfd(const struct fl_carried *carried)
{
  /* The call itself takes only 32 bits of a count. */
  long fd = fl_syscall(FL_NR_eventfd2, 0, (carried->flags & FL_O_NONBLOCK) | carried->eventfd.semaphore, 0, 0, 0), result = 0;

  if (fd >= 0 && carried->eventfd.count)
    result = fl_syscall(FL_NR_write, fd, (long)&carried->eventfd.count, sizeof carried->eventfd.count, 0, 0);
  return result < 0 ? result : settle(fd, carried->number, carried->flags);
}

static long make_pipe(const struct fl_carried *carried, const char *content)
{
  int32_t ends[2];
  long result = fl_syscall(FL_NR_pipe2, (long)ends, 0, 0, 0, 0);

  if (result >= 0 && carried->bytes)
    result = fl_syscall(FL_NR_write, ends[1], (long)content, carried->bytes, 0, 0);
  if (result >= 0)
    result = fl_syscall(FL_NR_fcntl, ends[0], FL_F_SETFL, carried->flags & FL_O_NONBLOCK, 0, 0);
  if (result >= 0)
    result = fl_syscall(FL_NR_fcntl, ends[1], FL_F_SETFL, carried->write_end.flags & FL_O_NONBLOCK, 0, 0);
  if (result >= 0)
    result = settle(ends[0], carried->number, carried->flags);
  return result < 0 ? result : settle(ends[1], carried->write_end.number, carried->write_end.flags);
}

static long make_ended(const struct fl_carried *carried)
{
  int32_t ends[2];
  long result = fl_syscall(FL_NR_socketpair, FL_AF_UNIX, FL_SOCK_STREAM | (carried->flags & FL_O_NONBLOCK), 0, (long)ends, 0);

  if (result >= 0)
    result = fl_syscall(FL_NR_close, ends[1], 0, 0, 0, 0);
  return result < 0 ? result : settle(ends[0], carried->number, carried->flags);
}

static long make_file(const struct fl_carried *carried, const char *path)
{
  long fd = fl_syscall(FL_NR_open, (long)path, carried->flags, 0, 0, 0), result = 0;

  if (fd >= 0 && carried->offset)
    result = fl_syscall(FL_NR_lseek, fd, (long)carried->offset, FL_SEEK_SET, 0, 0);
  return result < 0 ? result : settle(fd, carried->number, carried->flags);
}

static long make(const struct fl_carried *carried, const char *bytes)
{
  uint32_t flags = carried->flags & FL_O_NONBLOCK;

  switch (carried->kind) {
  case FL_CARRIED_EVENTFD: return make_eventfd(carried);
  case FL_CARRIED_PIPE: return make_pipe(carried, bytes);
  case FL_CARRIED_TIMER: return settle(fl_syscall(FL_NR_timerfd_create, carried->timer.clock, flags, 0, 0, 0), carried->number, carried->flags);
  case FL_CARRIED_SIGNALS: return settle(fl_syscall(FL_NR_signalfd4, -1, (long)&carried->signals, sizeof carried->signals, flags, 0), carried->number, carried->flags);
  case FL_CARRIED_EPOLL: return settle(fl_syscall(FL_NR_epoll_create1, 0, 0, 0, 0, 0), carried->number, carried->flags);
  case FL_CARRIED_FILE: return make_file(carried, bytes);
  case FL_CARRIED_ENDED: return make_ended(carried);
  case FL_CARRIED_DUPLICATE: return fl_syscall(FL_NR_dup3, carried->original, carried->number, carried->flags & FL_O_CLOEXEC, 0, 0);
  default: return -FL_EINVAL;
  }
}

static long watch(const struct fl_descriptors *self, int assigned)
{
  long result = 0;

  for (uint32_t i = 0; i < self->watches && result >= 0; i++) {
    const struct fl_watch *watch = &self->watch[i];
    struct epoll_event event = {watch->events, watch->data};

    if ((watch->number <= FL_DATA_FD) == assigned)
      result = fl_syscall(FL_NR_epoll_ctl, watch->epoll, FL_EPOLL_CTL_ADD, watch->number, (long)&event, 0);
  }
  return result;
}

static long make_all(const struct fl_descriptors *self, uint32_t late)
{
  long result = 0;

  for (uint32_t i = 0; i < self->count && result >= 0; i++)
    if (self->carried[i].late == late)
      result = make(&self->carried[i], self->byte + self->carried[i].at);
  return result;
}

long fl_descriptors_make(const struct fl_descriptors *self)
{
  long result;

  result = make_all(self, 0);
  return result < 0 ? result : watch(self, 0);
}

static long start_timer(const struct fl_carried *carried)
{
  long result = fl_syscall(FL_NR_timerfd_settime, carried->number, carried->timer.flags, (long)carried->timer.interval, 0, 0);

  if (result >= 0 && carried->timer.ticks)
    result = fl_syscall(FL_NR_ioctl, carried->number, FL_TFD_IOC_SET_TICKS, (long)&carried->timer.ticks, 0, 0);
  return result;
}

long fl_descriptors_start(const struct fl_descriptors *self)
{
  long result = self->data_flags ? fl_syscall(FL_NR_fcntl, FL_DATA_FD, FL_F_SETFL, self->data_flags, 0, 0) : 0;

  if (result >= 0)
    result = make_all(self, 1);
  if (result >= 0)
    result = watch(self, 1);
  for (uint32_t i = 0; i < self->count && result >= 0; i++)
    if (self->carried[i].kind == FL_CARRIED_TIMER)
      result = start_timer(&self->carried[i]);
  return result;
}

static long close_numbers(uint32_t first, uint32_t last)
{
  return first <= last ? fl_syscall(FL_NR_close_range, first, last, 0, 0, 0) : 0;
}

/* but: no number, or one that stays. */
long fl_descriptors_close_rest(const struct fl_descriptors *self, int32_t but)
{
  uint32_t kept = (uint32_t)but;
  long result = 0;

  for (uint32_t i = 0; i < self->gaps && result >= 0; i++) {
    uint32_t first = self->gap[i].first, last = self->gap[i].last;

    if (but < 0 || kept < first || kept > last) {
      result = close_numbers(first, last);
    } else {
      result = close_numbers(first, kept - 1);
      if (result >= 0)
        result = close_numbers(kept + 1, last);
    }
  }
  return result;
}
