/*
 * Fork bombs. A fork that is refused costs the kernel as much as one that is not, and what it had made is freed in callbacks (RCU) that run before anybody else on that processor: who forks without end at the limit takes
 * from all others what no limit counts. So who yields, and is refused more than FORKS between two looks, has HELD_MILLIS of a processor until a look finds that it was refused none.
 */
#include "sandboxd/daemon.h"

enum { MILLISECOND = 1000000, LOOK_MS = 100, LOOKS_MAX = 64, FORKS = 16, HELD_MILLIS = 50 };

static int hold(struct fl_daemon *daemon, struct fl_instance *instance, bool held, struct fl_error *err)
{
  uint32_t own = instance->limits.cpu_millis;
  int r = fl_parts_hold(daemon->parts, &instance->sandbox, &instance->limits, held && own > HELD_MILLIS ? HELD_MILLIS : own, err);

  instance->held = held && r == 0;
  return r;
}

static void look(struct fl_daemon *daemon, struct fl_instance *instance)
{
  uint64_t before = instance->refused;
  struct fl_error err = {0};

  fl_sockets_look(instance);
  if (fl_parts_refused(daemon->parts, &instance->sandbox, &instance->refused) < 0)
    return;
  if (instance->held ? instance->refused == before : instance->refused - before >= FORKS)
    if (hold(daemon, instance, !instance->held, &err) < 0)
      fl_daemon_log_error("hold", &err);
}

int fl_bombs_watch(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  if (!instance->yields || !(daemon->features & FL_FEATURE_CGROUP_PIDS))
    return instance->held ? hold(daemon, instance, false, err) : 0;
  if (daemon->bombs_due_ns == UINT64_MAX)
    daemon->bombs_due_ns = fl_daemon_now_ns() + (uint64_t)LOOK_MS * MILLISECOND;
  return fl_parts_refused(daemon->parts, &instance->sandbox, &instance->refused);
}

void fl_bombs_run(struct fl_daemon *daemon, uint64_t now_ns)
{
  uint32_t yielding = 0;

  if (daemon->bombs_due_ns > now_ns)
    return;
  for (uint32_t i = 0; i < daemon->instances && yielding < LOOKS_MAX; i++) {
    daemon->bombs_next = (daemon->bombs_next + 1) % daemon->instances;
    struct fl_instance *instance = daemon->instance[daemon->bombs_next];

    yielding += instance->yields;
    if (instance->yields && instance->state == FL_INSTANCE_RUNNING)
      look(daemon, instance);
  }
  daemon->bombs_due_ns = yielding ? now_ns + (uint64_t)LOOK_MS * MILLISECOND : UINT64_MAX;
}

uint64_t fl_bombs_deadline_ns(const struct fl_daemon *daemon)
{
  return daemon->bombs_due_ns;
}
