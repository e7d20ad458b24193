/*
 * Spares: forks of a template that are complete up to the point where it matters whose they are. Assigning one takes a tenth of the time that making one takes, so a few are kept parked: of
 * each runtime's template at least options.spares (0: none ever), of a function's template only as long as it is in demand; more of both by what is taken in an eighth of a second, and never
 * more than half of all slots. They are replaced in the background, a moment after one was taken, so that the request that took it has the processors to itself; at once when half of them are
 * gone. What nobody took for a while goes again.
 */
#include "sandboxd/daemon.h"

enum { MILLISECOND = 1000000, REFILL_AFTER_MS = 3, RETRY_MS = 100, IDLE_MS = 5000, FORKING_MAX = 8, DEMAND_SHARE = 8, OF_FUNCTION_IN_DEMAND = 2 };

#define DECAY_NS 1000000000.0

/* Whose spares: a runtime's, or a function's. */
struct kind { uint32_t runtime; struct fl_function *function; struct fl_demand *demand; };

static struct kind kind_of(struct fl_daemon *daemon, uint32_t runtime, struct fl_function *function)
{
  return (struct kind){runtime, function, function ? &function->demand : &daemon->demand[runtime]};
}

static bool spare(const struct fl_instance *instance, uint32_t runtime, const struct fl_function *function)
{
  return instance->runtime == runtime && instance->function == function && !instance->create_request && !instance->probe && instance->state <= FL_INSTANCE_PARKED;
}

uint32_t fl_spares_count(const struct fl_daemon *daemon, uint32_t runtime, const struct fl_function *function, bool parked)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < daemon->instances; i++)
    count += spare(daemon->instance[i], runtime, function) && (!parked || daemon->instance[i]->state == FL_INSTANCE_PARKED);
  return count;
}

struct fl_instance *fl_spares_best(const struct fl_daemon *daemon, uint32_t runtime, const struct fl_function *function)
{
  struct fl_instance *best = NULL;

  for (uint32_t i = 0; i < daemon->instances; i++) {
    struct fl_instance *instance = daemon->instance[i];

    if (spare(instance, runtime, function) && (!best || instance->state > best->state || (instance->state == best->state && instance->id < best->id)))
      best = instance;
  }
  return best;
}

/* Ends parked spares until `kept` are left. */
static void trim(struct fl_daemon *daemon, const struct kind *kind, uint32_t kept)
{
  uint32_t excess = fl_spares_count(daemon, kind->runtime, kind->function, true);

  for (uint32_t i = 0; i < daemon->instances && excess > kept; i++)
    if (spare(daemon->instance[i], kind->runtime, kind->function) && daemon->instance[i]->state == FL_INSTANCE_PARKED) {
      fl_instances_kill(daemon->instance[i]);
      excess--;
    }
}

static double current_demand(const struct fl_demand *demand, uint64_t now_ns)
{
  double age = (double)(now_ns - demand->counted_ns) / DECAY_NS;

  return age >= 1 ? 0 : demand->taken * (1 - age);
}

void fl_spares_taken(struct fl_daemon *daemon, uint32_t runtime, struct fl_function *function, uint64_t now_ns)
{
  struct kind kind = kind_of(daemon, runtime, function);

  kind.demand->taken = current_demand(kind.demand, now_ns) + 1;
  kind.demand->counted_ns = now_ns;
  kind.demand->taken_ns = now_ns;
}

static bool is_idle(const struct fl_demand *demand, uint64_t now_ns)
{
  return demand->taken_ns + (uint64_t)IDLE_MS * MILLISECOND <= now_ns;
}

static uint32_t least(const struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns)
{
  if (!kind->function)
    return daemon->options.spares;
  return is_idle(kind->demand, now_ns) ? 0 : OF_FUNCTION_IN_DEMAND;
}

static uint32_t target(const struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns)
{
  uint32_t demand = (uint32_t)(current_demand(kind->demand, now_ns) / DEMAND_SHARE), ceiling = daemon->options.slots / 2, floor = least(daemon, kind, now_ns);
  uint32_t wanted = demand > floor ? demand : floor;

  return daemon->options.spares == 0 ? 0 : wanted > ceiling ? ceiling : wanted;
}

static bool can_fork(const struct fl_daemon *daemon, const struct kind *kind)
{
  return kind->function ? kind->function->state == FL_FUNCTION_READY : fl_templates_ready(daemon, kind->runtime) > 0;
}

/* When the next spare is due; UINT64_MAX when there are enough. */
static uint64_t due_ns(const struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns)
{
  uint32_t wanted = target(daemon, kind, now_ns);

  if (wanted == 0 || !can_fork(daemon, kind) || daemon->instances >= daemon->options.slots / 2 || daemon->waiting)
    return UINT64_MAX;
  uint32_t have = fl_spares_count(daemon, kind->runtime, kind->function, false);
  if (have >= wanted || have - fl_spares_count(daemon, kind->runtime, kind->function, true) >= FORKING_MAX)
    return UINT64_MAX;
  uint64_t due = have < wanted / 2 ? now_ns : kind->demand->taken_ns + (uint64_t)REFILL_AFTER_MS * MILLISECOND;
  return due > kind->demand->pause_until_ns ? due : kind->demand->pause_until_ns;
}

/* When those beyond the least go: demand has decayed by then. UINT64_MAX when there are none. */
static uint64_t trim_ns(const struct fl_daemon *daemon, const struct kind *kind)
{
  uint32_t kept = kind->function ? 0 : daemon->options.spares;

  if (kind->function && kind->demand->taken_ns == 0)
    return UINT64_MAX;
  if (fl_spares_count(daemon, kind->runtime, kind->function, true) <= kept)
    return UINT64_MAX;
  return kind->demand->taken_ns + (uint64_t)IDLE_MS * MILLISECOND;
}

static void fill(struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns)
{
  if (trim_ns(daemon, kind) <= now_ns)
    trim(daemon, kind, kind->function ? 0 : daemon->options.spares);
  if (kind->function && is_idle(kind->demand, now_ns))
    kind->demand->taken_ns = 0;
  while (due_ns(daemon, kind, now_ns) <= now_ns) {
    uint32_t before = daemon->instances;

    fl_instances_create_spare(daemon, kind->runtime, kind->function);
    if (daemon->instances == before)
      kind->demand->pause_until_ns = now_ns + (uint64_t)RETRY_MS * MILLISECOND;
  }
}

/* Calls visit for every kind of spare that may be wanted. */
static void each(struct fl_daemon *daemon, void (*visit)(struct fl_daemon *, const struct kind *, uint64_t, uint64_t *), uint64_t now_ns, uint64_t *to)
{
  for (uint32_t runtime = 0; runtime < daemon->pack->count; runtime++) {
    struct kind kind = kind_of(daemon, runtime, NULL);

    visit(daemon, &kind, now_ns, to);
  }
  for (uint32_t index = 0, left = daemon->functions; left > 0; index++) {
    struct fl_function *function = daemon->function[index];

    if (!function)
      continue;
    left--;
    struct kind kind = kind_of(daemon, function->runtime, function);
    if (function->demand.taken_ns)
      visit(daemon, &kind, now_ns, to);
  }
}

static void fill_kind(struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns, uint64_t *unused)
{
  (void)unused;
  fill(daemon, kind, now_ns);
}

static void nearest_of_kind(struct fl_daemon *daemon, const struct kind *kind, uint64_t now_ns, uint64_t *nearest)
{
  uint64_t due = due_ns(daemon, kind, now_ns), trim = trim_ns(daemon, kind);

  *nearest = due < *nearest ? due : *nearest;
  *nearest = trim < *nearest ? trim : *nearest;
}

void fl_spares_fill(struct fl_daemon *daemon, uint64_t now_ns)
{
  each(daemon, fill_kind, now_ns, NULL);
}

uint64_t fl_spares_deadline_ns(struct fl_daemon *daemon)
{
  uint64_t nearest = UINT64_MAX;

  each(daemon, nearest_of_kind, fl_daemon_now_ns(), &nearest);
  return nearest;
}
