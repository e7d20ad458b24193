/*
 * The pool's life: sizes, exhaustion, death of an init or of the builder, a dead generation, and that closing leaves nothing. As root.
 * With the argument "bench": prints the times of building, taking and ending.
 */
#include <inttypes.h>
#include <sys/stat.h>

#include "base/file.h"
#include "instance.h"
#include "sandbox/pool.h"

enum { SLOTS = 6 };

static const struct fl_limits limits = { .memory_bytes = 64 << 20, .tmp_bytes = 1 << 20, .tmp_inodes = 32, .pids = 8, .cpu_millis = 1000, .descriptors = 64 };
static char name[64];
static uint32_t wanted_ready;

static struct fl_parts_levels levels_of(const struct fl_parts *parts)
{
  struct fl_parts_levels levels;

  fl_parts_levels(parts, &levels);
  return levels;
}

static bool enough_ready(struct fl_parts *parts)
{
  return levels_of(parts).pooled == wanted_ready && levels_of(parts).building == 0;
}

static struct fl_parts *open_parts(uint32_t floor, uint32_t ceiling, uint32_t slots)
{
  return parts_open(&(struct fl_parts_config){ .cgroup_name = name, .uid_base = 0x30000000, .slots = slots, .pool_floor = floor, .pool_ceiling = ceiling, .defaults = limits });
}

static void await_ready(struct fl_parts *parts, uint32_t count)
{
  wanted_ready = count;
  CHECK(parts_pump(parts, enough_ready, 5000));
}

/* How many directories of ours stand in the cgroup hierarchies: <name> and what is below. */
static int cgroups_left(void)
{
  char command[128], text[16] = "";
  FILE *output;

  snprintf(command, sizeof command, "find /sys/fs/cgroup -path '*/%s*' -type d | wc -l", name);
  output = popen(command, "r");
  CHECK(output && fgets(text, sizeof text, output));
  pclose(output);
  return atoi(text);
}

static void bad_configurations_are_refused(void)
{
  struct fl_parts_config good = { .cgroup_name = name, .uid_base = 0x30000000, .slots = 2, .pool_ceiling = 2, .defaults = limits }, bad;
  struct fl_parts *parts;

#define REFUSED(field, value) (bad = good, bad.field = value, fl_parts_open(&bad, &parts, NULL) < 0)
  CHECK(REFUSED(uid_base, 0));
  CHECK(REFUSED(uid_base, 100000));
  CHECK(REFUSED(slots, 0));
  CHECK(REFUSED(slots, 65000));
  CHECK(REFUSED(pool_ceiling, 3));
  CHECK(REFUSED(pool_floor, 3));
  CHECK(REFUSED(cgroup_name, "a/b"));
  CHECK(REFUSED(cgroup_name, ".."));
}

static void pool_grows_with_demand_and_slots_run_out(void)
{
  struct fl_parts *parts = open_parts(1, 3, SLOTS);
  struct fl_sandbox taken[SLOTS], none;
  struct fl_error error = { 0 };

  await_ready(parts, 1);
  for (int index = 0; index < SLOTS; index++) {
    uint32_t expected = index + 1 <= 3 ? (uint32_t)index + 1 : 3;

    if (expected > SLOTS - (uint32_t)index)
      expected = SLOTS - (uint32_t)index;
    await_ready(parts, expected);                                /* one more for each take, up to the ceiling and the slots there are */
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &taken[index], NULL) == 0);
    CHECK(taken[index].pooled && taken[index].init_pidfd >= 0);
    for (int other = 0; other < index; other++)
      CHECK(taken[other].slot != taken[index].slot);
  }
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &none, &error) < 0 && error.code == FL_ERR_FULL);
  fl_parts_end(parts, &taken[0]);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &none, NULL) == -EAGAIN);  /* a slot is about to be free */
  wanted_ready = 1;
  CHECK(parts_pump(parts, enough_ready, 5000));
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &none, NULL) == 0 && !none.pooled);
  CHECK(levels_of(parts).on_demand == 1);
  fl_parts_end(parts, &none);
  for (int index = 1; index < SLOTS; index++)
    fl_parts_end(parts, &taken[index]);
  fl_parts_close(parts);
  CHECK(cgroups_left() == 0);
}

static void floor_of_zero_builds_on_demand(void)
{
  struct fl_parts *parts = open_parts(0, 0, SLOTS);
  struct fl_sandbox sandbox;

  CHECK(parts_pump(parts, parts_settled, 1000));
  CHECK(levels_of(parts).pooled == 0);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == -EAGAIN);
  await_ready(parts, 1);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0 && !sandbox.pooled);
  fl_parts_end(parts, &sandbox);
  CHECK(parts_pump(parts, parts_settled, 5000));
  fl_parts_close(parts);
}

/* Starts want the processors: the builder has a rest while they come. */
static void what_can_wait_waits_for_starts(void)
{
  struct fl_parts *parts = open_parts(3, 3, SLOTS);
  struct fl_sandbox sandbox;

  await_ready(parts, 3);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0);
  fl_parts_end(parts, &sandbox);
  CHECK(fl_parts_dispatch(parts, NULL) == 0 && levels_of(parts).building == 0 && levels_of(parts).ending == 1 && !parts->slot[sandbox.slot].removal_sent);
  CHECK(parts_pump(parts, parts_settled, 1000) && levels_of(parts).pooled == 3);
  fl_parts_close(parts);
}

/* After a time without any, which is long enough to forget what was before, as many are ready again as were taken at once. */
static void demand_after_a_lull_is_not_forgotten_with_it(void)
{
  struct fl_parts *parts = open_parts(1, 4, 12);
  struct fl_sandbox sandbox[4];

  await_ready(parts, 1);
  parts->kind[FL_NETWORK_NONE].demand_at -= 10 * FL_POOL_DEMAND_HALVES_MS;
  for (int index = 0; index < 4; index++) {
    await_ready(parts, 1 + (uint32_t)index < 4 ? 1 + (uint32_t)index : 4);
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox[index], NULL) == 0);
    if (index == 0)
      CHECK(parts->kind[FL_NETWORK_NONE].demand == 1);
  }
  for (int index = 0; index < 4; index++)
    fl_parts_end(parts, &sandbox[index]);
  await_ready(parts, 4);
  fl_parts_close(parts);
}

/* However long making up for it takes: the next burst finds as many as this one did. Afterwards they go, one after the other. */
static void what_a_burst_took_is_made_again_and_then_given_up(void)
{
  struct fl_parts *parts = open_parts(1, 3, 12);
  struct fl_sandbox sandbox[3];

  for (int index = 0; index < 3; index++) {
    await_ready(parts, 1 + (uint32_t)index);
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox[index], NULL) == 0);
  }
  await_ready(parts, 3);
  for (int index = 0; index < 3; index++)
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox[index], NULL) == 0);
  CHECK(levels_of(parts).pooled == 0);
  parts->kind[FL_NETWORK_NONE].demand_at -= 10 * FL_POOL_DEMAND_HALVES_MS;
  await_ready(parts, 3);
  CHECK(parts->kind[FL_NETWORK_NONE].demand == 0);
  await_ready(parts, 2);
  await_ready(parts, 1);
  usleep(2 * FL_POOL_SHRINK_EVERY_MS * 1000);
  CHECK(fl_parts_dispatch(parts, NULL) == 0);
  CHECK(levels_of(parts).pooled == 1 && parts->shrink_at == 0);
  fl_parts_close(parts);
}

enum { MANY = 96 };

static void it_does_not_wait_for_ever(void)
{
  struct fl_parts *parts = open_parts(MANY / 2, MANY / 2, MANY);
  struct fl_sandbox sandbox;
  uint32_t taken = 0;

  await_ready(parts, MANY / 2);
  while (levels_of(parts).built == MANY / 2 && taken < MANY / 2) {
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0);
    fl_parts_end(parts, &sandbox);
    taken++;
    usleep(2000);                                                /* starts that never leave it so much as FL_POOL_REFILL_AFTER_MS */
    CHECK(fl_parts_dispatch(parts, NULL) == 0);
  }
  CHECK(levels_of(parts).pooled > 0 && taken < MANY / 2);
  CHECK(parts_pump(parts, parts_settled, 5000));
  fl_parts_close(parts);
}

static void who_waits_comes_before_what_is_removed(void)
{
  struct fl_parts *parts = open_parts(0, 0, SLOTS);
  struct fl_sandbox first, second;

  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &first, NULL) == -EAGAIN);
  await_ready(parts, 1);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &first, NULL) == 0);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &second, NULL) == -EAGAIN && levels_of(parts).building == 1);
  usleep(1000 * FL_POOL_REFILL_AFTER_MS);
  fl_parts_end(parts, &first);
  CHECK(levels_of(parts).ending == 1 && !parts->slot[first.slot].removal_sent);
  await_ready(parts, 1);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &second, NULL) == 0);
  fl_parts_end(parts, &second);
  CHECK(parts_pump(parts, parts_settled, 1000));
  fl_parts_close(parts);
}

static void a_dead_init_is_replaced(void)
{
  struct fl_parts *parts = open_parts(2, 2, SLOTS);
  pid_t victim;

  await_ready(parts, 2);
  victim = parts->slot[parts->kind[FL_NETWORK_NONE].ready[0]].pid;
  CHECK(kill(victim, SIGKILL) == 0);
  CHECK(waitpid(victim, NULL, 0) == victim);
  CHECK(fl_parts_reaped(parts, victim, SIGKILL));
  CHECK(levels_of(parts).pooled == 1);
  CHECK(!fl_parts_reaped(parts, victim, SIGKILL));               /* known once only */
  await_ready(parts, 2);
  fl_parts_close(parts);
  CHECK(cgroups_left() == 0);
}

static void a_dead_builder_is_restarted(void)
{
  struct fl_parts *parts = open_parts(2, 4, SLOTS);
  struct fl_sandbox sandbox;

  await_ready(parts, 2);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0);
  CHECK(kill(parts->builder, SIGKILL) == 0);
  fl_parts_end(parts, &sandbox);                                 /* ordered from a builder that is no more */
  CHECK(parts_pump(parts, parts_settled, 5000));
  await_ready(parts, 3);
  CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0);
  fl_parts_end(parts, &sandbox);
  fl_parts_close(parts);
  CHECK(cgroups_left() == 0);
}

static bool dead(pid_t pid)
{
  char path[64], state[4096] = "";

  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  return fl_file_read(AT_FDCWD, path, state, sizeof state) < 0 || strstr(state, ") Z ");       /* whoever inherited it may be slow to reap */
}

/* Everything dies with its parent, and the next generation removes the cgroups, whatever still runs in them. */
static void a_dead_generation_is_swept(void)
{
  int report[2];
  pid_t inits[2], generation;
  struct fl_parts *parts;

  CHECK(pipe(report) == 0);
  generation = fork();
  if (generation == 0) {
    struct fl_sandbox sandbox;

    parts = open_parts(2, 2, SLOTS);
    await_ready(parts, 2);
    inits[0] = parts->slot[parts->kind[FL_NETWORK_NONE].ready[0]].pid;
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0);
    inits[1] = sandbox.init_pid;
    if (fork() == 0) {                                           /* a process in the sandbox's cgroup, outside its pid namespace: only the sweep finds it */
      for (uint32_t index = 0; index < sandbox.cgroup.joins; index++)
        CHECK(write(sandbox.cgroup.join_fds[index], "0", 1) == 1);
      if (sandbox.cgroup.into_fd >= 0)
        CHECK(fl_file_write(sandbox.cgroup.into_fd, "cgroup.procs", "0") == 0);
      CHECK(write(report[1], inits, sizeof inits) == sizeof inits);
      for (;;)
        pause();
    }
    pause();
  }
  CHECK(read(report[0], inits, sizeof inits) == sizeof inits);
  CHECK(kill(generation, SIGKILL) == 0 && waitpid(generation, NULL, 0) == generation);
  for (int index = 0; index < 2; index++) {                      /* by themselves: nothing has been swept yet */
    for (int turn = 0; turn < 500 && !dead(inits[index]); turn++)
      usleep(2000);
    CHECK(dead(inits[index]));
  }
  CHECK(cgroups_left() > 0);
  parts = open_parts(1, 1, SLOTS);
  await_ready(parts, 1);
  fl_parts_close(parts);
  CHECK(cgroups_left() == 0);
  close(report[0]);
  close(report[1]);
}

static double now_us(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
  double difference = *(const double *)a - *(const double *)b;

  return difference < 0 ? -1 : difference > 0;
}

static void print_times(const char *what, double *times, size_t count)
{
  qsort(times, count, sizeof *times, by_value);
  printf("%-28s p50 %8.1f us   p99 %8.1f us\n", what, times[count / 2], times[count * 99 / 100]);
}

static void bench(void)
{
  enum { ROUNDS = 200, BURST = 64 };
  static double single[ROUNDS], taking[ROUNDS], changed[ROUNDS], ending[ROUNDS];
  struct fl_limits other = limits;
  struct fl_parts *parts = open_parts(0, 0, BURST);
  struct fl_sandbox sandbox, burst[BURST];
  double start;

  for (int round = 0; round < ROUNDS; round++) {
    start = now_us();
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == -EAGAIN);
    while (levels_of(parts).pooled == 0) {
      struct pollfd polled = { .fd = fl_parts_fd(parts), .events = POLLIN };

      poll(&polled, 1, -1);
      fl_parts_dispatch(parts, NULL);
    }
    single[round] = now_us() - start;
    other.memory_bytes = limits.memory_bytes + (uint64_t)(round + 1) * 4096;
    other.tmp_bytes = limits.tmp_bytes + (uint64_t)(round + 1) * 4096;
    other.pids = 9;
    other.cpu_millis = 500;
    start = now_us();
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, NULL) == 0 && fl_parts_limit(parts, &sandbox, round % 2 ? &other : &limits, NULL) == 0);
    (round % 2 ? changed : taking)[round / 2] = now_us() - start;
    start = now_us();
    fl_parts_end(parts, &sandbox);
    ending[round] = now_us() - start;
    CHECK(parts_pump(parts, parts_settled, 5000));
  }
  print_times("build one, waited for", single, ROUNDS);
  print_times("take, default limits", taking, ROUNDS / 2);
  print_times("take, all limits changed", changed, ROUNDS / 2);
  print_times("end", ending, ROUNDS);
  fl_parts_close(parts);
  start = now_us();
  parts = open_parts(BURST, BURST, BURST);
  printf("%-28s %8.1f ms\n", "open", (now_us() - start) / 1e3);
  start = now_us();
  await_ready(parts, BURST);
  printf("%-28s %8.1f us each\n", "build 64", (now_us() - start) / BURST);
  for (int index = 0; index < BURST; index++)
    CHECK(fl_parts_take(parts, FL_NETWORK_NONE, &burst[index], NULL) == 0);
  start = now_us();
  for (int index = 0; index < BURST; index++)
    fl_parts_end(parts, &burst[index]);
  CHECK(parts_pump(parts, parts_settled, 5000));
  printf("%-28s %8.1f us each (refilled meanwhile)\n", "end and remove 64", (now_us() - start) / BURST);
  start = now_us();
  fl_parts_close(parts);
  printf("%-28s %8.1f ms\n", "close with 64 ready", (now_us() - start) / 1e3);
}

int main(int count, char **arguments)
{
  snprintf(name, sizeof name, "flashd-pool-%d", getpid());
  if (count > 1 && !strcmp(arguments[1], "bench")) {
    bench();
    return 0;
  }
  bad_configurations_are_refused();
  pool_grows_with_demand_and_slots_run_out();
  floor_of_zero_builds_on_demand();
  what_can_wait_waits_for_starts();
  it_does_not_wait_for_ever();
  demand_after_a_lull_is_not_forgotten_with_it();
  what_a_burst_took_is_made_again_and_then_given_up();
  who_waits_comes_before_what_is_removed();
  a_dead_init_is_replaced();
  a_dead_builder_is_restarted();
  a_dead_generation_is_swept();
  return 0;
}
