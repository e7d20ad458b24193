/*
 * Spares: forks of a language template that are complete up to the point where it matters whose they are. Assigning one takes a tenth of the time that making
 * one takes, so a few are kept parked per runtime: at least options.spares (0: none ever), more while they are in demand (what is taken in an eighth of a second), and
 * never more than half of all slots. They are replaced in the background, a moment after one was taken, so that the request that took it has the
 * processors to itself; at once when half of them are gone. What nobody took for a while goes again.
 */
#include "sandboxd/daemon.h"

enum { MILLISECOND = 1000000, REFILL_AFTER_MS = 3, RETRY_MS = 100, IDLE_MS = 5000, FORKING_MAX = 8, DEMAND_SHARE = 8 };

#define DECAY_NS 1000000000.0

static bool spare(const struct fl_instance *instance, uint32_t runtime)
{
  return instance->runtime == runtime && !instance->create_request && !instance->probe && instance->state <= FL_INSTANCE_PARKED;
}

uint32_t fl_spares_count(const struct fl_daemon *daemon, uint32_t runtime, bool parked)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < daemon->instances; i++)
    count += spare(daemon->instance[i], runtime) && (!parked || daemon->instance[i]->state == FL_INSTANCE_PARKED);
  return count;
}

struct fl_instance *fl_spares_best(const struct fl_daemon *daemon, uint32_t runtime)
{
  struct fl_instance *best = NULL;

  for (uint32_t i = 0; i < daemon->instances; i++) {
    struct fl_instance *instance = daemon->instance[i];

    if (spare(instance, runtime) && (!best || instance->state > best->state || (instance->state == best->state && instance->id < best->id)))
      best = instance;
  }
  return best;
}

/* Ends parked spares until `kept` are left. */
static void trim(struct fl_daemon *daemon, uint32_t runtime, uint32_t kept)
{
  uint32_t excess = fl_spares_count(daemon, runtime, true);

  for (uint32_t i = 0; i < daemon->instances && excess > kept; i++)
    if (spare(daemon->instance[i], runtime) && daemon->instance[i]->state == FL_INSTANCE_PARKED) {
      fl_instances_kill(daemon->instance[i]);
      excess--;
    }
}

static double current_demand(const struct fl_daemon *daemon, uint32_t runtime, uint64_t now_ns)
{
  double age = (double)(now_ns - daemon->spares[runtime].counted_ns) / DECAY_NS;

  return age >= 1 ? 0 : daemon->spares[runtime].demand * (1 - age);
}

void fl_spares_taken(struct fl_daemon *daemon, uint32_t runtime, uint64_t now_ns)
{
  daemon->spares[runtime].demand = current_demand(daemon, runtime, now_ns) + 1;
  daemon->spares[runtime].counted_ns = now_ns;
  daemon->spares[runtime].taken_ns = now_ns;
}

static uint32_t target(const struct fl_daemon *daemon, uint32_t runtime, uint64_t now_ns)
{
  uint32_t demand = (uint32_t)(current_demand(daemon, runtime, now_ns) / DEMAND_SHARE), ceiling = daemon->options.slots / 2;
  uint32_t wanted = demand > daemon->options.spares ? demand : daemon->options.spares;

  return daemon->options.spares == 0 ? 0 : wanted > ceiling ? ceiling : wanted;
}

/* When the runtime's next spare is due; UINT64_MAX when it has enough. */
static uint64_t due_ns(const struct fl_daemon *daemon, uint32_t runtime, uint64_t now_ns)
{
  uint32_t wanted = target(daemon, runtime, now_ns), have = fl_spares_count(daemon, runtime, false);

  if (have >= wanted || fl_templates_ready(daemon, runtime) == 0 || daemon->instances >= daemon->options.slots / 2 || daemon->waiting ||
      have - fl_spares_count(daemon, runtime, true) >= FORKING_MAX)
    return UINT64_MAX;
  uint64_t due = have < wanted / 2 ? now_ns : daemon->spares[runtime].taken_ns + (uint64_t)REFILL_AFTER_MS * MILLISECOND;
  return due > daemon->spares[runtime].pause_until_ns ? due : daemon->spares[runtime].pause_until_ns;
}

/* When the runtime's spares beyond the least go: demand has decayed by then. UINT64_MAX when there are none. */
static uint64_t trim_ns(const struct fl_daemon *daemon, uint32_t runtime)
{
  if (fl_spares_count(daemon, runtime, true) <= daemon->options.spares)
    return UINT64_MAX;
  return daemon->spares[runtime].taken_ns + (uint64_t)IDLE_MS * MILLISECOND;
}

void fl_spares_fill(struct fl_daemon *daemon, uint64_t now_ns)
{
  for (uint32_t runtime = 0; runtime < daemon->pack->count; runtime++)
    if (trim_ns(daemon, runtime) <= now_ns)
      trim(daemon, runtime, daemon->options.spares);
  for (uint32_t runtime = 0; runtime < daemon->pack->count; runtime++)
    while (due_ns(daemon, runtime, now_ns) <= now_ns) {
      uint32_t before = daemon->instances;

      fl_instances_create_spare(daemon, runtime);
      if (daemon->instances == before)
        daemon->spares[runtime].pause_until_ns = now_ns + (uint64_t)RETRY_MS * MILLISECOND;
    }
}

uint64_t fl_spares_deadline_ns(const struct fl_daemon *daemon)
{
  uint64_t nearest = UINT64_MAX, now_ns = fl_daemon_now_ns();

  for (uint32_t runtime = 0; runtime < daemon->pack->count; runtime++) {
    uint64_t due = due_ns(daemon, runtime, now_ns), trim = trim_ns(daemon, runtime);

    nearest = due < nearest ? due : nearest;
    nearest = trim < nearest ? trim : nearest;
  }
  return nearest;
}
