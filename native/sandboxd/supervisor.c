/*
 * The supervisor: the unit's main process. Starts sandboxd and the gateway, joins them by a control socket, and restarts whichever ends; the other one lives on
 * and gets a new control socket over its lifeline. It reads no message from anybody but single bytes of the gateway's, two of which mean something: they become the
 * service manager's notifications, so that nobody else needs to be listened to.
 *
 *   supervisor ──lifeline──▶ sandboxd      each packet: 'C' + one end of a fresh socketpair
 *        └──────lifeline──▶ gateway      ◀── 'R', 'A'
 *
 * A gateway that refuses its configuration (status 100) before it ever ran is not restarted: the supervisor ends with that status.
 *
 * SIGTERM: the gateway drains and ends, then sandboxd. When the supervisor itself dies, both children die with it (PDEATHSIG, and the lifeline's end).
 */
#include <errno.h>
#include <fcntl.h>
#include <flashd/lifeline.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/confine.h"
#include "sandboxd/manager.h"
#include "sandboxd/run.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum {
  RESTART_PAUSE_MS_MAX = 5000, RESTART_PAUSE_MS_STEP = 50,
  STEADY_MS = 5000,                            /* a child that lived this long starts over with the shortest pause */
  USAGE_STATUS = 100,
  GATEWAY_STOP_MS = 30000, SANDBOXD_STOP_MS = 10000,
  MILLISECOND = 1000000
};

enum child_index { SANDBOXD, GATEWAY, CHILDREN };

struct child {
  const char *name;
  pid_t pid;                                   /* 0: not running */
  int lifeline;
  uint32_t failures;
  int64_t started_ms, start_at_ms;
  bool ran;                                    /* it was there for some time once: what ends it now is no matter of configuration */
};

struct supervisor {
  const struct fl_options *options;
  char **argv;
  int signals;
  bool stopping;
  int status;                                  /* what the supervisor ends with */
  char *manager;                               /* the service manager's socket, or NULL; taken out of the environment that the children get */
  bool manager_deaf;                           /* said once */
  struct child child[CHILDREN];
};

/* What sandboxd keeps of root's power, as root or, under systemd, as a user of its own: the kernel calls that need each stand beside it. CAP_KILL is none of it: whom it ends has its uid, or lives in a user namespace that it owns. */
static const int sandboxd_capabilities[] = {
    CAP_SYS_ADMIN,          /* mounts, setns, clone with namespaces, cgroup namespaces */
    CAP_SYS_PTRACE,         /* injection; pidfds of sandbox inits */
    CAP_SETUID, CAP_SETGID, /* id maps of user namespaces */
    CAP_SETPCAP,            /* emptying bounding sets of children */
    CAP_DAC_OVERRIDE,       /* directories of cgroups that somebody else owns */
    CAP_MKNOD,              /* /dev of the base; under systemd it is shown the service's own instead */
    CAP_NET_ADMIN,          /* loopback up in a fresh network namespace; cables, routes and nftables for egress */
    CAP_SYS_CHROOT,         /* setns to a mount namespace */
    CAP_SYS_RESOURCE,       /* oom_score_adj, hard limits; not under systemd, where the unit's limits are enough */
};

static int64_t now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / MILLISECOND;
}

static int bound_sandboxd(void)
{
  uint64_t kept = 0;

  for (size_t i = 0; i < FL_COUNT(sandboxd_capabilities); i++)
    kept |= 1ull << sandboxd_capabilities[i];
  return fl_capabilities_keep(kept);
}

static int become_gateway_user(const struct fl_options *options)
{
  int r = fl_capabilities_bound_none();

  if (r < 0 || (r = fl_capabilities_inherit(0)) < 0)
    return r;
  if (setgroups(0, NULL) < 0 || setresgid(options->gid, options->gid, options->gid) < 0 || setresuid(options->uid, options->uid, options->uid) < 0)
    return -errno;
  return fl_set_no_new_privs();
}

/* In the child, just forked. Returns only on failure. */
static int exec_child(struct supervisor *supervisor, enum child_index index, int lifeline, pid_t parent)
{
  const struct fl_options *options = supervisor->options;
  bool gateway = index == GATEWAY;
  int image = (int)(gateway ? options->binary_fd : options->image_fd);
  char *sandboxd_name = "flashd-sandboxd";
  int r;

  fl_signals_reset();
  if (dup2(lifeline, FL_LIFELINE_FD) < 0 || fcntl(FL_LIFELINE_FD, F_SETFD, 0) < 0)
    return -errno;
  if ((r = gateway ? become_gateway_user(options) : bound_sandboxd()) < 0 || (r = fl_die_with_parent(parent)) < 0)
    return r;
  /* Whatever else was inherited stays here: the images are executed through descriptors that close with that. */
  if (close_range(FL_LIFELINE_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0 || (!gateway && (fcntl((int)options->pack_fd, F_SETFD, 0) < 0 || fcntl((int)options->binary_fd, F_SETFD, 0) < 0)))
    return -errno;
  if (gateway) {
    execveat(image, "", options->gateway_argv, environ, AT_EMPTY_PATH);
  } else {
    supervisor->argv[0] = sandboxd_name;
    execveat(image, "", supervisor->argv, environ, AT_EMPTY_PATH);
  }
  return -errno;
}

static void schedule(struct child *child)
{
  int64_t pause = (int64_t)RESTART_PAUSE_MS_STEP * child->failures * child->failures;

  child->start_at_ms = now_ms() + (pause > RESTART_PAUSE_MS_MAX ? RESTART_PAUSE_MS_MAX : pause);
  child->failures++;
}

static void start(struct supervisor *supervisor, enum child_index index)
{
  struct child *child = &supervisor->child[index];
  pid_t self = getpid();
  int pair[2];

  child->start_at_ms = 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
    schedule(child);
    return;
  }
  pid_t pid = fork();
  if (pid == 0) {
    int r = exec_child(supervisor, index, pair[1], self);

    dprintf(STDERR_FILENO, "flashd-supervisor: cannot start the %s: %s\n", child->name, strerror(-r));
    _exit(111);
  }
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    schedule(child);
    return;
  }
  child->pid = pid;
  child->lifeline = pair[0];
  child->started_ms = now_ms();
}

/* A fresh control socket for both, as soon as both are there. A child that cannot take it is about to be reaped, and then this happens again. */
static void join(struct supervisor *supervisor)
{
  static const char word = FL_LIFELINE_CONTROL;
  int pair[2];

  if (!supervisor->child[SANDBOXD].pid || !supervisor->child[GATEWAY].pid || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return;
  for (int i = 0; i < CHILDREN; i++)
    fl_packet_send(supervisor->child[i].lifeline, &word, 1, &pair[i], 1);
  close(pair[0]);
  close(pair[1]);
}

static void start_due(struct supervisor *supervisor)
{
  bool started = false;

  for (int i = 0; i < CHILDREN; i++)
    if (supervisor->child[i].start_at_ms && supervisor->child[i].start_at_ms <= now_ms()) {
      start(supervisor, (enum child_index)i);
      started = true;
    }
  if (started)
    join(supervisor);
}

static void reap(struct supervisor *supervisor)
{
  int status;

  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    for (int i = 0; i < CHILDREN; i++) {
      struct child *child = &supervisor->child[i];

      if (child->pid != pid)
        continue;
      child->pid = 0;
      fl_close(&child->lifeline);
      if (supervisor->stopping)
        continue;
      dprintf(STDERR_FILENO, "flashd-supervisor: the %s ended (%s %d)\n", child->name, WIFSIGNALED(status) ? "signal" : "status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
      if (now_ms() - child->started_ms > STEADY_MS) {
        child->failures = 0;
        child->ran = true;
      }
      if (i == GATEWAY && !child->ran && WIFEXITED(status) && WEXITSTATUS(status) == USAGE_STATUS) {
        supervisor->stopping = true;
        supervisor->status = USAGE_STATUS;
        continue;
      }
      schedule(child);
    }
}

static int wait_ms(const struct supervisor *supervisor)
{
  int64_t nearest = -1;

  for (int i = 0; i < CHILDREN; i++) {
    int64_t at = supervisor->child[i].start_at_ms;

    if (at && (nearest < 0 || at < nearest))
      nearest = at;
  }
  if (nearest < 0)
    return -1;
  nearest -= now_ms();
  return nearest < 0 ? 0 : (int)nearest;
}

static void take_signals(struct supervisor *supervisor)
{
  struct signalfd_siginfo info;

  while (read(supervisor->signals, &info, sizeof info) == (ssize_t)sizeof info)
    if (info.ssi_signo != SIGCHLD)
      supervisor->stopping = true;
  reap(supervisor);
}

/* A manager that cannot be told (a container's, whose socket is for somebody else) is no reason not to serve. */
static void notify(struct supervisor *supervisor, const char *state)
{
  struct fl_error err = {0};

  if (!supervisor->manager || fl_manager_tell(supervisor->manager, state, &err) == 0 || supervisor->manager_deaf)
    return;
  supervisor->manager_deaf = true;
  dprintf(STDERR_FILENO, "flashd-supervisor: the service manager cannot be notified: %s\n", strerror(err.errno_value));
}

/* One packet, so that a gateway which talks without pause is not all that is heard. */
static void hear_gateway(struct supervisor *supervisor)
{
  struct child *gateway = &supervisor->child[GATEWAY];
  size_t fd_count;
  char word = 0;
  ssize_t size = fl_packet_receive(gateway->lifeline, &word, 1, NULL, 0, &fd_count);

  if (size == 0 || (size < 0 && size != -EMSGSIZE))
    fl_close(&gateway->lifeline);                 /* it ends; one that lives on without is deaf, and no reason to wake up again and again */
  else if (size == 1 && word == FL_LIFELINE_READY)
    notify(supervisor, "READY=1");
  else if (size == 1 && word == FL_LIFELINE_ALIVE)
    notify(supervisor, "WATCHDOG=1");
}

/* For a signal, or a word of the gateway's. limit_ms: -1 for ever. */
static void wait_for_news(struct supervisor *supervisor, int limit_ms)
{
  struct pollfd wait[] = {{supervisor->signals, POLLIN, 0}, {supervisor->child[GATEWAY].lifeline, POLLIN, 0}};

  poll(wait, FL_COUNT(wait), limit_ms);
  if (wait[1].revents)
    hear_gateway(supervisor);
  take_signals(supervisor);
}

/* The gateway belongs to somebody else, as whom it is ended: that takes no CAP_KILL, which would reach everybody. */
static void end(const struct supervisor *supervisor, enum child_index index, int signal)
{
  uid_t own = geteuid();
  bool other = index == GATEWAY && seteuid(supervisor->options->uid) == 0;

  kill(supervisor->child[index].pid, signal);
  if (other && seteuid(own) < 0)
    _exit(111);
}

static void stop(struct supervisor *supervisor, enum child_index index, int limit_ms)
{
  struct child *child = &supervisor->child[index];
  int64_t until = now_ms() + limit_ms;

  if (child->pid)
    end(supervisor, index, SIGTERM);
  for (int64_t left; child->pid && (left = until - now_ms()) > 0;)
    wait_for_news(supervisor, (int)left);
  if (child->pid) {
    end(supervisor, index, SIGKILL);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
  }
}

int fl_supervisor_run(const struct fl_options *options, char **argv)
{
  struct supervisor supervisor = {
      .options = options, .argv = argv, .child = {[SANDBOXD] = {.name = "sandboxd", .lifeline = -1}, [GATEWAY] = {.name = "gateway", .lifeline = -1}}};
  struct fl_error err = {0};
  sigset_t mask;

  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (fl_confine_memory(&err) < 0)
    return 111;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigprocmask(SIG_SETMASK, &mask, NULL);
  supervisor.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (supervisor.signals < 0)
    return 111;
  if ((supervisor.manager = getenv("NOTIFY_SOCKET"))) {
    supervisor.manager = strdup(supervisor.manager);
    unsetenv("NOTIFY_SOCKET");
  }
  for (int i = 0; i < CHILDREN; i++)
    start(&supervisor, (enum child_index)i);
  join(&supervisor);
  while (!supervisor.stopping) {
    wait_for_news(&supervisor, wait_ms(&supervisor));
    if (!supervisor.stopping)
      start_due(&supervisor);
  }
  notify(&supervisor, "STOPPING=1");
  stop(&supervisor, GATEWAY, GATEWAY_STOP_MS);
  stop(&supervisor, SANDBOXD, SANDBOXD_STOP_MS);
  return supervisor.status;
}
