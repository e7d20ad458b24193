/* See daemon.h: the loop. */
#include "sandboxd/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <flashd/lifeline.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "sandbox/light.h"
#include "sandboxd/confine.h"
#include "sandboxd/features.h"
#include "sandboxd/run.h"
#include "sys/packet.h"

enum { EVENTS_MAX = 64, MILLISECOND = 1000000, CONTROL_BURST_MAX = 64, SOCKET_BUFFER_BYTES = 4 << 20, SWEEP_SHARE = 50, SWEEP_MS_MAX = 50, MAPPED_BYTES = 128 << 10 };

uint64_t fl_daemon_now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void fl_daemon_log(const char *format, ...)
{
  char text[512];
  va_list arguments;

  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "flashd-sandboxd: %s\n", text);
}

void fl_daemon_log_error(const char *what, const struct fl_error *err)
{
  fl_daemon_log("%s: %s: %s%s%s", what, err->op, err->detail, err->errno_value ? ": " : "", err->errno_value ? strerror(err->errno_value) : "");
}

int fl_daemon_watch(struct fl_daemon *daemon, int fd, enum fl_source source, uint32_t index)
{
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};

  return epoll_ctl(daemon->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void drop_control(struct fl_daemon *daemon)
{
  if (daemon->control < 0)
    return;
  fl_close(&daemon->control);
  fl_functions_forget_all(daemon);
  fl_instances_kill_all(daemon);
}

void fl_daemon_send(struct fl_daemon *daemon, const void *message, size_t size)
{
  if (daemon->control < 0)
    return;
  int r = fl_packet_send(daemon->control, message, size, NULL, 0);
  if (r < 0) {
    fl_daemon_log("the gateway is lost: %s", strerror(-r));
    shutdown(daemon->control, SHUT_RDWR);        /* the loop sees the end and drops it, outside of whatever is going on now */
  }
}

static void control_readable(struct fl_daemon *daemon)
{
  uint8_t packet[FL_MESSAGE_MAX];
  int fds[FL_CREATE_DESCRIPTORS];
  union fl_request request;

  for (int burst = 0; burst < CONTROL_BURST_MAX && daemon->control >= 0; burst++) {
    struct fl_error err = {0};
    size_t fd_count = 0;
    ssize_t size = fl_packet_receive(daemon->control, packet, sizeof packet, fds, FL_CREATE_DESCRIPTORS, &fd_count);

    if (size == -EAGAIN)
      return;
    if (size <= 0 && size != -EMSGSIZE) {
      drop_control(daemon);
      return;
    }
    if (fl_control_decode(packet, size < 0 ? 0 : (size_t)size, fd_count, &request, &err) < 0)
      fl_commands_refuse(daemon, request.header.request, &err);
    else
      fl_commands_run(daemon, &request, fds);
    for (size_t i = 0; i < fd_count; i++)
      fl_close(&fds[i]);
  }
}

/* A new gateway: its control socket replaces the one before. */
static void lifeline_readable(struct fl_daemon *daemon)
{
  char word;
  int fd = -1;
  size_t fd_count = 0;
  ssize_t size = fl_packet_receive(daemon->lifeline, &word, 1, &fd, 1, &fd_count);

  if (size == -EAGAIN)
    return;
  if (size != 1 || word != FL_LIFELINE_CONTROL || fd_count != 1) {
    daemon->stopping = true;
    return;
  }
  drop_control(daemon);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  daemon->control = fd;
  if (fl_daemon_watch(daemon, fd, FL_SOURCE_CONTROL, 0) < 0)
    drop_control(daemon);
}

static bool known(const struct fl_daemon *daemon, pid_t pid)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->pid == pid || daemon->instance[i]->keeper == pid)
      return true;
  for (uint32_t i = 0; i < daemon->template_slots; i++)
    if (daemon->template_slot[i].template.pid == pid)
      return true;
  for (uint32_t i = 0; i < FL_FUNCTIONS_MAX; i++)
    if (daemon->function[i] && (daemon->function[i]->template.pid == pid || daemon->function[i]->helper == pid))
      return true;
  return pid == daemon->monitor || fl_parts_runs(daemon->parts, pid);
}

bool fl_daemon_new_child(const struct fl_daemon *daemon, pid_t pid)
{
  siginfo_t unused;

  for (uint32_t i = 0; i < daemon->early_ends; i++)
    if (daemon->early_end[i].pid == pid)
      return true;
  return waitid(P_PID, (id_t)pid, &unused, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && !known(daemon, pid);
}

/* One child, or with -1 every one that has ended. */
static void reap(struct fl_daemon *daemon, pid_t which)
{
  struct rusage usage;
  int status;

  for (pid_t pid; (pid = wait4(which, &status, WNOHANG | __WALL, &usage)) > 0;) {
    uint64_t cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);

    if (fl_instances_reaped(daemon, pid, status, cpu_us) || fl_keepers_reaped(daemon, pid) || fl_parts_reaped(daemon->parts, pid, status) || fl_templates_reaped(daemon, pid, status) ||
        fl_functions_reaped(daemon, pid, status) || fl_interception_reaped(daemon, pid, status) || fl_names_reaped(daemon, pid, status))
      continue;
    if (fl_instances_unknown_child(daemon) && daemon->early_ends < FL_EARLY_ENDS_MAX)
      daemon->early_end[daemon->early_ends++] = (struct fl_early_end){pid, status, cpu_us};
  }
  if (!fl_instances_unknown_child(daemon))
    daemon->early_ends = 0;
}

static void signal_readable(struct fl_daemon *daemon)
{
  struct signalfd_siginfo info;

  while (read(daemon->signals, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo != SIGCHLD)
      daemon->stopping = true;
    else if (info.ssi_pid > 0)
      reap(daemon, (pid_t)info.ssi_pid);
  }
  if (!daemon->sweep_ns) {
    uint64_t pause_ns = MILLISECOND + daemon->sweep_took_ns * SWEEP_SHARE;

    daemon->sweep_ns = fl_daemon_now_ns() + (pause_ns < SWEEP_MS_MAX * MILLISECOND ? pause_ns : SWEEP_MS_MAX * MILLISECOND);
  }
}

/*
 * SIGCHLD names one child and is not queued: others may have ended with it. Asking for any child costs the kernel a look at each, a third of a millisecond with a thousand functions: that is done
 * a moment later, once for all signals until then, so that it takes a fiftieth of the time.
 */
static void sweep(struct fl_daemon *daemon)
{
  uint64_t started_ns = fl_daemon_now_ns();

  daemon->sweep_ns = 0;
  reap(daemon, -1);
  daemon->sweep_took_ns = fl_daemon_now_ns() - started_ns;
}

static void parts_readable(struct fl_daemon *daemon)
{
  struct fl_error err = {0};

  if (fl_parts_dispatch(daemon->parts, &err) < 0)
    fl_daemon_log_error("parts", &err);
  if (fl_parts_egress_lost(daemon->parts)) {
    fl_daemon_log("somebody has removed flashd's rules from nftables: every function with egress is ended");
    fl_names_end(daemon);
    fl_instances_kill_network(daemon, FL_NETWORK_EGRESS);
  }
  fl_starts_retry_waiting(daemon);
}

static void handle(struct fl_daemon *daemon, const struct epoll_event *event)
{
  switch ((enum fl_source)(event->data.u64 >> 32)) {
  case FL_SOURCE_LIFELINE: lifeline_readable(daemon); break;
  case FL_SOURCE_CONTROL: control_readable(daemon); break;
  case FL_SOURCE_SIGNALS: signal_readable(daemon); break;
  case FL_SOURCE_PARTS: parts_readable(daemon); break;
  case FL_SOURCE_PROBE: fl_probe_readable(daemon, (uint32_t)event->data.u64); break;
  case FL_SOURCE_KEEPER: fl_keepers_readable(daemon, (uint32_t)event->data.u64); break;
  case FL_SOURCE_FUNCTION: fl_functions_readable(daemon, (uint32_t)event->data.u64); break;
  case FL_SOURCE_MONITOR: fl_interception_readable(daemon); break;
  case FL_SOURCE_NAMES: fl_names_readable(daemon); break;
  case FL_SOURCE_TEMPLATE: fl_templates_readable(daemon, (uint32_t)event->data.u64); break;
  }
}

static int wait_ms(struct fl_daemon *daemon)
{
  uint64_t now = fl_daemon_now_ns(), nearest = fl_templates_deadline_ns(daemon), instances = fl_instances_deadline_ns(daemon);

  uint64_t spares = fl_spares_deadline_ns(daemon), functions = fl_functions_deadline_ns(daemon), names = fl_names_deadline_ns(daemon), rested = fl_rested_deadline_ns(daemon), bombs = fl_bombs_deadline_ns(daemon);

  nearest = functions < nearest ? functions : nearest;
  nearest = names < nearest ? names : nearest;
  nearest = instances < nearest ? instances : nearest;
  nearest = spares < nearest ? spares : nearest;
  nearest = rested < nearest ? rested : nearest;
  nearest = bombs < nearest ? bombs : nearest;
  nearest = daemon->sweep_ns && daemon->sweep_ns < nearest ? daemon->sweep_ns : nearest;
  if (nearest == UINT64_MAX)
    return -1;
  return nearest <= now ? 0 : (int)((nearest - now) / MILLISECOND) + 1;
}

static void loop(struct fl_daemon *daemon)
{
  struct epoll_event events[EVENTS_MAX];

  while (!daemon->stopping) {
    int count = epoll_wait(daemon->epoll, events, EVENTS_MAX, wait_ms(daemon));
    uint64_t now = fl_daemon_now_ns();

    /* Templates before SIGCHLD: a fork's pid is known, wherever possible, before its end is. */
    for (int i = 0; i < count; i++)
      if (events[i].data.u64 >> 32 == FL_SOURCE_TEMPLATE || events[i].data.u64 >> 32 == FL_SOURCE_FUNCTION)
        handle(daemon, &events[i]);
    for (int i = 0; i < count; i++)
      if (events[i].data.u64 >> 32 != FL_SOURCE_TEMPLATE && events[i].data.u64 >> 32 != FL_SOURCE_FUNCTION)
        handle(daemon, &events[i]);
    if (daemon->sweep_ns && daemon->sweep_ns <= now)
      sweep(daemon);
    fl_instances_expire(daemon, now);
    fl_functions_expire(daemon, now);
    fl_functions_run(daemon);
    fl_names_run(daemon, now);
    fl_templates_run(daemon, now);
    fl_spares_fill(daemon, fl_daemon_now_ns());
    fl_rested_run(daemon, fl_daemon_now_ns());
    fl_bombs_run(daemon, fl_daemon_now_ns());
  }
}

static int read_pack(struct fl_daemon *daemon, struct fl_error *err)
{
  struct stat status;

  if (fstat((int)daemon->options.pack_fd, &status) < 0)
    return fl_fail_errno(err, "stat_pack");
  void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, (int)daemon->options.pack_fd, 0);
  if (bytes == MAP_FAILED)
    return fl_fail_errno(err, "map_pack");
  return fl_pack_parse(bytes, (size_t)status.st_size, &daemon->pack, err);
}

static int open_daemon(struct fl_daemon *daemon, struct fl_error *err)
{
  const struct fl_options *options = &daemon->options;
  uint64_t cap_last, pid_max;
  sigset_t mask;

  if (fl_file_read_number(AT_FDCWD, "/proc/sys/kernel/cap_last_cap", &cap_last) < 0 || fl_file_read_number(AT_FDCWD, "/proc/sys/kernel/pid_max", &pid_max) < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENOENT, "proc", "/proc/sys/kernel is not readable");
  daemon->cap_last = (uint32_t)cap_last;
  daemon->pid_limit = (uint32_t)pid_max;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigprocmask(SIG_SETMASK, &mask, NULL);
  signal(SIGPIPE, SIG_IGN);
  daemon->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  daemon->epoll = epoll_create1(EPOLL_CLOEXEC);
  daemon->instance = calloc(options->slots, sizeof(struct fl_instance *));
  if (daemon->signals < 0 || daemon->epoll < 0 || !daemon->instance)
    return fl_fail_errno(err, "epoll");
  int r = read_pack(daemon, err);
  if (r < 0)
    return r;
  bool own = fl_templates_find_own(daemon);
  struct fl_parts_config parts = {
      .cgroup_name = options->cgroup_name, .uid_base = options->uid_base, .slots = options->slots, .pool_floor = options->pool_floor,
      .pool_ceiling = options->pool_ceiling, .egress_range = {options->egress_range, (uint8_t)options->egress_prefix}, .nameserver = options->nameserver,
      .defaults = options->defaults, .pack = daemon->pack, .binary_fd = own ? (int)options->binary_fd : -1};
  if ((r = fl_parts_open(&parts, &daemon->parts, err)) < 0 || (r = fl_templates_open(daemon, err)) < 0)
    return r;
  daemon->landlock = fl_light_abi();
  daemon->features = fl_features_probe() | fl_cgroup_host_features(fl_parts_cgroup_host(daemon->parts));
  if ((r = fl_daemon_watch(daemon, daemon->lifeline, FL_SOURCE_LIFELINE, 0)) < 0 || (r = fl_daemon_watch(daemon, daemon->signals, FL_SOURCE_SIGNALS, 0)) < 0 ||
      (r = fl_daemon_watch(daemon, fl_parts_fd(daemon->parts), FL_SOURCE_PARTS, 0)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "epoll_ctl", "sandboxd");
  return 0;
}

int fl_daemon_run(const struct fl_options *options)
{
  struct fl_daemon *daemon = calloc(1, sizeof *daemon);
  struct fl_error err = {0};

  if (!daemon)
    return 111;
  daemon->options = *options;
  fl_lane_find(&daemon->lane);
  daemon->rested_due_ns = daemon->bombs_due_ns = UINT64_MAX;
  daemon->lifeline = FL_LIFELINE_FD;
  daemon->control = daemon->epoll = daemon->signals = daemon->monitor_socket = daemon->names_control = daemon->names_network = daemon->names_questions = daemon->names_listener = -1;
  fcntl(FL_LIFELINE_FD, F_SETFD, FD_CLOEXEC);
  fcntl(FL_LIFELINE_FD, F_SETFL, O_NONBLOCK);
  mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);     /* and no more by itself: large tables go when they are freed, and keepers do not inherit what is left of them */
  if (fl_confine(&err) < 0 || open_daemon(daemon, &err) < 0) {
    fl_daemon_log_error("start", &err);
    fl_parts_close(daemon->parts);
    return 111;
  }
  loop(daemon);
  fl_functions_forget_all(daemon);
  fl_instances_kill_all(daemon);
  fl_templates_close(daemon);
  fl_parts_close(daemon->parts);
  return 0;
}
