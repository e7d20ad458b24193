/*
 * sandboxd's side of host names: it starts the forwarder (names/forwarder.h) when the first policy has some, tells it whose they are, and opens what it asks for, checked once more against the policy. A forwarder that dies is followed by
 * another on the same socket, at most every FL_NAMES_RESTART_MS; meanwhile questions wait in that, and whoever is not granted yet waits for a sandbox.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "names/forwarder.h"
#include "names/list.h"
#include "sandboxd/daemon.h"
#include "sys/packet.h"

enum { MILLISECOND = 1000000, SOCKET_BUFFER_BYTES = 8 << 20, REQUESTS_PER_TURN = 4 };                       /* the loop has others to serve */

int fl_names_keep(struct fl_daemon *daemon, const struct fl_create *create, struct fl_names **ret_names, struct fl_error *err)
{
  if (!(create->egress.flags & FL_EGRESS_NAMES))
    return 0;
  if (daemon->names_told.header.request != create->header.request)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "create: no names came before it");
  *ret_names = malloc(sizeof **ret_names);
  if (!*ret_names)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "names");
  **ret_names = daemon->names_told.names;
  return 0;
}

static int fork_forwarder(struct fl_daemon *daemon, struct fl_error *err)
{
  struct fl_forwarder_start start = {.network = daemon->names_network, .socket = daemon->names_questions, .listener = daemon->names_listener, .id = daemon->options.uid_base + FL_NAMES_ID, .parent = getpid(),
                                     .name = daemon->options.cgroup_name, .slots = daemon->options.slots, .first = fl_parts_egress_first(daemon->parts)};
  int pair[2];

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int theirs = pair[1];
  daemon->names_control = pair[0];
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  daemon->names_started_ns = fl_daemon_now_ns();
  daemon->names_ready = false;
  start.control = theirs;
  if (fl_daemon_watch(daemon, daemon->names_control, FL_SOURCE_NAMES, 0) < 0 || (daemon->forwarder = fork()) < 0) {
    fl_fail_errno(err, "forwarder of names");
    daemon->forwarder = 0;
    fl_close(&daemon->names_control);
    return -err->errno_value;
  }
  if (daemon->forwarder == 0)
    fl_forwarder_run(&start);
  return 0;
}

static uint64_t restart_ns(const struct fl_daemon *daemon)
{
  return daemon->names_started_ns ? daemon->names_started_ns + (uint64_t)FL_NAMES_RESTART_MS * MILLISECOND : 0;
}

int fl_names_ready(struct fl_daemon *daemon, struct fl_error *err)
{
  if (daemon->names_network >= 0)
    return 1;
  if (daemon->forwarder)
    return 0;
  return fl_parts_names_open(daemon->parts, err) < 0 || fork_forwarder(daemon, err) < 0 ? -EIO : 0;
}

static int send_grant(struct fl_daemon *daemon, const struct fl_instance *instance, const struct fl_names *names)
{
  struct fl_names_grant grant = {.grant = instance->id, .slot = instance->sandbox.slot};

  if (names)
    grant.names = *names;
  return fl_packet_send(daemon->names_control, &grant, sizeof grant, NULL, 0);
}

int fl_names_grant(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  if (!instance->names)
    return 0;
  instance->named = true;
  int r = daemon->names_ready ? send_grant(daemon, instance, instance->names) : 0;    /* else with all others, when there is a forwarder again */
  return r < 0 ? fl_fail(err, FL_ERR_NETWORK, -r, "grant names", "instance %lu", instance->id) : 0;
}

void fl_names_forget(struct fl_daemon *daemon, struct fl_instance *instance)
{
  /* One that does not hear of it knows somebody who cannot ask any more. */
  if (instance->named && daemon->names_ready)
    send_grant(daemon, instance, NULL);
  free(instance->names);
  instance->names = NULL;
}

/* What the forwarder wants opened is what the policy's own entries say, or nothing. */
static int open_targets(struct fl_daemon *daemon, const struct fl_names_open *open)
{
  struct fl_instance *instance = fl_instances_find(daemon, open->grant);
  struct fl_egress_target target[FL_EGRESS_TARGETS_MAX];
  uint16_t port[FL_NAMES_PORTS_MAX];
  struct fl_error err = {0};
  uint32_t count = 0;

  if (!instance || !instance->named || instance->sandbox.slot != open->slot || open->count > FL_DNS_ADDRESSES_MAX)
    return -ESRCH;
  uint32_t ports = fl_names_ports(instance->names, open->entries, port);
  for (uint32_t i = 0; i < open->count; i++)
    for (uint32_t j = 0; j < ports; j++)
      target[count++] = (struct fl_egress_target){open->address[i], port[j]};
  int r = fl_parts_open_targets(daemon->parts, &instance->sandbox, target, count, fl_names_seconds(open->seconds), &err);
  if (r < 0 && r != -ENFILE)
    fl_daemon_log_error("names", &err);
  return r;
}

static void become_ready(struct fl_daemon *daemon, int *fds, size_t fd_count)
{
  if (fd_count == FL_NAMES_READY_DESCRIPTORS) {
    daemon->names_network = fl_steal_fd(&fds[0]);
    daemon->names_questions = fl_steal_fd(&fds[1]);
    daemon->names_listener = fl_steal_fd(&fds[2]);
  }
  daemon->names_ready = true;
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->named)
      send_grant(daemon, daemon->instance[i], daemon->instance[i]->names);
  fl_starts_retry_waiting(daemon);
}

void fl_names_readable(struct fl_daemon *daemon)
{
  for (int count = 0; count < REQUESTS_PER_TURN && daemon->names_control >= 0; count++) {
    int fds[FL_NAMES_READY_DESCRIPTORS] = {-1, -1, -1};
    struct fl_names_open open;
    size_t fd_count = 0;
    ssize_t size = fl_packet_receive(daemon->names_control, &open, sizeof open, fds, FL_COUNT(fds), &fd_count);

    if (size == -EAGAIN)
      return;
    if (size != (ssize_t)sizeof open) {
      fl_close(&daemon->names_control);        /* it has ended: what follows is done when it is reaped */
      daemon->names_ready = false;
      if (daemon->forwarder)
        kill(daemon->forwarder, SIGKILL);
    } else if (!daemon->names_ready) {
      become_ready(daemon, fds, fd_count);
    } else {
      struct fl_names_opened opened = {.ticket = open.ticket, .result = open_targets(daemon, &open)};

      fl_packet_send(daemon->names_control, &opened, sizeof opened, NULL, 0);    /* it gives up by itself when that is lost */
    }
    for (size_t i = 0; i < FL_COUNT(fds); i++)
      fl_close(&fds[i]);
  }
}

bool fl_names_reaped(struct fl_daemon *daemon, pid_t pid, int status)
{
  if (pid != daemon->forwarder)
    return false;
  bool worked = daemon->names_network >= 0;

  daemon->forwarder = 0;
  daemon->names_ready = false;
  fl_close(&daemon->names_control);
  if (daemon->names_cut) {
    daemon->names_cut = false;
    fl_starts_retry_waiting(daemon);
    return true;
  }
  fl_daemon_log("the forwarder of names ended with status %#x%s", status, worked ? ": another takes its place" : "");
  if (!worked) {
    struct fl_error err = {0};

    fl_fail(&err, FL_ERR_NETWORK, WIFEXITED(status) ? WEXITSTATUS(status) : 0, "forwarder of names", "it could not be started");
    fl_starts_refuse_names(daemon, &err);
  }
  return true;
}

void fl_names_run(struct fl_daemon *daemon, uint64_t now_ns)
{
  struct fl_error err = {0};

  if (daemon->forwarder || daemon->names_network < 0 || restart_ns(daemon) > now_ns)
    return;
  if (fork_forwarder(daemon, &err) < 0)
    fl_daemon_log_error("forwarder of names", &err);
}

uint64_t fl_names_deadline_ns(const struct fl_daemon *daemon)
{
  return daemon->forwarder || daemon->names_network < 0 ? UINT64_MAX : restart_ns(daemon);
}

void fl_names_end(struct fl_daemon *daemon)
{
  fl_close(&daemon->names_control);
  fl_close(&daemon->names_network);
  fl_close(&daemon->names_questions);
  fl_close(&daemon->names_listener);
  daemon->names_ready = false;
  daemon->names_cut = daemon->forwarder != 0;
  if (daemon->forwarder)
    kill(daemon->forwarder, SIGKILL);
}
