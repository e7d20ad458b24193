/*
 * The instances that there are, from the first report of their fork to their end; starts.c makes them. The gateway gets exactly one answer to each CREATE (CREATED or FAILED) and exactly
 * one ENDED for each CREATED.
 *
 *   spare:  WAITING ─(sandbox)─▶ FORKING ─(FORKED and PARKED)─▶ PARKED ─┐
 *   CREATE, a spare there: ─────────────────────────────────────────────┴─(assignment)─▶ STARTING ─(RESUMED)─▶ RUNNING ─(reaped)─▶ gone
 *   CREATE, none: WAITING ─(sandbox, fork and assignment at once)──────────────────────────▲ └─(step failed, template lost)─▶ ENDING ─(reaped)─▶ gone
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "sandboxd/daemon.h"
#include "sys/syscalls.h"

enum { MILLISECOND = 1000000 };

void fl_instances_set_deadline(struct fl_daemon *daemon, struct fl_instance *instance, uint64_t at_ns)
{
  instance->deadline_ns = at_ns;
  if (at_ns && at_ns < daemon->instances_due_ns)
    daemon->instances_due_ns = at_ns;
}

static void close_given(struct fl_instance *instance)
{
  for (int i = 0; i < FL_ASSIGNED_FDS; i++)
    fl_close(&instance->fds[i]);
  fl_close(&instance->assignment);
}

void fl_instances_forget(struct fl_daemon *daemon, struct fl_instance *instance)
{
  fl_spares_leave(instance);
  close_given(instance);
  fl_close(&instance->bundle);
  fl_close(&instance->far);
  free(instance->policy);
  fl_names_forget(daemon, instance);
  fl_keepers_end(daemon, instance);
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i] == instance)
      daemon->instance[i] = daemon->instance[--daemon->instances];
  daemon->waiting -= instance->state == FL_INSTANCE_WAITING;
  if (instance->probe)
    fl_probe_ended(daemon, instance->probe);
  free(instance);
}

void fl_instances_refuse(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_error *err)
{
  daemon->forks_failed += instance->create_request != 0;
  if (instance->create_request && !instance->silent)
    fl_commands_refuse(daemon, instance->create_request, err);
  instance->announced = true;
}

void fl_instances_kill(struct fl_instance *instance)
{
  instance->killed = true;
  instance->state = FL_INSTANCE_ENDING;
  instance->deadline_ns = 0;
  if (instance->network != FL_NETWORK_LIGHT)
    fl_pidfd_kill(instance->sandbox.init_pidfd);
  else if (instance->pid)                        /* its children, and one whose pid is not known yet, follow: fl_parts_end, fl_instances_report */
    kill(instance->pid, SIGKILL);
  if (instance->keeper)                        /* while it is traced, its end would be told to nobody else */
    kill(instance->keeper, SIGKILL);
}

void fl_instances_kill_probe(struct fl_daemon *daemon, const struct fl_template_slot *slot)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->probe == slot && daemon->instance[i]->state == FL_INSTANCE_RUNNING)
      fl_instances_kill(daemon->instance[i]);
}

struct fl_instance *fl_instances_find(const struct fl_daemon *daemon, uint64_t id)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->id == id)
      return daemon->instance[i];
  return NULL;
}

static void tell_running(struct fl_daemon *daemon, struct fl_instance *instance)
{
  instance->announced = true;
  instance->state = FL_INSTANCE_RUNNING;
  instance->deadline_ns = 0;
  if (instance->probe) {
    fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_PROBE_MS * MILLISECOND);
    fl_probe_running(daemon, instance->probe, instance->pid);
    return;
  }
  if (instance->across && !instance->create_request) {
    fl_rested_made(daemon, instance);
    return;
  }
  struct fl_created created = {
      .header = fl_control_header(FL_MSG_CREATED, sizeof created, instance->create_request), .instance = instance->id, .pid = (uint32_t)instance->pid,
      .slot = instance->sandbox.slot, .pooled = instance->pooled, .from_function = instance->function != NULL, .reused = instance->across};

  fl_daemon_send(daemon, &created, sizeof created);
}

static void announce(struct fl_daemon *daemon, struct fl_instance *instance)
{
  tell_running(daemon, instance);
  close_given(instance);
}

void fl_instances_bound(struct fl_daemon *daemon, struct fl_instance *instance)
{
  instance->bound = true;
  daemon->forks++;
  announce(daemon, instance);
}

/* Of its present function alone. What a cgroup has held at most tells of all that it was, so that is unknown of the second one on. */
static void add_usage(struct fl_daemon *daemon, struct fl_instance *instance, uint64_t cpu_us, struct fl_ended *ended)
{
  struct fl_cgroup_report usage = {0};

  fl_parts_report(daemon->parts, &instance->sandbox, &usage);
  uint64_t total_us = usage.cpu_us ? usage.cpu_us : cpu_us;
  ended->oom_kills = usage.oom_kills;
  ended->pids_refused = usage.pids_refused;
  ended->sockets = instance->sockets;
  ended->memory_peak_bytes = instance->handed_on ? 0 : usage.memory_peak_bytes;
  ended->cpu_us = total_us > instance->cpu_before_us ? total_us - instance->cpu_before_us : 0;
  instance->cpu_before_us = total_us;
}

void fl_instances_tell_end(struct fl_daemon *daemon, struct fl_instance *instance)
{
  struct fl_ended ended = {.header = fl_control_header(FL_MSG_ENDED, sizeof ended, instance->destroy_request), .instance = instance->id, .how = FL_END_DESTROYED};

  add_usage(daemon, instance, 0, &ended);
  instance->handed_on = true;
  if (!instance->silent)
    fl_daemon_send(daemon, &ended, sizeof ended);
}

/* Its process is gone, or never came to be: the last word to the gateway, and the sandbox goes. */
static void finish(struct fl_daemon *daemon, struct fl_instance *instance, int status, uint64_t cpu_us)
{
  struct fl_ended ended = {.header = fl_control_header(FL_MSG_ENDED, sizeof ended, instance->destroy_request), .instance = instance->id};
  bool ours = instance->killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

  if (instance->create_request && !instance->announced) {
    fl_instances_refuse(daemon, instance, &(struct fl_error){FL_ERR_CHILD_LOST, 0, "fork", "the child ended before it was ready"});
  } else if (instance->resumed) {
    add_usage(daemon, instance, cpu_us, &ended);
    ended.how = ours ? FL_END_DESTROYED : WIFSIGNALED(status) ? FL_END_SIGNALED : FL_END_EXITED;
    ended.status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (instance->create_request && !instance->silent)
      fl_daemon_send(daemon, &ended, sizeof ended);
  }
  daemon->rests_failed += instance->bound;
  fl_parts_end(daemon->parts, &instance->sandbox);
  fl_instances_forget(daemon, instance);
}

bool fl_instances_unknown_child(const struct fl_daemon *daemon)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->state != FL_INSTANCE_WAITING && !daemon->instance[i]->pid)
      return true;
  return false;
}

/* The child's process may have ended before its template could tell its pid. */
static bool ended_early(struct fl_daemon *daemon, pid_t pid, struct fl_early_end *ret_end)
{
  for (uint32_t i = 0; i < daemon->early_ends; i++)
    if (daemon->early_end[i].pid == pid) {
      *ret_end = daemon->early_end[i];
      daemon->early_end[i] = daemon->early_end[--daemon->early_ends];
      return true;
    }
  return false;
}

static void fork_failed(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_fork_report *report)
{
  struct fl_error err = {0};

  fl_fail(&err, FL_ERR_SYSTEM, report->error, fl_step_name(report->step), "assembling the sandbox");
  if (!instance->announced)
    fl_instances_refuse(daemon, instance, &err);
  if (report->step == 0) {
    fl_parts_end(daemon->parts, &instance->sandbox);
    fl_instances_forget(daemon, instance);
  } else {
    fl_instances_kill(instance);
  }
}

static bool can_be_true(const struct fl_daemon *daemon, const struct fl_instance *instance, const struct fl_template *from, const struct fl_fork_report *report)
{
  struct fl_fork_progress progress = {.asked = instance->state != FL_INSTANCE_WAITING && instance->template == from && instance->layout == from->boot,
                                      .assigned = instance->state >= FL_INSTANCE_STARTING, .forked = instance->pid != 0, .parked = instance->parked, .resumed = instance->resumed};

  return fl_report_check(report, &progress) == 0 && (report->kind != FL_FORKED || fl_daemon_new_child(daemon, report->pid));
}

void fl_instances_distrust(const struct fl_template *template, const struct fl_fork_report *report)
{
  fl_daemon_log("template %d: killed: it reported what cannot be (kind %u, request %lu, pid %d)", template->pid, report->kind, report->request, report->pid);
  if (template->pid > 0)
    kill(template->pid, SIGKILL);                /* what it has forked is handled when it is reaped */
}

void fl_instances_report(struct fl_daemon *daemon, const struct fl_template *from, const struct fl_fork_report *report)
{
  struct fl_instance *instance = fl_instances_find(daemon, report->request);
  struct fl_early_end end;

  if (!instance) {
    fl_functions_report(daemon, from, report);
    return;
  }
  if (!can_be_true(daemon, instance, from, report)) {
    fl_instances_distrust(from, report);
    return;
  }
  if (report->kind == FL_FORKED) {
    instance->pid = report->pid;
    if (instance->killed && instance->network == FL_NETWORK_LIGHT)
      kill(instance->pid, SIGKILL);
  } else if (report->kind == FL_PARKED) {
    instance->parked = true;
  } else if (report->kind == FL_RESUMED) {
    instance->resumed = true;
  } else {
    fork_failed(daemon, instance, report);
    return;
  }
  if (instance->pid && instance->resumed && instance->state == FL_INSTANCE_STARTING) {
    announce(daemon, instance);
  } else if (instance->pid && instance->parked && instance->state == FL_INSTANCE_FORKING) {
    instance->state = FL_INSTANCE_PARKED;
    instance->deadline_ns = 0;
  }
  if (report->kind == FL_FORKED && ended_early(daemon, report->pid, &end))
    fl_instances_reaped(daemon, report->pid, end.status, end.cpu_us);
}

static struct fl_instance *by_pid(const struct fl_daemon *daemon, pid_t pid)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->pid == pid)
      return daemon->instance[i];
  return NULL;
}

bool fl_instances_reaped(struct fl_daemon *daemon, pid_t pid, int status, uint64_t cpu_us)
{
  struct fl_instance *instance = by_pid(daemon, pid);
  struct fl_fork_report report;

  /* It may have served its request and left before its report was read. */
  while (instance && instance->state == FL_INSTANCE_STARTING && instance->template && fl_template_report(instance->template, &report) == 0) {
    fl_instances_report(daemon, instance->template, &report);
    instance = by_pid(daemon, pid);
  }
  if (instance)
    finish(daemon, instance, status, cpu_us);
  return instance != NULL;
}

void fl_instances_destroy(struct fl_daemon *daemon, const struct fl_destroy *destroy)
{
  struct fl_instance *instance = fl_instances_find(daemon, destroy->instance);

  if (!instance || instance->state != FL_INSTANCE_RUNNING || instance->destroy_request) {
    struct fl_error err = {0};

    fl_fail(&err, FL_ERR_NO_INSTANCE, ENOENT, "destroy", "instance %lu is not running", destroy->instance);
    fl_commands_refuse(daemon, destroy->header.request, &err);
    return;
  }
  instance->destroy_request = destroy->header.request;
  if (destroy->flags & FL_DESTROY_REST && fl_rested_again(daemon, instance))
    return;
  if (destroy->flags & FL_DESTROY_EXPECT_EXIT)
    fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_EXIT_GRACE_MS * MILLISECOND);
  else
    fl_instances_kill(instance);
}

/* Processes of the light class are not sandboxd's to place (sched_setaffinity(2)). */
static int place(struct fl_daemon *daemon, struct fl_instance *instance, uint32_t processors, struct fl_error *err)
{
  bool same = processors == instance->processors && !instance->misplaced;

  instance->processors = processors;
  instance->misplaced = !same && instance->keeper_request;
  if (same || instance->misplaced || instance->network == FL_NETWORK_LIGHT)
    return 0;
  int r = fl_parts_place(daemon->parts, &instance->sandbox, &daemon->lane.processors[processors]);
  return r < 0 ? fl_fail(err, FL_ERR_SYSTEM, -r, "sched_setaffinity", "instance %lu", instance->id) : 0;
}

void fl_instances_place_again(struct fl_daemon *daemon, struct fl_instance *instance)
{
  struct fl_error err = {0};

  if (instance->misplaced && place(daemon, instance, instance->processors, &err) < 0)
    fl_daemon_log_error("place", &err);
}

int fl_instances_move(struct fl_daemon *daemon, struct fl_instance *instance, bool yields, uint32_t processors, struct fl_error *err)
{
  int r = fl_parts_yield(daemon->parts, &instance->sandbox, yields, err);

  if (r < 0)
    return r;
  instance->yields = yields;
  r = place(daemon, instance, processors, err);
  return r < 0 ? r : fl_bombs_watch(daemon, instance, err);
}

void fl_instances_advise(struct fl_daemon *daemon, struct fl_instance *instance, bool yields, uint32_t processors)
{
  struct fl_error err = {0};

  if (fl_instances_move(daemon, instance, yields, processors, &err) < 0)
    fl_daemon_log_error("place", &err);
}

void fl_instances_advise_first(struct fl_daemon *daemon, struct fl_instance *instance)
{
  if (instance->yields || instance->misplaced)
    fl_instances_advise(daemon, instance, instance->yields, instance->processors);
}

/* It may be over already. */
void fl_instances_place(struct fl_daemon *daemon, const struct fl_place *place)
{
  struct fl_instance *instance = fl_instances_find(daemon, place->instance);

  if (instance && instance->state == FL_INSTANCE_RUNNING)
    fl_instances_advise(daemon, instance, place->yields, place->processors);
}

/* A template died with forks under way: a child whose pid is unknown can only be ended through its sandbox. */
void fl_instances_template_lost(struct fl_daemon *daemon, const struct fl_template *template)
{
  struct fl_error err = {FL_ERR_TEMPLATE, 0, "fork", "the template ended"};

  fl_functions_template_lost(daemon, template);

  for (uint32_t i = 0; i < daemon->instances;) {
    struct fl_instance *instance = daemon->instance[i];

    if (instance->template != template || instance->state == FL_INSTANCE_RUNNING || (instance->state == FL_INSTANCE_ENDING && instance->pid)) {
      i++;
      continue;
    }
    if (!instance->announced)
      fl_instances_refuse(daemon, instance, &err);
    if (instance->pid) {
      fl_instances_kill(instance);
      i++;
    } else {
      fl_parts_end(daemon->parts, &instance->sandbox);
      fl_instances_forget(daemon, instance);
    }
  }
}

bool fl_instances_template_unused(struct fl_daemon *daemon, const struct fl_template *template)
{
  bool unused = true;

  for (uint32_t i = 0; i < daemon->instances; i++) {
    struct fl_instance *instance = daemon->instance[i];

    if (instance->template != template || instance->layout != template->boot)
      continue;
    if (instance->state == FL_INSTANCE_PARKED || instance->state == FL_INSTANCE_RESTING || instance->state == FL_INSTANCE_RESTED)
      fl_instances_kill(instance);
    unused = unused && instance->state != FL_INSTANCE_FORKING && instance->state != FL_INSTANCE_STARTING;
  }
  return unused;
}

void fl_instances_expire(struct fl_daemon *daemon, uint64_t now_ns)
{
  if (daemon->instances_due_ns > now_ns)
    return;
  daemon->instances_due_ns = UINT64_MAX;
  for (uint32_t i = 0; i < daemon->instances; i++) {
    struct fl_instance *instance = daemon->instance[i];

    if (!instance->deadline_ns || instance->deadline_ns > now_ns) {
      fl_instances_set_deadline(daemon, instance, instance->deadline_ns);
      continue;
    }
    instance->deadline_ns = 0;
    if (instance->state == FL_INSTANCE_RUNNING || instance->state == FL_INSTANCE_RESTING)
      fl_instances_kill(instance);
    else if (instance->parked)
      fl_instances_kill(instance);
    else if (instance->state == FL_INSTANCE_FORKING || instance->state == FL_INSTANCE_STARTING)
      kill(instance->template->pid, SIGKILL);    /* the template is stuck; its end is handled when it is reaped */
  }
}

uint64_t fl_instances_deadline_ns(const struct fl_daemon *daemon)
{
  return daemon->instances_due_ns;
}

void fl_instances_kill_network(struct fl_daemon *daemon, uint32_t network)
{
  for (uint32_t i = 0; i < daemon->instances; i++)
    if (daemon->instance[i]->network == network && daemon->instance[i]->state != FL_INSTANCE_WAITING)
      fl_instances_kill(daemon->instance[i]);
}

void fl_instances_kill_all(struct fl_daemon *daemon)
{
  for (uint32_t i = 0; i < daemon->instances;) {
    struct fl_instance *instance = daemon->instance[i];

    if (!instance->create_request && !daemon->stopping) {
      i++;
      continue;
    }
    if (instance->state == FL_INSTANCE_WAITING) {
      fl_instances_forget(daemon, instance);
      continue;
    }
    instance->silent = true;
    fl_instances_kill(instance);
    i++;
  }
}
