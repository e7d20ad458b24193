/* See monitor.h: the process and its loop. Each turn takes one notification of each listener that has any, so that no instance waits for more than one of every other's. */
#include "intercept/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "intercept/confine.h"
#include "intercept/watch.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { EVENTS_MAX = 64, RESUME_MS = 1, AWAKE_NS = 400000 };

/* Kernel 6.6: the two sides wake each other on one processor. Debian 12's headers lack it. */
#define NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define NOTIF_SYNC_WAKE_UP 1ul

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1ul << 5)
#endif

/* With the second one (kernel 5.19) signals do not interrupt a call that is being looked at: it would be asked for twice. */
uint32_t fl_monitor_install_flags(void)
{
  uint32_t flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT ? flags : SECCOMP_FILTER_FLAG_NEW_LISTENER;
}

static uint64_t now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int add(const struct fl_monitor *monitor, int fd, struct fl_watch *watch)
{
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};

  return epoll_ctl(monitor->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Freed at the end of the turn: events of this one may name it still. */
static void end(struct fl_monitor *monitor, struct fl_watch *watch)
{
  fl_connecting_cancel(monitor, watch);
  fl_target_forget(watch);
  /* Its file may stay open elsewhere, in a thread that connects or in the instance: closed here, it would go on telling of events of a watch that is gone. */
  if (watch->listener >= 0)
    epoll_ctl(monitor->epoll, EPOLL_CTL_DEL, watch->listener, NULL);
  fl_close(&watch->link);
  fl_close(&watch->pidfd);
  fl_close(&watch->listener);
  fl_close(&watch->root);
  watch->over = true;
}

static void give_up(struct fl_monitor *monitor, struct fl_watch *watch)
{
  struct fl_syscall event = {.header = {.type = FL_MSG_SYSCALL, .size = sizeof event}, .instance = watch->instance};

  fl_packet_send(monitor->socket, &event, sizeof event, NULL, 0);
  end(monitor, watch);
}

static void attach(struct fl_monitor *monitor)
{
  struct fl_attach request;
  int link = -1;
  size_t fds;
  ssize_t size = fl_packet_receive(monitor->socket, &request, sizeof request, &link, 1, &fds);

  if (size == -EAGAIN)
    return;
  if (size != (ssize_t)sizeof request || fds != 1)
    _exit(0);                                    /* sandboxd is gone */
  struct fl_watch *watch = calloc(1, sizeof *watch);
  if (!watch)
    _exit(1);
  *watch = (struct fl_watch){.instance = request.instance, .id = request.id, .link = link, .pidfd = -1, .listener = -1, .root = -1, .knocks = request.knocks, .policy = request.policy,
                             .notices = FL_MONITOR_NOTICES_PER_SECOND, .events = FL_MONITOR_EVENTS_BURST, .refilled_ns = now_ns()};
  LIST_INSERT_HEAD(&monitor->watches, watch, all);
  if (request.knocks > 0) {
    monitor->awaited++;
    monitor->awake_until_ns = now_ns() + AWAKE_NS;
  }
  if (add(monitor, link, watch) < 0)
    give_up(monitor, watch);
}

/* A descriptor of another kind would never end, and its watch neither. */
static bool is_listener(int fd)
{
  uint64_t nobody = 0;

  return ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &nobody) < 0 && errno == ENOENT;
}

static void listen_to(struct fl_monitor *monitor, struct fl_watch *watch, int listener)
{
  fl_close(&watch->link);
  fl_close(&watch->pidfd);
  watch->listener = listener;
  if (listener < 0 || !is_listener(listener) || add(monitor, listener, watch) < 0) {
    give_up(monitor, watch);
    return;
  }
  ioctl(listener, NOTIF_SET_FLAGS, NOTIF_SYNC_WAKE_UP);   /* faster; an older kernel does not know it */
}

/* The hello brings the listener; or it says where it will be, and the link's end that it is there. */
static void link_readable(struct fl_monitor *monitor, struct fl_watch *watch)
{
  struct fl_intercept_hello hello;
  fl_autoclose int fd = -1;
  size_t fds;
  ssize_t size = fl_packet_receive(watch->link, &hello, sizeof hello, &fd, 1, &fds);

  if (size == -EAGAIN)
    return;
  bool heard = size == (ssize_t)sizeof hello && fds == 1 && watch->pidfd < 0;
  if (heard && hello.listener == FL_LISTENER_SENT && watch->knocks == 0) {
    listen_to(monitor, watch, fl_steal_fd(&fd));
  } else if (heard && hello.listener >= 0 && watch->knocks > 0) {
    watch->pidfd = fl_steal_fd(&fd);
    watch->number = hello.listener;
  } else if (size == 0 && watch->pidfd >= 0) {
    listen_to(monitor, watch, pidfd_getfd(watch->pidfd, watch->number, 0));
  } else {
    give_up(monitor, watch);                     /* or it has ended before it came so far */
  }
}

static void refill(struct fl_watch *watch)
{
  uint64_t now = now_ns();
  double seconds = (double)(now - watch->refilled_ns) / 1e9;

  watch->refilled_ns = now;
  watch->notices += seconds * FL_MONITOR_NOTICES_PER_SECOND;
  watch->events += seconds * FL_MONITOR_EVENTS_PER_SECOND;
  watch->notices = watch->notices < FL_MONITOR_NOTICES_PER_SECOND ? watch->notices : FL_MONITOR_NOTICES_PER_SECOND;
  watch->events = watch->events < FL_MONITOR_EVENTS_BURST ? watch->events : FL_MONITOR_EVENTS_BURST;
}

/* Paused, it is not listened to, but for its end. */
static void pause_watch(const struct fl_monitor *monitor, struct fl_watch *watch, bool paused)
{
  struct epoll_event event = {.events = paused ? 0 : EPOLLIN, .data.ptr = watch};

  watch->paused = paused;
  epoll_ctl(monitor->epoll, EPOLL_CTL_MOD, watch->listener, &event);
}

static void listener_ready(struct fl_monitor *monitor, struct fl_watch *watch, uint32_t events)
{
  if (events & EPOLLIN) {
    refill(watch);
    if (watch->notices < 1)
      pause_watch(monitor, watch, true);
    else if (!fl_notify(monitor, watch))
      give_up(monitor, watch);
  } else if (events & (EPOLLHUP | EPOLLERR)) {
    end(monitor, watch);                         /* nobody has the filter any more */
  }
}

/* Frees what is over, listens again to who has waited long enough. True when somebody still waits. */
static bool tidy(struct fl_monitor *monitor)
{
  struct fl_watch *watch = LIST_FIRST(&monitor->watches);
  bool waiting = false;

  while (watch) {
    struct fl_watch *next = LIST_NEXT(watch, all);

    if (watch->over) {
      LIST_REMOVE(watch, all);
      free(watch);
    } else if (watch->paused) {
      refill(watch);
      if (watch->notices >= 1)
        pause_watch(monitor, watch, false);
      waiting |= watch->paused;
    }
    watch = next;
  }
  return waiting;
}

/* Data of an event: a watch, or the address of one of the monitor's own descriptors. */
static bool dispatch(struct fl_monitor *monitor, const struct epoll_event *event)
{
  struct fl_watch *watch = event->data.ptr;

  if (event->data.ptr == &monitor->socket) {
    attach(monitor);
  } else if (event->data.ptr == &monitor->finished) {
    fl_connecting_finished(monitor);
  } else if (!watch->over) {
    if (watch->listener >= 0)
      listener_ready(monitor, watch, event->events);
    else
      link_readable(monitor, watch);
    return watch->over || watch->paused;
  }
  return false;
}

/* An instance is on its way, and will knock in a moment: going to sleep, and being woken on an idle processor, would take longer than that. */
static bool is_awaited(struct fl_monitor *monitor)
{
  if (monitor->awaited && now_ns() > monitor->awake_until_ns)
    monitor->awaited = 0;
  return monitor->awaited > 0;
}

static void loop(struct fl_monitor *monitor)
{
  struct epoll_event events[EVENTS_MAX];
  bool waiting = false;

  for (;;) {
    int count = epoll_wait(monitor->epoll, events, EVENTS_MAX, is_awaited(monitor) ? 0 : waiting ? RESUME_MS : -1);
    bool changed = waiting;

    for (int i = 0; i < count; i++)
      changed |= dispatch(monitor, &events[i]);
    if (changed)
      waiting = tidy(monitor);
  }
}

static int drop_privileges(uint32_t id)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  uint32_t kept = 1u << CAP_SYS_PTRACE | 1u << CAP_SETUID | 1u << CAP_SETGID;
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = kept, .permitted = kept}};
  int r = fl_capabilities_bound_none();

  if (r < 0)
    return r;
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
    return -errno;
  if (syscall(SYS_capset, &header, data) < 0)
    return -errno;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

static int prepare(struct fl_monitor *monitor, pid_t parent)
{
  struct rlimit descriptors;
  int pipe_ends[2], r;

  fl_signals_reset();
  umask(0);                                      /* a file's mode is made from its creator's */
  if ((r = fl_close_others(&monitor->socket, 1)) < 0 || (r = drop_privileges(monitor->id)) < 0 || (r = fl_die_with_parent(parent)) < 0)
    return r;
  if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0)
    return -errno;
  descriptors.rlim_cur = descriptors.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &descriptors) < 0 || prctl(PR_SET_NAME, "flashd-monitor", 0, 0, 0) < 0 || pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return -errno;
  monitor->finished = pipe_ends[0];
  monitor->done = pipe_ends[1];
  monitor->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  monitor->self = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  monitor->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (monitor->proc < 0 || monitor->self < 0 || monitor->epoll < 0 || fcntl(monitor->socket, F_SETFL, O_NONBLOCK) < 0)
    return -errno;
  if ((r = add(monitor, monitor->socket, (void *)&monitor->socket)) < 0 || (r = add(monitor, monitor->finished, (void *)&monitor->finished)) < 0)
    return r;
  return fl_monitor_confine();
}

void fl_monitor_run(int socket, uint32_t id, pid_t parent)
{
  static struct fl_monitor monitor;

  monitor.socket = socket;
  monitor.id = id;
  int r = prepare(&monitor, parent);
  if (r < 0)
    _exit(-r);
  loop(&monitor);
  _exit(0);
}
