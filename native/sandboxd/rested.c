/*
 * Instances that go from one function of a runtime to another. One is made ahead of need, described while it is nobody's, and then stands stopped: it rests. A CREATE that permits it (FL_CREATE_ACROSS)
 * and has the same limits is given one in place of a spare; when its function is done with it (FL_DESTROY_REST), it is rewound to what was described, what it had of its function is taken from it
 * (rewind/binding.h), and it rests again. Whatever does not end in that very state, ends.
 *
 *   made: FORKING ─▶ STARTING ─(RESUMED)─▶ RESTING ─(described, and rewound once)─▶ RESTED ─(CREATE, bound)─▶ STARTING ─▶ RUNNING
 *                                                                                    ▲ └─ nobody wants it: ends        │
 *                                                                                    └─(rewound; ENDED is sent)◀─ DESTROY ┘
 *
 * One that cannot be bound is ended, and what was asked for comes about without it (fl_starts_instead), where its keeper tells so: then it has not been let go on, and nothing of what was sent to it is lost. A keeper
 * that dies over it tells nothing; who asked is refused then, since the instance may have heard the request.
 *
 * As many are made as were asked for in vain, one after the other, a moment after the request that would have had one. They have their sandboxes for good: the uid is the sandbox's, and whoever
 * comes next finds it as he would find that of a sandbox which was made anew in the same slot.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/daemon.h"
#include "sandboxd/keepers.h"
#include "sys/packet.h"

enum { MILLISECOND = 1000000, MAKE_AFTER_MS = 3, RETRY_MS = 100, IDLE_MS = 30000, SHARE = 4 };
enum { ORDER_BIND = 'b', ORDER_REST = 'r' };
enum { BOUND_STDOUT, BOUND_STDERR, BOUND_DATA, BOUND_MOUNT, BOUND_FDS };

/* --- the keeper --- */

/* Stopped, it ends without telling anybody but us. */
static bool await_order(int socket, int instance)
{
  struct pollfd polled[] = {{socket, POLLIN, 0}, {instance, POLLIN, 0}};

  return poll(polled, FL_COUNT(polled), -1) > 0 && !polled[1].revents;
}

static int obey(struct fl_rewinder *rewinder, int socket, struct fl_keeper_answer *ret_answer)
{
  int fds[BOUND_FDS] = {-1, -1, -1, -1}, r;
  size_t count = 0;
  uint8_t order;

  *ret_answer = (struct fl_keeper_answer){0};
  if (fl_packet_receive(socket, &order, sizeof order, fds, BOUND_FDS, &count) != sizeof order)
    return -EPIPE;
  if (order == ORDER_BIND)
    r = count == BOUND_FDS ? fl_rewinder_bind(rewinder, fds, fds[BOUND_MOUNT], &ret_answer->error) : -EPROTO;
  else
    r = fl_rewinder_rest(rewinder, &ret_answer->report, &ret_answer->error);
  for (int i = 0; i < BOUND_FDS; i++)
    fl_close(&fds[i]);
  return r;
}

void fl_rested_keep(const struct fl_rewind_target *target, int socket)
{
  fl_autoclose int instance = pidfd_open(target->instance, 0);
  struct fl_rewinder *rewinder = NULL;
  struct fl_keeper_answer answer = {0};
  int r = fl_rewinder_snapshot(target, &rewinder, &answer.report, &answer.error);

  /* Rewound once at once: what cannot be is known before anybody depends on it. */
  if (r == 0)
    r = fl_rewinder_rest(rewinder, &answer.report, &answer.error);
  while (fl_packet_send(socket, &answer, sizeof answer, NULL, 0) >= 0 && r == 0 && await_order(socket, instance))
    r = obey(rewinder, socket, &answer);
}

/* --- sandboxd --- */

static void wake_at(struct fl_daemon *daemon, uint64_t at_ns)
{
  daemon->rested_due_ns = at_ns < daemon->rested_due_ns ? at_ns : daemon->rested_due_ns;
}

static void settle(struct fl_daemon *daemon, struct fl_instance *instance)
{
  instance->state = FL_INSTANCE_RESTED;
  instance->create_request = instance->destroy_request = 0;
  instance->bound = false;
  fl_close(&instance->bundle);
  instance->id = ++daemon->next_instance;
  instance->rested_ns = fl_daemon_now_ns();
  fl_instances_set_deadline(daemon, instance, 0);
  wake_at(daemon, instance->rested_ns + (uint64_t)IDLE_MS * MILLISECOND);
}

static bool fits(const struct fl_instance *instance, uint32_t runtime, const struct fl_limits *limits)
{
  return instance->runtime == runtime && instance->state == FL_INSTANCE_RESTED && memcmp(&instance->limits, limits, sizeof *limits) == 0;
}

/* The one that rests for the shortest time: the others may grow old. */
struct fl_instance *fl_rested_find(const struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits)
{
  struct fl_instance *best = NULL;

  for (uint32_t i = 0; i < daemon->instances; i++)
    if (fits(daemon->instance[i], runtime, limits) && (!best || daemon->instance[i]->rested_ns > best->rested_ns))
      best = daemon->instance[i];
  return best;
}

void fl_rested_missed(struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits)
{
  struct fl_rested *rested = &daemon->rested[runtime];

  rested->missed = memcmp(&rested->limits, limits, sizeof *limits) == 0 ? rested->missed + 1 : 1;
  rested->limits = *limits;
  wake_at(daemon, fl_daemon_now_ns() + (uint64_t)MAKE_AFTER_MS * MILLISECOND);
}

int fl_rested_bind(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  static const uint8_t order = ORDER_BIND;
  const int fds[BOUND_FDS] = {instance->fds[FL_ASSIGNED_STDOUT], instance->fds[FL_ASSIGNED_STDERR], instance->fds[FL_ASSIGNED_DATA], instance->fds[FL_ASSIGNED_BUNDLE]};
  fl_instances_advise_first(daemon, instance);
  int r = fl_packet_send(instance->keeper_fd, &order, sizeof order, fds, BOUND_FDS);

  if (r < 0)
    return fl_fail(err, FL_ERR_CHILD_LOST, -r, "bind", "instance %lu", instance->id);
  instance->announced = false;
  instance->state = FL_INSTANCE_STARTING;
  fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_REWIND_MS * MILLISECOND);
  return 0;
}

/* What was kept for another one to be given, had it failed. */
static void bound(struct fl_daemon *daemon, struct fl_instance *instance)
{
  for (int i = 0; i < FL_ASSIGNED_FDS; i++)
    fl_close(&instance->fds[i]);
  if (!instance->candidate)
    fl_close(&instance->bundle);
  fl_instances_bound(daemon, instance);
}

static void not_bound(struct fl_daemon *daemon, struct fl_instance *instance, bool told, const struct fl_error *err)
{
  struct fl_error also = *err;

  if (told && fl_starts_instead(daemon, instance, &also) == 0)
    return;
  fl_instances_refuse(daemon, instance, &also);
  fl_instances_kill(instance);
}

void fl_rested_made(struct fl_daemon *daemon, struct fl_instance *instance)
{
  struct fl_error err = {0};

  instance->state = FL_INSTANCE_RESTING;
  instance->parked = true;
  if (fl_keepers_start(daemon, instance, &err) < 0) {
    fl_daemon_log_error("rest", &err);
    fl_instances_kill(instance);
    return;
  }
  fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_SNAPSHOT_MS * MILLISECOND);
}

/* Resting ones are spares: no more than a share of all slots, and none where somebody waits for a sandbox. */
static bool has_room(const struct fl_daemon *daemon)
{
  uint32_t resting = 0;

  for (uint32_t i = 0; i < daemon->instances; i++)
    resting += daemon->instance[i]->state == FL_INSTANCE_RESTED || (daemon->instance[i]->across && !daemon->instance[i]->create_request);
  return !daemon->waiting && daemon->instances < daemon->options.slots / 2 + 1 && resting < daemon->options.slots / SHARE + 1;
}

bool fl_rested_again(struct fl_daemon *daemon, struct fl_instance *instance)
{
  static const uint8_t order = ORDER_REST;
  const struct fl_template *template = instance->template;

  if (!instance->across || instance->keeper_fd < 0 || !template || template->state != FL_TEMPLATE_READY || template->boot != instance->layout || !has_room(daemon) ||
      fl_packet_send(instance->keeper_fd, &order, sizeof order, NULL, 0) < 0)
    return false;
  fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_REWIND_MS * MILLISECOND);
  return true;
}

static void rests(struct fl_daemon *daemon, struct fl_instance *instance)
{
  struct fl_error err = {0};

  fl_instances_tell_end(daemon, instance);
  daemon->rests++;
  settle(daemon, instance);
  if (fl_instances_move(daemon, instance, false, FL_PROCESSORS_ALL, &err) < 0) {
    fl_daemon_log_error("place", &err);
    fl_instances_kill(instance);
  }
}

void fl_rested_answered(struct fl_daemon *daemon, struct fl_instance *instance, bool told, const struct fl_error *err)
{
  if (err->code != FL_OK && instance->state == FL_INSTANCE_ENDING)
    return;                                    /* it was ended, and its keeper with it */
  if (err->code != FL_OK) {
    fl_daemon_log("instance %lu: %s: %s", instance->id, err->op, err->detail);
    if (instance->state == FL_INSTANCE_STARTING)
      not_bound(daemon, instance, told, err);
    else
      fl_instances_kill(instance);
  } else if (instance->state == FL_INSTANCE_STARTING) {
    bound(daemon, instance);
  } else if (instance->state == FL_INSTANCE_RESTING) {
    settle(daemon, instance);
  } else if (instance->state == FL_INSTANCE_RUNNING && instance->destroy_request) {
    rests(daemon, instance);
  }
}

/* What it has before it is anybody's: a data socket whose other end says nothing, output that leads nowhere, no files. */
static int make(struct fl_daemon *daemon, uint32_t runtime, struct fl_error *err)
{
  int pair[2], out[2], mount = -1;

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1];
  if (pipe2(out, O_CLOEXEC) < 0)
    return fl_fail_errno(err, "pipe2");
  fl_autoclose int unread = out[0], output = out[1], errors = dup(output);
  int r = errors < 0 ? fl_fail_errno(err, "dup") : fl_bundle_none(&mount, err);
  if (r < 0)
    return r;
  int fds[FL_CREATE_DESCRIPTORS] = {fl_steal_fd(&theirs), fl_steal_fd(&output), fl_steal_fd(&errors), mount};
  r = fl_starts_create_rested(daemon, runtime, &daemon->rested[runtime].limits, fds, fl_steal_fd(&ours), err);
  for (int i = 0; i < FL_CREATE_DESCRIPTORS; i++)
    fl_close(&fds[i]);
  return r;
}

static void make_missed(struct fl_daemon *daemon, uint32_t runtime, uint64_t now_ns)
{
  struct fl_rested *rested = &daemon->rested[runtime];
  struct fl_error err = {0};

  if (!has_room(daemon) || fl_templates_ready(daemon, runtime) == 0) {
    rested->missed = 0;
    return;
  }
  rested->missed--;
  if (make(daemon, runtime, &err) < 0) {
    fl_daemon_log_error("rest", &err);
    rested->missed = 0;
  } else if (rested->missed) {
    wake_at(daemon, now_ns + (uint64_t)MAKE_AFTER_MS * MILLISECOND);
  }
}

void fl_rested_run(struct fl_daemon *daemon, uint64_t now_ns)
{
  if (daemon->rested_due_ns > now_ns)
    return;
  daemon->rested_due_ns = UINT64_MAX;
  for (uint32_t runtime = 0; runtime < daemon->pack->count; runtime++)
    if (daemon->rested[runtime].missed)
      make_missed(daemon, runtime, now_ns);
  for (uint32_t i = 0; i < daemon->instances; i++) {
    struct fl_instance *instance = daemon->instance[i];
    uint64_t until = instance->rested_ns + (uint64_t)IDLE_MS * MILLISECOND;

    if (instance->state == FL_INSTANCE_RESTED && until <= now_ns)
      fl_instances_kill(instance);
    else if (instance->state == FL_INSTANCE_RESTED)
      wake_at(daemon, until);
  }
}

uint64_t fl_rested_deadline_ns(const struct fl_daemon *daemon)
{
  return daemon->rested_due_ns;
}

bool fl_rested_give_way(struct fl_daemon *daemon)
{
  struct fl_instance *oldest = NULL;

  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->state == FL_INSTANCE_RESTED && (!oldest || daemon->instance[i]->rested_ns < oldest->rested_ns))
      oldest = daemon->instance[i];
  if (oldest)
    fl_instances_kill(oldest);
  return oldest != NULL;
}
