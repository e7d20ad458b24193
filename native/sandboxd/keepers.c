/*
 * Keepers: a process beside each instance that is rewound (native/rewind). It has the instance's snapshot, stops and restores it when it is told to, and may block or die of what it finds:
 * whatever it does not answer in time, or at all, ends the instance.
 *
 *   SNAPSHOT ─▶ fork ─▶ describe ─▶ REWOUND          REWIND ─▶ 1 byte ─▶ restore ─▶ REWOUND, or FAILED and the end
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/keepers.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { MILLISECOND = 1000000, SOCKET_FD = 3, SCRATCH_FD = 4 };

/* --- the keeper --- */

static int answer(const struct fl_keeper_answer *answer)
{
  return fl_packet_send(SOCKET_FD, answer, sizeof *answer, NULL, 0);
}

__attribute__((noreturn)) static void keep(const struct fl_rewind_target *target, bool across, int socket, pid_t parent)
{
  struct fl_rewinder *rewinder = NULL;
  struct fl_keeper_answer done = {0};
  uint8_t order;

  /* Whatever sandboxd has open would stay open with this process. Neither number is one of the two that are moved: sandboxd's lowest ones are its own. */
  if (fl_die_with_parent(parent) < 0 || dup2(socket, SOCKET_FD) < 0 || dup2(target->scratch, SCRATCH_FD) < 0 || fl_close_from(SCRATCH_FD + 1) < 0)
    _exit(1);
  prctl(PR_SET_NAME, "flashd-keeper", 0, 0, 0);
  const struct fl_rewind_target own = {target->template, target->instance, target->init, target->parasite_at, SCRATCH_FD, target->copies};
  if (across) {
    fl_rested_keep(&own, SOCKET_FD);
    _exit(0);
  }
  int r = fl_rewinder_snapshot(&own, &rewinder, &done.report, &done.error);
  while (answer(&done) >= 0 && r == 0 && recv(SOCKET_FD, &order, sizeof order, 0) == sizeof order) {
    done = (struct fl_keeper_answer){0};
    r = fl_rewinder_restore(rewinder, order == FL_MSG_VERIFY, &done.report, &done.error);
  }
  _exit(0);
}

/* --- sandboxd --- */

static void refuse(struct fl_daemon *daemon, const struct fl_rewind *request, const char *why)
{
  struct fl_error err = {0};

  fl_fail(&err, FL_ERR_NO_INSTANCE, EBUSY, "rewind", "instance %lu %s", request->instance, why);
  fl_commands_refuse(daemon, request->header.request, &err);
}

int fl_keepers_start(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  struct fl_template *template = instance->template;

  if (!template->copies)
    template->copies = fl_copies_open();
  struct fl_rewind_target target = {template->pid, instance->pid, instance->sandbox.init_pid, template->infection.parasite_at, instance->sandbox.scratch_fd, template->copies};
  pid_t self = getpid();
  int pair[2];

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1];
  if (fl_daemon_watch(daemon, ours, FL_SOURCE_KEEPER, (uint32_t)instance->id) < 0)
    return fl_fail_errno(err, "epoll_ctl");
  pid_t keeper = fork();
  if (keeper < 0)
    return fl_fail_errno(err, "fork");
  if (keeper == 0)
    keep(&target, instance->across, theirs, self);
  instance->keeper = keeper;
  instance->keeper_fd = fl_steal_fd(&ours);
  instance->keeper_index = (uint32_t)instance->id;
  return 0;
}

static void snapshot(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_rewind *request)
{
  struct fl_error err = {0};

  if (!instance->rewound || instance->network == FL_NETWORK_LIGHT || instance->keeper_fd >= 0 || !instance->function || instance->function->state != FL_FUNCTION_READY || instance->layout != instance->template->boot)
    refuse(daemon, request, "is not one to be rewound");
  else if (fl_keepers_start(daemon, instance, &err) < 0)
    fl_commands_refuse(daemon, request->header.request, &err);
  else
    instance->keeper_request = request->header.request;
  if (instance->keeper_request)
    fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_SNAPSHOT_MS * MILLISECOND);
}

void fl_keepers_ask(struct fl_daemon *daemon, const struct fl_rewind *request)
{
  struct fl_instance *instance = fl_instances_find(daemon, request->instance);
  const uint8_t order = (uint8_t)request->header.type;

  if (!instance || instance->state != FL_INSTANCE_RUNNING || instance->destroy_request || instance->keeper_request || instance->across) {
    refuse(daemon, request, "cannot be rewound now");
  } else if (request->header.type == FL_MSG_SNAPSHOT) {
    snapshot(daemon, instance, request);
  } else if (instance->keeper_fd < 0 || fl_packet_send(instance->keeper_fd, &order, sizeof order, NULL, 0) < 0) {
    refuse(daemon, request, "has no snapshot");
    fl_instances_kill(instance);
  } else {
    instance->keeper_request = request->header.request;
    fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_REWIND_MS * MILLISECOND);
  }
}

static void tell(struct fl_daemon *daemon, const struct fl_instance *instance, const struct fl_rewind_report *report)
{
  struct fl_rewound reply = {
      .header = fl_control_header(FL_MSG_REWOUND, sizeof reply, instance->keeper_request), .instance = instance->id, .own_pages = report->own_pages, .written_pages = report->written_pages,
      .dropped_pages = report->dropped_pages, .mappings = report->mappings};

  memcpy(reply.phase_us, report->phase_us, sizeof reply.phase_us);
  fl_daemon_send(daemon, &reply, sizeof reply);
}

/* Half described or half restored, it is nobody's any more. */
static void give_up(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_error *err)
{
  if (instance->keeper_request && !instance->silent)
    fl_commands_refuse(daemon, instance->keeper_request, err);
  instance->keeper_request = 0;
  if (instance->state == FL_INSTANCE_RUNNING)
    fl_instances_kill(instance);
}

static struct fl_instance *by_index(const struct fl_daemon *daemon, uint32_t index)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->keeper_fd >= 0 && daemon->instance[i]->keeper_index == index)
      return daemon->instance[i];
  return NULL;
}

void fl_keepers_readable(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_instance *instance = by_index(daemon, index);
  struct fl_keeper_answer done;

  if (!instance)
    return;
  ssize_t length = recv(instance->keeper_fd, &done, sizeof done, MSG_DONTWAIT);
  if (length < 0 && errno == EAGAIN)
    return;
  if (length != (ssize_t)sizeof done) {
    fl_fail(&done.error, FL_ERR_CHILD_LOST, 0, "rewind", instance->killed ? "it took longer than it may, or the instance was ended" : "the instance could not be looked at");
    fl_close(&instance->keeper_fd);
    if (instance->across)
      fl_rested_answered(daemon, instance, false, &done.error);
    else
      give_up(daemon, instance, &done.error);
  } else if (instance->across) {
    fl_rested_answered(daemon, instance, true, &done.error);
  } else if (done.error.code != FL_OK) {
    fl_daemon_log("instance %lu: %s: %s", instance->id, done.error.op, done.error.detail);
    give_up(daemon, instance, &done.error);
  } else {
    if (!instance->destroy_request)            /* else it is the grace that it has to end */
      fl_instances_set_deadline(daemon, instance, 0);
    if (!instance->silent)
      tell(daemon, instance, &done.report);
    instance->keeper_request = 0;
    fl_instances_place_again(daemon, instance);
  }
}

bool fl_keepers_reaped(struct fl_daemon *daemon, pid_t pid)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->keeper == pid) {
      daemon->instance[i]->keeper = 0;
      return true;
    }
  return false;
}

void fl_keepers_end(struct fl_daemon *daemon, struct fl_instance *instance)
{
  static const struct fl_error over = {FL_ERR_NO_INSTANCE, 0, "rewind", "the instance ended"};

  if (instance->keeper)
    kill(instance->keeper, SIGKILL);
  fl_close(&instance->keeper_fd);
  if (instance->keeper_request && !instance->silent)
    fl_commands_refuse(daemon, instance->keeper_request, &over);
}
