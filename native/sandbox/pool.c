/*
 * The pool's states and what moves them: see pool.h. Everything that can wait is done by fl_pool_tend, when the timer fires, never in a take.
 */
#include "sandbox/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/builder.h"
#include "sandbox/emptier.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

int64_t fl_pool_now(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void fl_pool_wake_at(struct fl_parts *parts, int64_t at)
{
  struct itimerspec when = { 0 };

  if (at == 0 || (parts->timer_at && parts->timer_at <= at))
    return;
  when.it_value.tv_sec = at / 1000;
  when.it_value.tv_nsec = at % 1000 * 1000000;
  if (timerfd_settime(parts->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
    parts->timer_at = at;
}

int fl_pool_watch(struct fl_parts *parts, int fd)
{
  struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

  return epoll_ctl(parts->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

void fl_pool_forget_fds(struct fl_slot *slot)
{
  slot->init_pidfd = slot->scratch_fd = slot->root_fd = slot->ruleset_fd = slot->cgroup.into_fd = -1;
  for (int index = 0; index < FL_CGROUP_JOINS_MAX; index++)
    slot->cgroup.join_fds[index] = -1;
}

static int order(struct fl_parts *parts, uint32_t op, uint32_t index)
{
  const struct fl_slot *slot = &parts->slot[index];
  const struct fl_order packet = { .op = op, .slot = index, .limits = slot->limits, .network = slot->network };

  return parts->socket_fd < 0 ? -ENOTCONN : fl_packet_send(parts->socket_fd, &packet, sizeof packet, &slot->scratch_fd, op == FL_ORDER_REMOVE && slot->scratch_fd >= 0);
}

/* When nothing starts any more, or starts have gone on for too long; and nobody waits for a sandbox. */
static int64_t calm_at(const struct fl_parts *parts)
{
  int64_t after = parts->taken_at + FL_POOL_REFILL_AFTER_MS, most = parts->burst_at + FL_POOL_BURST_MAX_MS, calm = after < most ? after : most, missed = parts->missed_at + FL_POOL_MISSED_MS;

  return missed > calm && parts->building > 0 && parts->ending < FL_POOL_PUT_OFF_MAX ? missed : calm;
}

static void forget_demand(struct fl_pool_kind *kind, int64_t now)
{
  for (; kind->demand && now - kind->demand_at >= FL_POOL_DEMAND_HALVES_MS; kind->demand_at += FL_POOL_DEMAND_HALVES_MS)
    kind->demand /= 2;
  if (!kind->demand)
    kind->demand_at = now;
}

void fl_pool_taken(struct fl_parts *parts, struct fl_pool_kind *kind)
{
  int64_t now = fl_pool_now();

  forget_demand(kind, now);                                      /* of the time before: this is new */
  kind->demand += kind->demand < parts->config.pool_ceiling;
  if (now - parts->taken_at >= FL_POOL_BURST_GAP_MS)
    parts->burst_at = now;
  parts->taken_at = now;
  fl_pool_wake_at(parts, now + FL_POOL_REFILL_AFTER_MS);
}

/* True, and seen to later, when it is to wait for calm. */
static bool put_off(struct fl_parts *parts, int64_t now)
{
  int64_t at = calm_at(parts);

  if (now >= at)
    return false;
  fl_pool_wake_at(parts, at);
  return true;
}

static void order_removal(struct fl_parts *parts, uint32_t index)
{
  /* Of the light class there may be processes left. */
  if (parts->slot[index].network.kind != FL_NETWORK_LIGHT && put_off(parts, fl_pool_now()))
    return;
  parts->slot[index].removal_sent = order(parts, FL_ORDER_REMOVE, index) == 0;
  if (parts->slot[index].removal_sent)
    fl_close(&parts->slot[index].scratch_fd);
  else
    fl_pool_wake_at(parts, fl_pool_now() + FL_POOL_RETRY_MS);    /* the socket is full, or the builder is being restarted */
}

void fl_pool_order_removals(struct fl_parts *parts)
{
  if (parts->ending == 0 || parts->socket_fd < 0)
    return;
  for (uint32_t index = 0; index < parts->config.slots; index++)
    if (parts->slot[index].state == FL_SLOT_ENDING && !parts->slot[index].removal_sent)
      order_removal(parts, index);
}

void fl_pool_end(struct fl_parts *parts, uint32_t index)
{
  struct fl_slot *slot = &parts->slot[index];

  /* Before the init ends: with the last reference to it a layer would be emptied here. */
  if (slot->network.kind == FL_NETWORK_LIGHT || !fl_emptier_needed(slot->scratch_fd))
    fl_close(&slot->scratch_fd);
  if (slot->init_pidfd >= 0 && slot->network.kind != FL_NETWORK_LIGHT)
    fl_pidfd_kill(slot->init_pidfd);
  fl_close(&slot->init_pidfd);
  fl_close(&slot->root_fd);
  fl_close(&slot->ruleset_fd);
  fl_cgroup_close(&slot->cgroup);
  slot->state = FL_SLOT_ENDING;
  slot->removal_sent = false;
  parts->ending++;
  order_removal(parts, index);
}

void fl_pool_end_room(struct fl_parts *parts)
{
  struct fl_pool_kind *kind = &parts->kind[FL_NETWORK_LIGHT];

  if (parts->room_pidfd >= 0)
    fl_pidfd_kill(parts->room_pidfd);
  fl_close(&parts->room_pidfd);
  while (kind->ready_count > 0)
    fl_pool_end(parts, kind->ready[--kind->ready_count]);
}

/* The builder may have made a new one. */
static void note_room(struct fl_parts *parts, pid_t pid, int pidfd)
{
  if (parts->room == pid)
    return;
  fl_pool_end_room(parts);
  parts->room = pid;
  parts->room_pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
}

static bool order_build(struct fl_parts *parts, uint32_t index, uint32_t network)
{
  parts->slot[index].network = (struct fl_network_want){ .kind = network, .address = network == FL_NETWORK_EGRESS ? fl_egress_address(&parts->egress, index) : 0 };
  if (order(parts, FL_ORDER_BUILD, index) < 0)
    return false;
  parts->slot[index].state = FL_SLOT_BUILDING;
  parts->slot[index].losses = parts->losses;
  parts->slot[index].limits = parts->config.defaults;
  parts->building++;
  parts->kind[network].building++;
  return true;
}

bool fl_pool_order_build(struct fl_parts *parts, uint32_t network)
{
  if (parts->kept_count > 0)
    return order_build(parts, parts->kept[parts->kept_count - 1], network) && parts->kept_count--;
  for (uint32_t tried = 0; tried < parts->config.slots; tried++) {
    uint32_t index = parts->cursor;

    parts->cursor = (index + 1) % parts->config.slots;           /* the slot freed longest ago: its ids rest a while */
    if (parts->slot[index].state == FL_SLOT_FREE)
      return order_build(parts, index, network);
  }
  return false;
}

/* The floor, and on top as many as were taken lately. */
static uint32_t in_demand(const struct fl_parts *parts, struct fl_pool_kind *kind, int64_t now)
{
  uint64_t count = kind->floor;

  forget_demand(kind, now);
  count += kind->demand;
  return count < parts->config.pool_ceiling ? (uint32_t)count : parts->config.pool_ceiling;
}

static void fill_kind(struct fl_parts *parts, uint32_t network, int64_t now)
{
  struct fl_pool_kind *kind = &parts->kind[network];
  uint32_t demanded = in_demand(parts, kind, now), target;

  /* Demand is half forgotten before a large burst is made up for: what was in demand once stays the target for longer. */
  if (kind->target < demanded)
    kind->target = demanded;
  target = kind->target == 0 && kind->waiting ? 1 : kind->target;

  if (kind->ready_count + kind->building >= target)
    return;
  if (now < kind->build_after) {
    fl_pool_wake_at(parts, kind->build_after);
    return;
  }
  if (kind->ready_count > 0 && put_off(parts, now))
    return;
  while (kind->ready_count + kind->building < target && parts->building < FL_BUILDS_MAX)
    if (!fl_pool_order_build(parts, network))
      return;
}

void fl_pool_fill(struct fl_parts *parts)
{
  int64_t now = fl_pool_now();

  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    fill_kind(parts, network, now);
}

bool fl_pool_unready(struct fl_parts *parts, uint32_t slot)
{
  struct fl_pool_kind *kind = &parts->kind[parts->slot[slot].network.kind];

  for (uint32_t at = 0; at < kind->ready_count; at++) {
    if (kind->ready[at] != slot)
      continue;
    kind->ready_count--;
    memmove(&kind->ready[at], &kind->ready[at + 1], (kind->ready_count - at) * sizeof *kind->ready);
    return true;
  }
  return false;
}

/* Clean cgroups that nobody has needed of late. */
static void drop_kept(struct fl_parts *parts)
{
  for (int dropped = 0; dropped < FL_POOL_DROPS_MAX && parts->kept_count > 0; dropped++) {
    uint32_t index = parts->kept[parts->kept_count - 1];

    if (order(parts, FL_ORDER_DROP, index) < 0)
      return;
    parts->kept_count--;
    parts->slot[index].before = (struct fl_cgroup_report){ 0 };
  }
}

static bool exceeds_floor(const struct fl_pool_kind *kind)
{
  return kind->ready_count > kind->floor || kind->target > kind->floor;
}

/* Whether it is in demand. The oldest one goes first. */
static bool shrink_kind(struct fl_parts *parts, struct fl_pool_kind *kind, int64_t now)
{
  uint32_t demanded = in_demand(parts, kind, now), index = kind->ready[0];

  kind->target -= kind->target > demanded;
  if (kind->ready_count > kind->target) {
    fl_pool_unready(parts, index);
    fl_pool_end(parts, index);
  }
  return demanded > kind->floor;
}

/* A short lull costs nothing. */
static void shrink(struct fl_parts *parts)
{
  int64_t now = fl_pool_now();
  bool excess = parts->kept_count > 0, demanded = false;

  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    excess = exceeds_floor(&parts->kind[network]) || excess;
  if (!excess) {
    parts->shrink_at = 0;
    return;
  }
  if (parts->shrink_at && now >= parts->shrink_at) {
    for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
      demanded = shrink_kind(parts, &parts->kind[network], now) || demanded;
    if (!demanded)
      drop_kept(parts);
  }
  if (!parts->shrink_at || now >= parts->shrink_at)
    parts->shrink_at = now + FL_POOL_SHRINK_EVERY_MS;
  fl_pool_wake_at(parts, parts->shrink_at);
}

int fl_pool_start_builder(struct fl_parts *parts, struct fl_error *err)
{
  int result = fl_builder_start(&parts->config, &parts->socket_fd, &parts->builder, err);

  if (result == 0 && fl_pool_watch(parts, parts->socket_fd) < 0)
    return fl_fail_errno(err, "epoll_ctl");
  return result;
}

void fl_pool_tend(struct fl_parts *parts, struct fl_error *err)
{
  int64_t now = fl_pool_now();

  if (parts->restart_at && now >= parts->restart_at)
    parts->restart_at = fl_pool_start_builder(parts, err) < 0 ? now + FL_POOL_RESTART_LAST_MS : 0;
  fl_pool_wake_at(parts, parts->restart_at);
  fl_pool_order_removals(parts);
  fl_pool_fill(parts);
  shrink(parts);
}

void fl_pool_builder_died(struct fl_parts *parts)
{
  parts->builder = 0;
  fl_pool_end_room(parts);                                       /* its successor knows nothing of it */
  parts->kept_count = 0;                                         /* its successor makes them anew */
  fl_pool_read_news(parts, NULL);                                /* what it had said before */
  fl_close(&parts->socket_fd);
  for (uint32_t index = 0; index < parts->config.slots; index++) {
    struct fl_slot *slot = &parts->slot[index];

    slot->removal_sent = false;                                  /* the orders died with it */
    if (slot->state != FL_SLOT_BUILDING)
      continue;
    parts->kind[slot->network.kind].building--;
    parts->building--;                                           /* half-made: its init has read an end of file */
    slot->state = FL_SLOT_ENDING;
    parts->ending++;
  }
  parts->restart_at = fl_pool_now() + parts->restart_pause;
  parts->restart_pause = parts->restart_pause * 2 > FL_POOL_RESTART_LAST_MS ? FL_POOL_RESTART_LAST_MS : parts->restart_pause * 2;
  fl_pool_wake_at(parts, parts->restart_at);
}

static void on_built(struct fl_parts *parts, const struct fl_news *news, const int *fds, size_t count)
{
  struct fl_slot *slot = &parts->slot[news->slot];
  struct fl_pool_kind *kind = &parts->kind[slot->network.kind];
  struct pollfd ended = { .fd = fds[0], .events = POLLIN };
  bool light = slot->network.kind == FL_NETWORK_LIGHT;
  size_t at = 2;

  slot->init_pidfd = fds[0];
  slot->scratch_fd = fds[1];
  if (light) {
    slot->root_fd = fds[at++];
    slot->ruleset_fd = fds[at++];
  }
  slot->cgroup = (struct fl_cgroup){ .slot = news->slot, .joins = news->joins, .into_fd = -1 };
  for (uint32_t index = 0; index < FL_CGROUP_JOINS_MAX; index++)
    slot->cgroup.join_fds[index] = index < news->joins ? fds[at++] : -1;
  if (at < count)
    slot->cgroup.into_fd = fds[at];
  kind->building--;
  parts->building--;
  parts->built++;
  if (poll(&ended, 1, 0) != 0) {                                 /* dead on arrival: its pid may have been reaped, and reused, already */
    fl_pool_end(parts, news->slot);
    return;
  }
  if (light)
    note_room(parts, news->pid, slot->init_pidfd);
  else
    slot->pid = news->pid;
  if (slot->network.kind == FL_NETWORK_EGRESS && slot->losses != parts->losses) {
    fl_pool_end(parts, news->slot);                              /* its cable was taken away, or hangs where nothing is said about it any more */
    return;
  }
  slot->on_demand = kind->waiting;
  kind->waiting = false;
  slot->state = FL_SLOT_READY;
  kind->ready[kind->ready_count++] = news->slot;
}

static int open_stage(struct fl_parts *parts, struct fl_error *err)
{
  char path[64];
  int fd;

  snprintf(path, sizeof path, "/proc/%d/ns/mnt", parts->builder);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fl_fail(err, FL_ERR_SYSTEM, errno, "open", "%s", path);
  fl_close(&parts->stage_fd);
  parts->stage_fd = fd;
  parts->restart_pause = FL_POOL_RESTART_FIRST_MS;
  return 0;
}

/* Whether the news fits what we know: the builder is ours, but a mistake there must not become memory corruption here. */
static bool fits(const struct fl_parts *parts, const struct fl_news *news, ssize_t size, size_t count)
{
  size_t least;
  uint8_t state;

  if (size != sizeof *news)
    return false;
  if (news->op == FL_NEWS_READY || news->op == FL_NEWS_FAILED_START)
    return count == 0;
  if (news->slot >= parts->config.slots)
    return false;
  state = parts->slot[news->slot].state;
  least = (parts->slot[news->slot].network.kind == FL_NETWORK_LIGHT ? 4 : 2) + news->joins;
  if (news->op == FL_NEWS_BUILT)
    return state == FL_SLOT_BUILDING && news->joins <= FL_CGROUP_JOINS_MAX && count >= least && count <= least + 1;
  return count == 0 && state == (news->op == FL_NEWS_FAILED_BUILD ? FL_SLOT_BUILDING : FL_SLOT_ENDING);
}

static void build_failed(struct fl_parts *parts, const struct fl_news *news)
{
  uint32_t network = parts->slot[news->slot].network.kind;
  struct fl_pool_kind *kind = &parts->kind[network];

  kind->building--;
  parts->building--;
  kind->build_after = fl_pool_now() + FL_POOL_RETRY_MS;
  /* A host without egress, or that makes no room, is no reason for a request to wait until its deadline. */
  if (network != FL_NETWORK_NONE && kind->waiting)
    kind->failure = news->error;
  fl_pool_end(parts, news->slot);
}

static int on_news(struct fl_parts *parts, const struct fl_news *news, const int *fds, size_t count, struct fl_error *err)
{
  switch (news->op) {
  case FL_NEWS_READY:
    return open_stage(parts, err);
  case FL_NEWS_BUILT:
    on_built(parts, news, fds, count);
    return 0;
  case FL_NEWS_REMOVED:
    parts->slot[news->slot].state = FL_SLOT_FREE;
    parts->ending--;
    if (news->kept)
      parts->kept[parts->kept_count++] = news->slot;
    else
      parts->slot[news->slot].before = (struct fl_cgroup_report){ 0 };
    return 0;
  case FL_NEWS_FAILED_BUILD:
    build_failed(parts, news);
    break;
  default:                                                       /* a failed start ends the builder, a slow removal goes on: both are only told */
    break;
  }
  return fl_fail(err, news->error.code, news->error.errno_value, news->error.op, "%s", news->error.detail);
}

int fl_pool_read_news(struct fl_parts *parts, struct fl_error *err)
{
  int first = 0;

  for (int turn = 0; parts->socket_fd >= 0 && turn < FL_POOL_NEWS_MAX; turn++) {
    struct fl_news news = { 0 };
    int fds[FL_PACKET_FDS_MAX], result;
    size_t count;
    ssize_t got = fl_packet_receive(parts->socket_fd, &news, sizeof news, fds, FL_PACKET_FDS_MAX, &count);

    if (got == -EAGAIN)
      break;
    if (got == 0 || got == -ECONNRESET) {
      fl_close(&parts->socket_fd);                               /* it died: fl_parts_reaped goes on */
      break;
    }
    if (fits(parts, &news, got, count)) {
      result = on_news(parts, &news, fds, count, err);
    } else {
      for (size_t index = 0; index < count; index++)
        close(fds[index]);
      result = fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "builder", "op %u, slot %u, %zd bytes, %zu descriptors", news.op, news.slot, got, count);
    }
    first = first ? first : result;
  }
  return first;
}
