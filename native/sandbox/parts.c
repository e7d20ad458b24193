/*
 * Parts as sandboxd sees them: see parts.h. What moves a slot from one state to the next is in pool.c; this is opening, closing, taking and ending.
 */
#include "sandbox/parts.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/base.h"
#include "sandbox/builder.h"
#include "sandbox/light.h"
#include "sandbox/network.h"
#include "sandbox/policy.h"
#include "sandbox/pool.h"

enum { START_MAX_MS = 10000, CLOSE_MAX_MS = 5000, CLOSE_POLL_MS = 5, TEMPLATE_TMP_BYTES = 64 << 20, TEMPLATE_TMP_INODES = 10000 };

static int check(const struct fl_parts_config *config, struct fl_error *err)
{
  uint64_t last = (uint64_t)config->uid_base + (uint64_t)config->slots * FL_UIDS_PER_SLOT;

  if (config->uid_base < FL_UIDS_PER_SLOT || config->uid_base % FL_UIDS_PER_SLOT || config->slots == 0 || last > UINT32_MAX)
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "uid range", "base %u, slots %u", config->uid_base, config->slots);
  if (config->pool_floor > config->pool_ceiling || config->pool_ceiling > config->slots)
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "pool size", "%u … %u of %u slots", config->pool_floor, config->pool_ceiling, config->slots);
  return 0;
}

/* Waits for the builder's first news: a base that cannot be built is an error of open, not of the first take. */
static int await_builder(struct fl_parts *parts, struct fl_error *err)
{
  struct pollfd polled = { .fd = parts->socket_fd, .events = POLLIN };
  int result = poll(&polled, 1, START_MAX_MS);

  if (result <= 0)
    return fl_fail(err, FL_ERR_CHILD_LOST, result < 0 ? errno : ETIMEDOUT, "start builder", "not ready in %d ms", START_MAX_MS);
  result = fl_pool_read_news(parts, err);
  if (result == 0 && parts->stage_fd < 0)
    return fl_fail(err, FL_ERR_CHILD_LOST, 0, "start builder", "it ended before it reported");
  return result;
}

static int open_all(struct fl_parts *parts, struct fl_error *err)
{
  int result;

  parts->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  parts->poll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (parts->timer_fd < 0 || parts->poll_fd < 0 || fl_pool_watch(parts, parts->timer_fd) < 0)
    return fl_fail_errno(err, "timerfd, epoll");
  result = fl_cgroup_host_open(parts->config.cgroup_name, &parts->host, err);
  if (result == 0)
    result = fl_cgroup_host_sweep(parts->host, err);
  if (result == 0)                                               /* after that: nobody is left who could use what goes */
    result = fl_egress_start(&(struct fl_egress_config){ .name = parts->name, .range = parts->config.egress_range, .slots = parts->config.slots, .nameserver = parts->config.nameserver },
                             &parts->egress, err);
  /* The builder is forked before the filter is compiled: what libseccomp allocates would be shared into every init. */
  if (result == 0)
    result = fl_pool_start_builder(parts, err);
  if (result == 0)
    result = fl_filter_compile(&parts->filter, err);
  return result < 0 ? result : await_builder(parts, err);
}

int fl_parts_open(const struct fl_parts_config *config, struct fl_parts **ret_parts, struct fl_error *err)
{
  struct fl_parts *parts;
  int result = check(config, err);

  if (result < 0)
    return result;
  parts = calloc(1, sizeof *parts + config->slots * sizeof *parts->slot);
  if (!parts)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", NULL);
  parts->poll_fd = parts->timer_fd = parts->socket_fd = parts->stage_fd = parts->own_mounts = parts->room_pidfd = -1;
  parts->restart_pause = FL_POOL_RESTART_FIRST_MS;
  parts->config = *config;
  for (uint32_t index = 0; index < config->slots; index++)
    fl_pool_forget_fds(&parts->slot[index]);
  parts->config.cgroup_name = parts->name = strdup(config->cgroup_name);
  parts->kept = calloc(config->slots, sizeof *parts->kept);
  bool allocated = parts->name && parts->kept;
  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    allocated = (parts->kind[network].ready = calloc(config->slots, sizeof(uint32_t))) && allocated;
  parts->kind[FL_NETWORK_NONE].floor = config->pool_floor;
  result = allocated ? open_all(parts, err) : fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", NULL);
  if (result < 0) {
    fl_parts_close(parts);
    return result;
  }
  fl_pool_fill(parts);
  *ret_parts = parts;
  return 0;
}

static void end_all(struct fl_parts *parts)
{
  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    parts->kind[network].ready_count = 0;
  for (uint32_t index = 0; index < parts->config.slots; index++) {
    struct fl_slot *slot = &parts->slot[index];

    if (slot->state == FL_SLOT_TAKEN && slot->pid > 0)
      kill(slot->pid, SIGKILL);                                  /* not reaped yet, so the pid is still its own; the pidfd is the taker's */
    if (slot->state == FL_SLOT_TAKEN || slot->state == FL_SLOT_READY)
      fl_pool_end(parts, index);
  }
}

/* Bounded. Everything is being killed, yet an init ends only when its instance was reaped, and we are the parent of both: so all children are reaped here. */
static void drain(struct fl_parts *parts)
{
  int64_t deadline = fl_pool_now() + CLOSE_MAX_MS;

  end_all(parts);
  fl_pool_end_room(parts);
  while (((parts->ending + parts->building > 0 && parts->socket_fd >= 0) || parts->room > 0) && fl_pool_now() < deadline) {
    struct pollfd polled = { .fd = parts->socket_fd, .events = POLLIN };
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
      fl_parts_reaped(parts, pid, 0);
    poll(&polled, 1, CLOSE_POLL_MS);
    fl_pool_read_news(parts, NULL);
    end_all(parts);                                              /* builds that were under way */
    fl_pool_order_removals(parts);
  }
}

void fl_parts_close(struct fl_parts *parts)
{
  if (!parts)
    return;
  drain(parts);
  fl_pool_end_room(parts);                                       /* one that was made meanwhile */
  fl_close(&parts->socket_fd);
  if (parts->builder > 0) {
    kill(parts->builder, SIGKILL);                               /* idle by now; if not, nothing it does may outlive us */
    waitpid(parts->builder, NULL, 0);
  }
  if (parts->host)
    fl_cgroup_host_sweep(parts->host, NULL);                     /* those that are kept; what stays nevertheless is swept by the next generation */
  fl_close(&parts->stage_fd);
  fl_close(&parts->own_mounts);
  fl_close(&parts->timer_fd);
  fl_close(&parts->poll_fd);
  fl_egress_stop(&parts->egress);
  fl_cgroup_host_close(parts->host);
  free(parts->filter.filter);
  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    free(parts->kind[network].ready);
  free(parts->kept);
  free(parts->name);
  free(parts);
}

int fl_parts_fd(const struct fl_parts *parts)
{
  return parts->poll_fd;
}

/* Once: egress is there, but packets will probably not get through. */
static int tell_obstacle(struct fl_parts *parts, struct fl_error *err)
{
  char obstacle[sizeof parts->egress.obstacle];

  if (!parts->egress.obstacle[0])
    return 0;
  memcpy(obstacle, parts->egress.obstacle, sizeof obstacle);
  parts->egress.obstacle[0] = 0;
  return fl_fail(err, FL_ERR_NETWORK, 0, "egress", "this host's firewall drops what is forwarded (%s): let egressRange through", obstacle);
}

int fl_parts_dispatch(struct fl_parts *parts, struct fl_error *err)
{
  uint64_t expirations;
  int result = tell_obstacle(parts, err);

  if (read(parts->timer_fd, &expirations, sizeof expirations) == sizeof expirations)
    parts->timer_at = 0;
  if (fl_pool_read_news(parts, err) < 0 && result == 0)
    result = -EIO;
  fl_pool_tend(parts, err);
  return result;
}

static int resize_scratch(int scratch_fd, const struct fl_limits *limits, struct fl_error *err)
{
  fl_autoclose int context = fspick(scratch_fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
  char size[24], inodes[24];

  if (context < 0)
    return fl_fail_errno(err, "fspick");
  snprintf(size, sizeof size, "%" PRIu64, limits->tmp_bytes);
  snprintf(inodes, sizeof inodes, "%" PRIu64, (uint64_t)limits->tmp_inodes + FL_SCRATCH_INODES);
  if (fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) < 0 || fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) < 0 ||
      fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, errno, "resize scratch", "size=%s,nr_inodes=%s", size, inodes);
  return 0;
}

int fl_parts_limit(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_limits *limits, struct fl_error *err)
{
  const struct fl_limits *defaults = &parts->config.defaults;
  int result = fl_cgroup_limit(parts->host, &sandbox->cgroup, defaults, limits, err);

  parts->slot[sandbox->slot].limits = *limits;
  if (result == 0 && (limits->tmp_bytes != defaults->tmp_bytes || limits->tmp_inodes != defaults->tmp_inodes))
    result = resize_scratch(sandbox->scratch_fd, limits, err);
  return result;
}

int fl_parts_yield(struct fl_parts *parts, const struct fl_sandbox *sandbox, bool yields, struct fl_error *err)
{
  return fl_cgroup_yield(parts->host, &sandbox->cgroup, yields, err);
}

int fl_parts_place(struct fl_parts *parts, const struct fl_sandbox *sandbox, const cpu_set_t *processors)
{
  return fl_cgroup_place(parts->host, &sandbox->cgroup, processors);
}

int fl_parts_refused(const struct fl_parts *parts, const struct fl_sandbox *sandbox, uint64_t *ret_forks)
{
  return fl_cgroup_refused(parts->host, &sandbox->cgroup, ret_forks);
}

int fl_parts_hold(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_limits *limits, uint32_t cpu_millis, struct fl_error *err)
{
  struct fl_limits *now = &parts->slot[sandbox->slot].limits, before = *now;

  *now = *limits;
  now->cpu_millis = cpu_millis;
  return fl_cgroup_limit(parts->host, &sandbox->cgroup, &before, now, err);
}

void fl_parts_report(struct fl_parts *parts, const struct fl_sandbox *sandbox, struct fl_cgroup_report *ret_report)
{
  struct fl_cgroup_report *before = &parts->slot[sandbox->slot].before, now;

  fl_cgroup_report(parts->host, &sandbox->cgroup, &now);
  *ret_report = now;
  ret_report->oom_kills -= before->oom_kills;
  ret_report->pids_refused -= before->pids_refused;
  *before = now;
}

static int miss(struct fl_parts *parts, uint32_t network, struct fl_error *err)
{
  struct fl_pool_kind *kind = &parts->kind[network];
  bool may_build = fl_pool_now() >= kind->build_after && parts->socket_fd >= 0;

  if (kind->failure.code != FL_OK) {
    struct fl_error failure = kind->failure;

    kind->failure = (struct fl_error){ 0 };
    kind->waiting = false;
    return fl_fail(err, failure.code, failure.errno_value, failure.op, "%s", failure.detail);
  }
  kind->waiting = true;
  parts->missed_at = fl_pool_now();
  if (may_build && parts->building < FL_BUILDS_MAX)
    fl_pool_order_build(parts, network);
  if (may_build && parts->building == 0 && parts->ending == 0)
    return fl_fail(err, FL_ERR_FULL, ENOSPC, "take sandbox", "all %u slots are in use", parts->config.slots);
  return -EAGAIN;                                                /* one is being built, or a slot is about to be free */
}

static uint32_t needed_floor(const struct fl_parts *parts)
{
  return parts->config.pool_floor < FL_POOL_NEEDED_FLOOR ? parts->config.pool_floor : FL_POOL_NEEDED_FLOOR;
}

/* SLOW PATH, once: the first sandbox of the light class. */
static int need_light(struct fl_parts *parts, struct fl_error *err)
{
  uint32_t abi = fl_light_abi();

  if (abi < FL_LIGHT_ABI)
    return fl_fail(err, FL_ERR_ISOLATION, ENOSYS, "light class", "it needs Landlock of version %d, this kernel has %u", FL_LIGHT_ABI, abi);
  parts->own_mounts = fl_light_own(err);
  if (parts->own_mounts < 0)
    return parts->own_mounts;
  parts->kind[FL_NETWORK_LIGHT].floor = needed_floor(parts);
  return 0;
}

/* SLOW PATH, once: the first sandbox with egress. */
static int need_egress(struct fl_parts *parts, struct fl_error *err)
{
  int result = fl_egress_open(&parts->egress, err);

  if (result < 0)
    return result;
  parts->kind[FL_NETWORK_EGRESS].floor = needed_floor(parts);
  return fl_pool_watch(parts, fl_egress_fd(&parts->egress)) < 0 ? fl_fail_errno(err, "epoll_ctl") : 0;
}

bool fl_parts_egress_lost(struct fl_parts *parts)
{
  struct fl_pool_kind *kind = &parts->kind[FL_NETWORK_EGRESS];

  if (!fl_egress_lost(&parts->egress))
    return false;
  parts->losses++;                                               /* those that are being built are ended when they arrive */
  while (kind->ready_count > 0)
    fl_pool_end(parts, kind->ready[--kind->ready_count]);
  kind->floor = kind->target = 0;                                /* until it is needed again */
  return true;
}

int fl_parts_grant(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_egress_policy *policy, struct fl_error *err)
{
  if (sandbox->network != FL_NETWORK_EGRESS)
    return 0;
  parts->slot[sandbox->slot].named = policy->flags & FL_EGRESS_NAMES;
  return fl_egress_grant(&parts->egress, sandbox->slot, policy, err);
}

int fl_parts_names_open(struct fl_parts *parts, struct fl_error *err)
{
  const struct fl_egress_policy name_server_alone = { .bytes_per_second = FL_EGRESS_RATE_MAX };
  int result = parts->egress.open ? 0 : need_egress(parts, err);

  if (result < 0)
    return result;
  if (!parts->egress.nameserver)
    return fl_fail(err, FL_ERR_NETWORK, ENOENT, "host names", "this host has no name server but on the loopback: set egressDns");
  return fl_egress_grant(&parts->egress, parts->config.slots, &name_server_alone, err);
}

uint32_t fl_parts_egress_first(const struct fl_parts *parts)
{
  return fl_egress_address(&parts->egress, 0);
}

int fl_parts_open_targets(struct fl_parts *parts, const struct fl_sandbox *sandbox, const struct fl_egress_target *target, uint32_t count, uint32_t seconds, struct fl_error *err)
{
  return fl_egress_open_targets(&parts->egress, sandbox->slot, target, count, seconds, err);
}

int fl_parts_bundle(struct fl_parts *parts, const struct fl_sandbox *sandbox, int bundle, struct fl_error *err)
{
  return sandbox->network == FL_NETWORK_LIGHT ? fl_light_mount(parts->own_mounts, sandbox, bundle, err) : 0;
}

int fl_parts_take(struct fl_parts *parts, uint32_t network, struct fl_sandbox *ret_sandbox, struct fl_error *err)
{
  struct fl_pool_kind *kind = &parts->kind[network];
  struct fl_slot *slot;
  uint32_t index;
  int result = network == FL_NETWORK_EGRESS && !parts->egress.open ? need_egress(parts, err) : network == FL_NETWORK_LIGHT && parts->own_mounts < 0 ? need_light(parts, err) : 0;

  if (result < 0)
    return result;
  if (kind->ready_count == 0)
    return miss(parts, network, err);
  index = kind->ready[--kind->ready_count];
  slot = &parts->slot[index];
  *ret_sandbox = (struct fl_sandbox){
    .slot = index, .network = network, .pooled = !slot->on_demand, .init_pid = slot->pid, .init_pidfd = slot->init_pidfd, .scratch_fd = slot->scratch_fd,
    .root_fd = slot->root_fd, .ruleset_fd = slot->ruleset_fd, .cgroup = slot->cgroup,
  };
  fl_pool_forget_fds(slot);                                      /* they are the caller's now */
  slot->state = FL_SLOT_TAKEN;
  parts->on_demand += slot->on_demand;
  fl_pool_taken(parts, kind);
  return 0;
}

void fl_parts_end(struct fl_parts *parts, struct fl_sandbox *sandbox)
{
  struct fl_slot *slot = &parts->slot[sandbox->slot];

  if (slot->named)
    fl_egress_revoke(&parts->egress, sandbox->slot);
  slot->named = false;
  if (slot->state == FL_SLOT_TAKEN) {
    slot->init_pidfd = fl_steal_fd(&sandbox->init_pidfd);
    slot->scratch_fd = fl_steal_fd(&sandbox->scratch_fd);
    fl_pool_end(parts, sandbox->slot);
  }
  fl_close(&sandbox->init_pidfd);
  fl_close(&sandbox->scratch_fd);
  fl_close(&sandbox->root_fd);
  fl_close(&sandbox->ruleset_fd);
  fl_cgroup_close(&sandbox->cgroup);
  sandbox->init_pid = 0;
}

bool fl_parts_runs(const struct fl_parts *parts, pid_t pid)
{
  return pid == parts->builder || pid == parts->room;
}

bool fl_parts_reaped(struct fl_parts *parts, pid_t pid, int wait_status)
{
  (void)wait_status;                                             /* however it ended, the consequence is the same */
  if (pid <= 0)
    return false;
  if (pid == parts->builder) {
    fl_pool_builder_died(parts);
    return true;
  }
  if (pid == parts->room) {
    parts->room = 0;
    fl_pool_end_room(parts);
    fl_pool_wake_at(parts, fl_pool_now() + FL_POOL_REFILL_AFTER_MS);
    return true;
  }
  for (uint32_t index = 0; index < parts->config.slots; index++) {
    if (parts->slot[index].pid != pid)
      continue;
    parts->slot[index].pid = 0;
    if (fl_pool_unready(parts, index)) {
      fl_pool_end(parts, index);
      fl_pool_wake_at(parts, fl_pool_now() + FL_POOL_REFILL_AFTER_MS);
    }
    return true;
  }
  return false;
}

void fl_parts_levels(const struct fl_parts *parts, struct fl_parts_levels *ret_levels)
{
  *ret_levels = (struct fl_parts_levels){ .building = parts->building, .ending = parts->ending, .built = parts->built, .on_demand = parts->on_demand };
  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    ret_levels->pooled += parts->kind[network].ready_count;
}

int fl_parts_enter_base(const struct fl_parts *parts, struct fl_error *err)
{
  const struct fl_root root = { .tmp_bytes = TEMPLATE_TMP_BYTES, .tmp_inodes = TEMPLATE_TMP_INODES, .owner = FL_ROOT_MAKER };
  int result;

  if (setns(parts->stage_fd, CLONE_NEWNS) < 0)
    return fl_fail_errno(err, "setns stage");
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
    return fl_fail_errno(err, "unshare");
  result = fl_base_enter(&root, NULL, err);
  return result < 0 ? result : fl_network_loopback(err);
}

struct sock_fprog fl_parts_filter(const struct fl_parts *parts)
{
  return parts->filter;
}

struct fl_cgroup_host *fl_parts_cgroup_host(const struct fl_parts *parts)
{
  return parts->host;
}
