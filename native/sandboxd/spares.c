/*
 * Spares: forks of a template that are complete up to the point where it matters whose they are. Assigning one takes a tenth of the time that making one takes, so a few are kept parked: of
 * each runtime's template at least options.spares (0: none ever), of a function's template, and of any with egress, only as long as it is in demand; more of both by what is taken in an eighth of a second, and never
 * more than half of all slots. They are replaced in the background, a moment after one was taken, so that the request that took it has the processors to itself; at once when half of them are
 * gone. What nobody took for a while goes again.
 *
 * What is asked here is asked on each turn of the loop, with a thousand functions too: each demand has a list of what was made for it, and the functions in demand are a list.
 */
#include "sandboxd/daemon.h"

enum { MILLISECOND = 1000000, REFILL_AFTER_MS = 3, RETRY_MS = 100, IDLE_MS = 5000, FORKING_MAX = 8, DEMAND_SHARE = 8, IN_DEMAND = 2 };

#define DECAY_NS 1000000000.0

static struct fl_demand *demand_of(struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  return kind->function ? &kind->function->demand : &daemon->demand[kind->runtime][kind->network];
}

/* The list has those too that were killed and are not reaped yet. */
static bool spare(const struct fl_instance *instance)
{
  return instance->state <= FL_INSTANCE_PARKED;
}

static const struct fl_spare_list *list_of(const struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  return kind->function ? &kind->function->demand.spares : &daemon->demand[kind->runtime][kind->network].spares;
}

void fl_spares_join(struct fl_daemon *daemon, struct fl_instance *instance)
{
  const struct fl_spare_kind kind = {instance->runtime, instance->network, instance->function};

  LIST_INSERT_HEAD(&demand_of(daemon, &kind)->spares, instance, spares);
  instance->among_spares = true;
}

bool fl_spares_leave(struct fl_instance *instance)
{
  if (!instance->among_spares)
    return false;
  LIST_REMOVE(instance, spares);
  instance->among_spares = false;
  return true;
}

uint32_t fl_spares_count(const struct fl_daemon *daemon, const struct fl_spare_kind *kind, bool parked)
{
  const struct fl_instance *instance;
  uint32_t count = 0;

  LIST_FOREACH(instance, list_of(daemon, kind), spares)
    count += spare(instance) && (!parked || instance->state == FL_INSTANCE_PARKED);
  return count;
}

struct fl_instance *fl_spares_best(const struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  struct fl_instance *best = NULL, *instance;

  LIST_FOREACH(instance, list_of(daemon, kind), spares)
    if (spare(instance) && (!best || instance->state > best->state || (instance->state == best->state && instance->id < best->id)))
      best = instance;
  return best;
}

/* Ends parked spares until `kept` are left. */
static void trim(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint32_t kept)
{
  uint32_t excess = fl_spares_count(daemon, kind, true);
  struct fl_instance *instance;

  LIST_FOREACH(instance, list_of(daemon, kind), spares)
    if (instance->state == FL_INSTANCE_PARKED && excess > kept) {
      fl_instances_kill(instance);
      excess--;
    }
}

static double current_demand(const struct fl_demand *demand, uint64_t now_ns)
{
  double age = (double)(now_ns - demand->counted_ns) / DECAY_NS;

  return age >= 1 ? 0 : demand->taken * (1 - age);
}

void fl_spares_taken(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns)
{
  struct fl_demand *demand = demand_of(daemon, kind);

  if (kind->function && demand->taken_ns == 0)
    LIST_INSERT_HEAD(&daemon->demanded, kind->function, demanded);
  demand->taken = current_demand(demand, now_ns) + 1;
  demand->counted_ns = now_ns;
  demand->taken_ns = now_ns;
}

void fl_spares_forget(struct fl_function *function)
{
  if (function->demand.taken_ns)
    LIST_REMOVE(function, demanded);
  function->demand.taken_ns = 0;
}

static bool is_idle(const struct fl_demand *demand, uint64_t now_ns)
{
  return demand->taken_ns + (uint64_t)IDLE_MS * MILLISECOND <= now_ns;
}

/* The runtimes' own, loopback only, are there always; all others only while they are in demand. */
static bool on_demand(const struct fl_spare_kind *kind)
{
  return kind->function || kind->network != FL_NETWORK_NONE;
}

static uint32_t least(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns)
{
  if (!on_demand(kind))
    return daemon->options.spares;
  return is_idle(demand_of(daemon, kind), now_ns) ? 0 : IN_DEMAND;
}

static uint32_t target( struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns)
{
  uint32_t demand = (uint32_t)(current_demand(demand_of(daemon, kind), now_ns) / DEMAND_SHARE), ceiling = daemon->options.slots / 2, floor = least(daemon, kind, now_ns);
  uint32_t wanted = demand > floor ? demand : floor;

  return daemon->options.spares == 0 ? 0 : wanted > ceiling ? ceiling : wanted;
}

static bool can_fork(const struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  return kind->function ? kind->function->state == FL_FUNCTION_READY : fl_templates_ready(daemon, kind->runtime) > 0;
}

/* When the next spare is due; UINT64_MAX when there are enough. */
static uint64_t due_ns(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns)
{
  const struct fl_demand *demand = demand_of(daemon, kind);
  uint32_t wanted = target(daemon, kind, now_ns);

  if (wanted == 0 || !can_fork(daemon, kind) || daemon->instances >= daemon->options.slots / 2 || daemon->waiting)
    return UINT64_MAX;
  uint32_t have = fl_spares_count(daemon, kind, false);
  if (have >= wanted || have - fl_spares_count(daemon, kind, true) >= FORKING_MAX)
    return UINT64_MAX;
  uint64_t due = have < wanted / 2 ? now_ns : demand->taken_ns + (uint64_t)REFILL_AFTER_MS * MILLISECOND;
  return due > demand->pause_until_ns ? due : demand->pause_until_ns;
}

/* When those beyond the least go: demand has decayed by then. UINT64_MAX when there are none. */
static uint64_t trim_ns(struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  uint32_t kept = on_demand(kind) ? 0 : daemon->options.spares;
  const struct fl_demand *demand = demand_of(daemon, kind);

  if (on_demand(kind) && demand->taken_ns == 0)
    return UINT64_MAX;
  if (fl_spares_count(daemon, kind, true) <= kept)
    return UINT64_MAX;
  return demand->taken_ns + (uint64_t)IDLE_MS * MILLISECOND;
}

static void fill(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns)
{
  struct fl_demand *demand = demand_of(daemon, kind);

  if (trim_ns(daemon, kind) <= now_ns)
    trim(daemon, kind, on_demand(kind) ? 0 : daemon->options.spares);
  if (kind->function && is_idle(demand, now_ns))
    fl_spares_forget(kind->function);
  else if (on_demand(kind) && is_idle(demand, now_ns))
    demand->taken_ns = 0;
  while (due_ns(daemon, kind, now_ns) <= now_ns) {
    uint32_t before = daemon->instances, functions = daemon->functions;

    fl_starts_create_spare(daemon, kind);
    if (daemon->functions != functions)        /* a template was found to have ended, maybe this one's: what we hold of it may be gone */
      return;
    if (daemon->instances == before)
      demand->pause_until_ns = now_ns + (uint64_t)RETRY_MS * MILLISECOND;
  }
}

/* Calls visit for every kind of spare that may be wanted. */
static void each(struct fl_daemon *daemon, void (*visit)(struct fl_daemon *, const struct fl_spare_kind *, uint64_t, uint64_t *), uint64_t now_ns, uint64_t *to)
{
  struct fl_spare_kind kind = {0};

  for (kind.runtime = 0; kind.runtime < daemon->pack->count; kind.runtime++)
    for (kind.network = 0; kind.network < FL_NETWORK_KINDS; kind.network++)
      if (!on_demand(&kind) || demand_of(daemon, &kind)->taken_ns)
        visit(daemon, &kind, now_ns, to);
  for (struct fl_function *function = LIST_FIRST(&daemon->demanded), *next; function; function = next) {
    uint32_t functions = daemon->functions;

    kind = (struct fl_spare_kind){function->runtime, function->network, function};
    next = LIST_NEXT(function, demanded);
    visit(daemon, &kind, now_ns, to);
    if (daemon->functions != functions)        /* some are gone, maybe the next one: from the beginning, with fewer */
      next = LIST_FIRST(&daemon->demanded);
  }
}

static void fill_kind(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns, uint64_t *unused)
{
  (void)unused;
  fill(daemon, kind, now_ns);
}

static void nearest_of_kind(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns, uint64_t *nearest)
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
