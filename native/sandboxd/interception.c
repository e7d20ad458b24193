/*
 * sandboxd's side of interception: it makes the filter of an instance out of the policy that came with its CREATE, starts the monitor when the first filter needs one, and passes on what that tells. The loop never waits
 * for the monitor: what that does not read in time is an instance that is not watched, and is ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "intercept/monitor.h"
#include "intercept/program.h"
#include "sandboxd/daemon.h"
#include "sys/packet.h"

enum {
  SOCKET_BUFFER_BYTES = 4 << 20,               /* so many instances may be asked for at once */
  EVENTS_PER_TURN = 256,
  EVENT_BACKLOG_BYTES = 1 << 20                /* what the gateway has not read yet: beyond, events are dropped, so that nothing else is */
};

int fl_interception_keep(const struct fl_intercept *policy, struct fl_intercept **ret_policy, struct fl_error *err)
{
  if (!policy)
    return 0;
  *ret_policy = malloc(sizeof *policy);
  if (!*ret_policy)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "policy");
  memcpy(*ret_policy, policy, sizeof *policy);
  return 0;
}

static int start_monitor(struct fl_daemon *daemon, struct fl_error *err)
{
  pid_t self = getpid();
  int pair[2];

  if (daemon->monitor)
    return 0;
  if (!(daemon->features & FL_FEATURE_SECCOMP_NOTIFY))
    return fl_fail(err, FL_ERR_UNSUPPORTED, EOPNOTSUPP, "interception", "the kernel has no notifications of system calls");
  daemon->monitor_flags = fl_monitor_install_flags();
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int theirs = pair[1];
  daemon->monitor_socket = pair[0];
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  if (fl_daemon_watch(daemon, daemon->monitor_socket, FL_SOURCE_MONITOR, 0) < 0 || (daemon->monitor = fork()) < 0) {
    fl_fail_errno(err, "monitor");
    daemon->monitor = 0;
    fl_close(&daemon->monitor_socket);
    return -err->errno_value;
  }
  if (daemon->monitor == 0)
    fl_monitor_run(theirs, daemon->options.uid_base + FL_MONITOR_ID, self);
  return 0;
}

/* Instances of one function follow one another. */
static int compile(struct fl_daemon *daemon, const struct fl_intercept *policy, struct fl_error *err)
{
  struct fl_compiled *last = &daemon->compiled;

  if (last->known && memcmp(&last->policy, policy, sizeof *policy) == 0)
    return 0;
  int r = fl_intercept_compile(policy, &last->program, err);
  last->known = r == 0;
  last->policy = *policy;
  return r;
}

static int attach(struct fl_daemon *daemon, struct fl_instance *instance, int link, struct fl_error *err)
{
  struct fl_intercept_program *program = &daemon->compiled.program;
  struct fl_attach request = {.instance = instance->id, .id = daemon->options.uid_base + instance->sandbox.slot * FL_UIDS_PER_SLOT + FL_INNER_UID};
  int r = compile(daemon, instance->policy, err);

  if (r < 0)
    return r;
  instance->watched = program->flags & FL_PROGRAM_LISTENER;
  if (instance->watched) {
    request.knocks = program->flags & FL_PROGRAM_TAIL ? FL_MONITOR_KNOCKS : 0;
    request.policy = *instance->policy;
    if ((r = start_monitor(daemon, err)) < 0)
      return r;
    program->install = daemon->monitor_flags;
  }
  r = fl_packet_send(link, program, fl_intercept_program_bytes(program), NULL, 0);
  if (r == 0 && instance->watched)
    r = fl_packet_send(daemon->monitor_socket, &request, sizeof request, &link, 1);
  return r < 0 ? fl_fail(err, FL_ERR_SYSTEM, -r, "interception", "instance %lu", instance->id) : 0;
}

int fl_interception_assign(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_assignment *assignment, struct fl_error *err)
{
  int fds[FL_ASSIGNED_FDS + 1], pair[2];

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1];
  memcpy(fds, instance->fds, sizeof instance->fds);
  fds[FL_ASSIGNED_FDS] = theirs;
  assignment->intercept = 1;
  /* The filter is made while the child works on what it got. */
  int r = fl_packet_send(instance->assignment, assignment, sizeof *assignment, fds, FL_COUNT(fds));
  if (r == 0)
    r = attach(daemon, instance, ours, err);
  free(instance->policy);
  instance->policy = NULL;
  return r;
}

/* What cannot be told now is not told: the gateway is behind, and its other messages matter more. */
static void forward(struct fl_daemon *daemon, struct fl_syscall *event)
{
  int backlog = 0;

  if (daemon->control < 0 || ioctl(daemon->control, SIOCOUTQ, &backlog) < 0 || backlog > EVENT_BACKLOG_BYTES)
    return;
  event->header = fl_control_header(FL_MSG_SYSCALL, sizeof *event, 0);
  event->detail[sizeof event->detail - 1] = 0;
  fl_daemon_send(daemon, event, sizeof *event);
}

void fl_interception_readable(struct fl_daemon *daemon)
{
  struct fl_syscall event;

  for (int count = 0; count < EVENTS_PER_TURN && daemon->monitor_socket >= 0; count++) {
    ssize_t size = recv(daemon->monitor_socket, &event, sizeof event, MSG_DONTWAIT);
    struct fl_instance *instance = size == (ssize_t)sizeof event ? fl_instances_find(daemon, event.instance) : NULL;

    if (size == 0)
      fl_close(&daemon->monitor_socket);       /* it has ended: what follows is done when it is reaped */
    if (size <= 0)
      return;
    if (!instance || !instance->watched)
      continue;
    if (event.verdict == 0)
      fl_instances_kill(instance);
    else if (instance->create_request && !instance->silent)
      forward(daemon, &event);
  }
}

bool fl_interception_reaped(struct fl_daemon *daemon, pid_t pid, int status)
{
  if (pid != daemon->monitor)
    return false;
  daemon->monitor = 0;
  fl_close(&daemon->monitor_socket);
  fl_daemon_log("the monitor of system calls ended with status %#x: the functions that it watched are ended", status);
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->watched && daemon->instance[i]->state != FL_INSTANCE_WAITING)
      fl_instances_kill(daemon->instance[i]);
  return true;
}
