/*
 * The builder process: see builder.h. It is root and forks the inits, so it keeps little memory (every init shares its pages) and reads nothing but the orders
 * of its own parent and one struct from each init while that still runs our code.
 */
#include "sandbox/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/lane.h"
#include "sandbox/base.h"
#include "sandbox/emptier.h"
#include "sandbox/init.h"
#include "sandbox/light.h"
#include "sandbox/network.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { SOCKET = 3, BINARY, RETRY_FIRST_MS = 2, RETRY_LAST_MS = 1000, OPEN_FDS_MAX = 4 + FL_CGROUP_JOINS_MAX, LIST_AFTER_MS = 50 };

/* The network namespace is a part of its own: see network.h. */
#define SANDBOX_FLAGS (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)

struct build {                                   /* free when socket_fd < 0 */
  uint32_t slot;
  struct fl_network_want network;
  int socket_fd, pidfd;
  pid_t pid;
  struct fl_cgroup cgroup;
  int64_t deadline;
};

struct removal { uint32_t slot; struct fl_limits limits; struct fl_network_want network; bool emptied; int64_t next, slow_at, pause, list_at; };

struct builder {
  struct fl_parts_config config;
  struct fl_cgroup_host *host;
  struct fl_networks networks;
  struct fl_light light;
  struct build build[FL_BUILDS_MAX];
  struct removal *removal;                       /* as many as there are slots: each slot is ordered removed once */
  uint32_t removals, kept;
  bool *keeps;                                   /* per slot: its cgroup stands, clean */
};

static int64_t now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Blocks when sandboxd is slow to read; when it is gone there is nothing left to do. */
static void tell(const struct fl_news *news, const int *fds, size_t count)
{
  if (fl_packet_send(SOCKET, news, sizeof *news, fds, count) < 0)
    _exit(0);
}

static int write_id_map(pid_t pid, const char *map, uint32_t base, struct fl_error *err)
{
  char path[64], text[64];
  int result;

  snprintf(path, sizeof path, "/proc/%d/%s", pid, map);
  snprintf(text, sizeof text, "0 %u %u\n", base, FL_UIDS_PER_SLOT);
  result = fl_file_write(AT_FDCWD, path, text);
  return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, map, "0 %u %u", base, FL_UIDS_PER_SLOT) : 0;
}

static int prepare_init(const struct builder *builder, struct build *build, struct fl_error *err)
{
  static const char go = FL_INIT_GO;
  uint32_t base = builder->config.uid_base + build->slot * FL_UIDS_PER_SLOT;
  char path[64];
  int result = write_id_map(build->pid, "uid_map", base, err);

  if (result == 0)
    result = write_id_map(build->pid, "gid_map", base, err);
  if (result < 0)
    return result;
  /* In a memory shortage the function dies, not the sandbox around it. Not permitted without CAP_SYS_RESOURCE: then the kernel's judgement has to do. */
  snprintf(path, sizeof path, "/proc/%d/oom_score_adj", build->pid);
  fl_file_write(AT_FDCWD, path, "-1000");
  result = fl_packet_send(build->socket_fd, &go, 1, NULL, 0);
  return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, "start init", NULL) : 0;
}

static int clone_init(struct builder *builder, struct build *build, struct fl_error *err)
{
  struct clone_args args = { .flags = SANDBOX_FLAGS | CLONE_PARENT | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&build->pidfd };
  fl_autoclose int far = -1;
  int pair[2], pid;

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  build->socket_fd = pair[0];
  far = pair[1];
  if (build->cgroup.into_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)build->cgroup.into_fd;
  }
  int result = fl_networks_enter(&builder->networks, build->slot, build->network, err);
  pid = result < 0 ? result : fl_clone3(&args);
  if (pid == 0)
    fl_init_run(far, &build->cgroup, &builder->config.defaults);
  if (pid > 0)
    build->pid = pid;
  if (fl_networks_leave(&builder->networks, err) < 0)
    _exit(1);                                                    /* sandboxd starts another builder; better none than one in a sandbox's network */
  return result < 0 ? result : pid < 0 ? fl_fail(err, FL_ERR_SYSTEM, -pid, "clone3", "sandbox") : 0;
}

/* Forgets a build: its init lives on when it was told so, and reads an end of file otherwise. */
static void release_build(struct build *build)
{
  fl_close(&build->socket_fd);
  fl_close(&build->pidfd);
  fl_cgroup_close(&build->cgroup);
}

static void fail_build(struct build *build, const struct fl_error *error)
{
  struct fl_news news = { .op = FL_NEWS_FAILED_BUILD, .slot = build->slot, .pid = build->pid, .error = *error };

  if (build->pidfd >= 0)
    fl_pidfd_kill(build->pidfd);
  release_build(build);
  tell(&news, NULL, 0);
}

static int take_cgroup(struct builder *builder, uint32_t slot, struct fl_cgroup *ret_cgroup, struct fl_error *err)
{
  if (!builder->keeps[slot])
    return fl_cgroup_create(builder->host, slot, &builder->config.defaults, ret_cgroup, err);
  builder->keeps[slot] = false;
  builder->kept--;
  return fl_cgroup_open(builder->host, slot, ret_cgroup, err);
}

static size_t append_cgroup(int *fds, size_t count, const struct fl_cgroup *cgroup)
{
  for (uint32_t index = 0; index < cgroup->joins; index++)
    fds[count++] = cgroup->join_fds[index];
  if (cgroup->into_fd >= 0)
    fds[count++] = cgroup->into_fd;
  return count;
}

/* All at once: there is no init of its own to wait for. */
static void build_light(struct builder *builder, uint32_t slot)
{
  struct fl_news news = { .op = FL_NEWS_BUILT, .slot = slot };
  struct fl_cgroup cgroup = { .into_fd = -1, .join_fds = { -1, -1, -1, -1 } };
  struct fl_light_tree tree = { -1, -1, -1 };
  int result = take_cgroup(builder, slot, &cgroup, &news.error);

  if (result == 0)
    result = fl_light_build(&builder->light, &builder->config, &builder->networks, slot, &tree, &news.error);
  if (result == 0) {
    int fds[OPEN_FDS_MAX] = { builder->light.room, tree.scratch_fd, tree.root_fd, tree.ruleset_fd };

    news.pid = builder->light.pid;
    news.joins = cgroup.joins;
    tell(&news, fds, append_cgroup(fds, 4, &cgroup));
  } else {
    news.op = FL_NEWS_FAILED_BUILD;
    tell(&news, NULL, 0);
  }
  fl_close(&tree.scratch_fd);
  fl_close(&tree.root_fd);
  fl_close(&tree.ruleset_fd);
  fl_cgroup_close(&cgroup);
}

static void start_build(struct builder *builder, const struct fl_order *order)
{
  uint32_t slot = order->slot;
  struct fl_error error = { 0 };
  struct build *build = builder->build;
  int result;

  while (build < builder->build + FL_BUILDS_MAX && build->socket_fd >= 0)
    build++;
  if (build == builder->build + FL_BUILDS_MAX) {                 /* sandboxd keeps the same bound */
    struct fl_news news = { .op = FL_NEWS_FAILED_BUILD, .slot = slot };

    fl_fail(&news.error, FL_ERR_FULL, EBUSY, "build", "too many at once");
    tell(&news, NULL, 0);
    return;
  }
  *build = (struct build){ .slot = slot, .network = order->network, .socket_fd = -1, .pidfd = -1, .deadline = now_ms() + FL_BUILD_MAX_MS };
  result = take_cgroup(builder, slot, &build->cgroup, &error);
  if (result == 0)
    result = clone_init(builder, build, &error);
  if (result == 0)
    result = prepare_init(builder, build, &error);
  if (result < 0)
    fail_build(build, &error);
}

/* The init has reported, or ended. */
static void finish_build(struct build *build)
{
  static const char live = FL_INIT_LIVE;
  struct fl_news news = { .op = FL_NEWS_BUILT, .slot = build->slot, .pid = build->pid, .joins = build->cgroup.joins };
  int fds[OPEN_FDS_MAX] = { build->pidfd }, scratch_fd = -1;
  size_t received, count = 2;
  ssize_t got = fl_packet_receive(build->socket_fd, &news.error, sizeof news.error, &scratch_fd, 1, &received);

  if (got != sizeof news.error) {
    news.error = (struct fl_error){ 0 };
    fl_fail(&news.error, FL_ERR_CHILD_LOST, got < 0 ? (int)-got : 0, "build", "the init ended before it reported");
  } else if (news.error.code == FL_OK && received != 1) {
    fl_fail(&news.error, FL_ERR_BAD_MESSAGE, 0, "build", "the init sent no scratch directory");
  }
  if (news.error.code != FL_OK) {
    fl_close(&scratch_fd);
    fail_build(build, &news.error);
    return;
  }
  fds[1] = scratch_fd;
  count = append_cgroup(fds, count, &build->cgroup);
  /* First sandboxd, then the init: should we die in between, the init ends and sandboxd, who knows it, sees that. */
  tell(&news, fds, count);
  fl_packet_send(build->socket_fd, &live, 1, NULL, 0);
  fl_close(&scratch_fd);
  release_build(build);
}

/* Whether somebody does. Until that one has ended, the cgroup is busy. */
static bool start_emptier(const struct builder *builder, uint32_t slot, int scratch_fd)
{
  uint32_t emptiers = 0, base = builder->config.uid_base + slot * FL_UIDS_PER_SLOT;
  struct fl_cgroup cgroup;
  int result;

  for (uint32_t index = 0; index < builder->removals; index++)
    emptiers += builder->removal[index].emptied;
  if (emptiers >= FL_EMPTIERS_MAX || emptiers >= (builder->config.slots + FL_EMPTIERS_SHARE - 1) / FL_EMPTIERS_SHARE || fl_cgroup_open(builder->host, slot, &cgroup, NULL) < 0)
    return false;
  fl_cgroup_yield(builder->host, &cgroup, true, NULL);
  result = fl_emptier_start(scratch_fd, &cgroup, base + FL_INNER_UID, NULL);
  fl_cgroup_close(&cgroup);
  return result == 0;
}

static void start_removal(struct builder *builder, const struct fl_order *order, int scratch_fd)
{
  bool emptied = scratch_fd >= 0 && start_emptier(builder, order->slot, scratch_fd);
  int64_t now = now_ms();

  if (builder->removals < builder->config.slots)
    builder->removal[builder->removals++] = (struct removal){
      .slot = order->slot, .limits = order->limits, .network = order->network, .emptied = emptied, .next = now + RETRY_FIRST_MS, .slow_at = now + FL_REMOVE_SLOW_MS, .pause = RETRY_FIRST_MS, .list_at = now + LIST_AFTER_MS,
    };
}

static int clean_or_remove(struct builder *builder, const struct removal *removal, struct fl_error *err)
{
  int result = builder->kept < FL_CGROUPS_KEPT_MAX ? fl_cgroup_reset(builder->host, removal->slot, &removal->limits, &builder->config.defaults) : -ENOSPC;

  if (result < 0)
    return result == -EBUSY ? result : fl_cgroup_remove(builder->host, removal->slot, err);
  builder->keeps[removal->slot] = true;
  builder->kept++;
  return 0;
}

/* No init takes them along. What does not have the uid yet (a fork that never got so far) is found by its cgroup. */
static void kill_light(const struct builder *builder, const struct removal *removal, int64_t now)
{
  fl_light_kill(&builder->light, &builder->config, removal->slot);
  if (now >= removal->list_at)
    fl_cgroup_kill(builder->host, removal->slot);
}

/* Cleans or removes the cgroups that are due. EBUSY is normal: the init is still dying, and waits for sandboxd to reap the instance. */
static void try_removals(struct builder *builder, int64_t now)
{
  while (waitpid(-1, NULL, WNOHANG) > 0)                         /* emptiers */
    ;
  for (uint32_t index = 0; index < builder->removals;) {
    struct removal *removal = &builder->removal[index];
    struct fl_news news = { .op = FL_NEWS_REMOVED, .slot = removal->slot };
    int result;

    if (removal->next > now) {
      index++;
      continue;
    }
    result = clean_or_remove(builder, removal, &news.error);
    if (result == -EBUSY && removal->network.kind == FL_NETWORK_LIGHT)
      kill_light(builder, removal, now);
    if (result == 0) {
      news.kept = builder->keeps[removal->slot];
      fl_light_remove(&builder->light, removal->slot);
      fl_networks_release(&builder->networks, removal->slot, removal->network);
      tell(&news, NULL, 0);
      *removal = builder->removal[--builder->removals];
      continue;
    }
    if (now >= removal->slow_at) {
      news.op = FL_NEWS_FAILED_REMOVE;
      fl_fail(&news.error, FL_ERR_SYSTEM, -result, "rmdir cgroup", "s%u has not gone away in %d ms", removal->slot, FL_REMOVE_SLOW_MS);
      tell(&news, NULL, 0);
      removal->slow_at = INT64_MAX;
    }
    removal->pause = removal->pause * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : removal->pause * 2;
    removal->next = now + removal->pause;
    index++;
  }
}

static int next_timeout(const struct builder *builder, int64_t now)
{
  int64_t next = INT64_MAX;

  for (uint32_t index = 0; index < builder->removals; index++)
    if (builder->removal[index].next < next)
      next = builder->removal[index].next;
  for (int index = 0; index < FL_BUILDS_MAX; index++)
    if (builder->build[index].socket_fd >= 0 && builder->build[index].deadline < next)
      next = builder->build[index].deadline;
  if (next == INT64_MAX)
    return -1;
  return next <= now ? 0 : (int)(next - now);
}

static void drop_cgroup(struct builder *builder, uint32_t slot)
{
  struct fl_error error = { 0 };

  if (!builder->keeps[slot])
    return;
  builder->keeps[slot] = false;
  builder->kept--;
  fl_cgroup_remove(builder->host, slot, &error);               /* it is empty; if it stays for any reason, the slot's next build replaces it */
}

static void obey(struct builder *builder)
{
  fl_autoclose int scratch_fd = -1;
  struct fl_order order;
  size_t fds;
  ssize_t got = fl_packet_receive(SOCKET, &order, sizeof order, &scratch_fd, 1, &fds);

  if (got == 0 || (got < 0 && got != -EAGAIN))
    _exit(0);                                                    /* sandboxd is gone; the inits die with it */
  if (got != sizeof order || order.slot >= builder->config.slots)
    return;
  if (order.op == FL_ORDER_BUILD && order.network.kind == FL_NETWORK_LIGHT)
    build_light(builder, order.slot);
  else if (order.op == FL_ORDER_BUILD)
    start_build(builder, &order);
  else if (order.op == FL_ORDER_REMOVE)
    start_removal(builder, &order, scratch_fd);
  else if (order.op == FL_ORDER_DROP)
    drop_cgroup(builder, order.slot);
}

__attribute__((noreturn)) static void run(struct builder *builder)
{
  for (;;) {
    struct pollfd polled[1 + FL_BUILDS_MAX] = { { .fd = SOCKET, .events = POLLIN } };
    int64_t now = now_ms();

    for (int index = 0; index < FL_BUILDS_MAX; index++)
      polled[1 + index] = (struct pollfd){ .fd = builder->build[index].socket_fd, .events = POLLIN };
    if (poll(polled, FL_COUNT(polled), next_timeout(builder, now)) < 0 && errno != EINTR)
      _exit(1);
    now = now_ms();
    for (int index = 0; index < FL_BUILDS_MAX; index++) {
      struct build *build = &builder->build[index];
      struct fl_error late = { 0 };

      if (build->socket_fd < 0)
        continue;
      if (polled[1 + index].revents) {
        finish_build(build);
      } else if (build->deadline <= now) {
        fl_fail(&late, FL_ERR_CHILD_LOST, ETIMEDOUT, "build", "no report in %d ms", FL_BUILD_MAX_MS);
        fail_build(build, &late);
      }
    }
    try_removals(builder, now);
    if (polled[0].revents)
      obey(builder);
  }
}

__attribute__((noreturn)) static void builder_main(const struct fl_parts_config *config, int socket_fd, pid_t parent)
{
  static struct builder builder;
  struct fl_news news = { .op = FL_NEWS_READY };
  bool binary = config->binary_fd >= 0;
  struct fl_lane lane;
  int result;

  builder.config = *config;
  prctl(PR_SET_NAME, "flashd-builder", 0, 0, 0);
  if (fl_lane_find(&lane) == 0)                                  /* nobody waits for it as for a request */
    sched_setaffinity(0, sizeof(cpu_set_t), &lane.processors[FL_PROCESSORS_OTHERS]);
  fl_signals_reset();
  umask(022);                                                    /* all that it makes is for functions to see, in namespaces of their own */
  setsid();                                                      /* a terminal's signals are for sandboxd; the inits are born into this session */
  /* Everything of sandboxd but this socket (and, for a while, the binary) goes: other processes wait for the end of what we would hold open. */
  if (dup2(socket_fd, SOCKET) < 0 || (binary && dup2(config->binary_fd, BINARY) < 0) || fl_close_from(binary ? BINARY + 1 : SOCKET + 1) < 0 || fl_die_with_parent(parent) < 0)
    _exit(1);
  for (int index = 0; index < FL_BUILDS_MAX; index++)
    builder.build[index] = (struct build){ .socket_fd = -1, .pidfd = -1 };
  builder.removal = calloc(config->slots, sizeof *builder.removal);
  builder.keeps = calloc(config->slots, sizeof *builder.keeps);
  result = builder.removal && builder.keeps ? fl_cgroup_host_open(config->cgroup_name, &builder.host, &news.error)
                                            : fl_fail(&news.error, FL_ERR_SYSTEM, ENOMEM, "calloc", NULL);
  if (result == 0)
    result = fl_base_stage(config->pack, binary ? BINARY : -1, &news.error);
  if (binary)
    close(BINARY);
  if (result == 0)
    result = fl_networks_open(&builder.networks, config->cgroup_name, config->slots, &news.error);
  if (result == 0)
    result = fl_light_open(&builder.light, config->slots, &news.error);
  if (result < 0)
    news.op = FL_NEWS_FAILED_START;
  tell(&news, NULL, 0);
  if (result < 0)
    _exit(1);
  run(&builder);
}

int fl_builder_start(const struct fl_parts_config *config, int *ret_socket_fd, pid_t *ret_pid, struct fl_error *err)
{
  fl_autoclose int far = -1;
  pid_t parent = getpid(), pid;
  int pair[2];

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  far = pair[1];
  pid = fork();
  if (pid < 0) {
    close(pair[0]);
    return fl_fail_errno(err, "fork");
  }
  if (pid == 0)
    builder_main(config, far, parent);
  if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
    close(pair[0]);
    return fl_fail_errno(err, "fcntl");
  }
  *ret_socket_fd = pair[0];
  *ret_pid = pid;
  return 0;
}
