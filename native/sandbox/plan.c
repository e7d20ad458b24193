/* Makes and checks plans; pure. See plan.h for the order and its reasons. */
#include "sandbox/plan.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "sandbox/parts.h"

enum { MEMLOCK_BYTES = 64 << 10, SIGPENDING_MAX = 256, FIXED_LIMITS = 3 };
enum { RANKS_PER_STEP = 8 };

#define INSTANCE_NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

#define BOTH(least, most) {{least, most}, {least, most}}
#define FULL {{1, 1}, {0, 0}}
#define LIGHT {{0, 0}, {1, 1}}

/* How often each step must stand in a plan of each class, and whether it takes a descriptor. */
static const struct step_rule {
  const char *name;
  struct { uint8_t least, most; } times[FL_ISOLATIONS];
  bool fd;
} rules[FL_STEP_OPS] = {
    [FL_STEP_SESSION] = {"setsid", BOTH(1, 1), false},
    [FL_STEP_NAMESPACES] = {"setns", BOTH(1, 1), true},
    [FL_STEP_CGROUP] = {"cgroup", BOTH(0, FL_CGROUP_JOINS_MAX), true},
    [FL_STEP_ROOT] = {"chroot", LIGHT, true},
    [FL_STEP_NULL] = {"open_null", BOTH(1, 1), false},
    [FL_STEP_BOUNDING] = {"capbset_drop", BOTH(1, 1), false},
    [FL_STEP_IDENTITY] = {"setresuid", BOTH(1, 1), false},
    [FL_STEP_RLIMIT] = {"prlimit", BOTH(FIXED_LIMITS, FIXED_LIMITS), false},
    [FL_STEP_CARRY] = {"descriptors", BOTH(1, 1), false},
    [FL_STEP_LANDLOCK] = {"landlock_restrict_self", LIGHT, true},
    [FL_STEP_THREADS] = {"threads", BOTH(1, 1), false},
    [FL_STEP_TOUCH] = {"touch", BOTH(1, 1), false},
    [FL_STEP_PARK] = {"assignment", BOTH(1, 1), true},
    [FL_STEP_BUNDLE] = {"move_mount", FULL, false},
    [FL_STEP_DIRECTORY] = {"chdir", LIGHT, false},
    [FL_STEP_DESCRIPTOR] = {"dup3", BOTH(3, 3), false},
    [FL_STEP_START] = {"epoll_ctl", BOTH(1, 1), false},
    [FL_STEP_CLOSE_REST] = {"close_range", BOTH(1, 1), false},
    [FL_STEP_LIMIT] = {"prlimit", BOTH(FL_ASSIGNED_LIMITS, FL_ASSIGNED_LIMITS), false},
    [FL_STEP_DUMPABLE] = {"dumpable", BOTH(1, 1), false},
    [FL_STEP_CAPABILITIES] = {"capset", BOTH(1, 1), false},
    [FL_STEP_SEAL] = {"seccomp", BOTH(1, 1), false},
    [FL_STEP_RESUME] = {"resume", BOTH(1, 1), false},
};

const char *fl_step_name(uint32_t op)
{
  return op == 0 ? "clone3" : op < FL_STEP_OPS ? rules[op].name : "unknown";
}

static const uint32_t assigned_resource[FL_ASSIGNED_LIMITS] = {RLIMIT_NOFILE, RLIMIT_NPROC};
static const struct { uint32_t resource; uint64_t value; } fixed_limit[FIXED_LIMITS] = {
    {RLIMIT_MEMLOCK, MEMLOCK_BYTES}, {RLIMIT_MSGQUEUE, 0}, {RLIMIT_SIGPENDING, SIGPENDING_MAX}};

struct fl_assignment fl_plan_assignment(const struct fl_limits *limits, bool cgroup_pids)
{
  return (struct fl_assignment){.limit = {limits->descriptors, limits->pids + cgroup_pids}};
}

static void add(struct fl_plan *plan, uint16_t op, uint16_t fd, uint32_t arg, uint64_t value)
{
  if (plan->steps < FL_PLAN_STEPS_MAX)
    plan->step[plan->steps++] = (struct fl_step){op, fd, arg, value};
}

/* What needs neither a descriptor nor a limit of the assignment; the bundle is one of those where it does not travel with the plan. */
static void add_finish(struct fl_plan *plan, uint16_t bundle)
{
  if (plan->known)
    add(plan, FL_STEP_BUNDLE, bundle, 0, 0);
  add(plan, FL_STEP_DUMPABLE, FL_NO_FD, 0, 0);
  add(plan, FL_STEP_CAPABILITIES, FL_NO_FD, 0, 0);
  add(plan, FL_STEP_SEAL, FL_NO_FD, 0, 0);
}

int fl_plan_make(const struct fl_plan_inputs *inputs, struct fl_plan *ret_plan, struct fl_error *err)
{
  uint32_t root = FL_FD_CGROUP + inputs->cgroup_joins;
  struct fl_plan plan = {.fds = root + (inputs->light ? FL_LIGHT_FDS : inputs->known), .isolation = inputs->light ? FL_ISOLATION_LIGHT : FL_ISOLATION_FULL, .known = inputs->known};

  add(&plan, FL_STEP_SESSION, FL_NO_FD, 0, 0);
  add(&plan, FL_STEP_NAMESPACES, FL_FD_INIT, 0, INSTANCE_NAMESPACES);
  for (uint32_t i = 0; i < inputs->cgroup_joins; i++)
    add(&plan, FL_STEP_CGROUP, (uint16_t)(FL_FD_CGROUP + i), 0, 0);
  if (inputs->light)
    add(&plan, FL_STEP_ROOT, (uint16_t)root, 0, 0);
  add(&plan, FL_STEP_NULL, FL_NO_FD, 0, 0);
  add(&plan, FL_STEP_BOUNDING, FL_NO_FD, inputs->cap_last, 0);
  add(&plan, FL_STEP_IDENTITY, FL_NO_FD, inputs->uid, 0);
  for (uint32_t i = 0; i < FIXED_LIMITS; i++)
    add(&plan, FL_STEP_RLIMIT, FL_NO_FD, fixed_limit[i].resource, fixed_limit[i].value);
  add(&plan, FL_STEP_CARRY, FL_NO_FD, 0, 0);
  if (inputs->light)
    add(&plan, FL_STEP_LANDLOCK, (uint16_t)(root + 1), inputs->landlock_flags, 0);
  add(&plan, FL_STEP_THREADS, FL_NO_FD, 0, 0);
  add(&plan, FL_STEP_TOUCH, FL_NO_FD, inputs->ahead, 0);
  if (inputs->known)
    add_finish(&plan, (uint16_t)root);
  add(&plan, FL_STEP_PARK, FL_FD_ASSIGNMENT, 0, 0);
  if (!inputs->known)
    add(&plan, inputs->light ? FL_STEP_DIRECTORY : FL_STEP_BUNDLE, FL_NO_FD, 0, 0);
  for (uint32_t number = FL_ASSIGNED_STDOUT; number <= FL_ASSIGNED_DATA; number++)
    add(&plan, FL_STEP_DESCRIPTOR, FL_NO_FD, number, 0);
  add(&plan, FL_STEP_START, FL_NO_FD, 0, 0);
  add(&plan, FL_STEP_CLOSE_REST, FL_NO_FD, 0, 0);
  for (uint32_t i = 0; i < FL_ASSIGNED_LIMITS; i++)
    add(&plan, FL_STEP_LIMIT, FL_NO_FD, assigned_resource[i], i);
  if (!inputs->known)
    add_finish(&plan, FL_NO_FD);
  add(&plan, FL_STEP_RESUME, FL_NO_FD, 0, 0);
  int r = fl_plan_check(&plan, err);
  if (r == 0)
    *ret_plan = plan;
  return r;
}

static bool step_valid(const struct fl_plan *plan, const struct fl_step *step, uint32_t seen)
{
  bool fd = rules[step->op].fd || (plan->known && step->op == FL_STEP_BUNDLE);

  if (fd ? step->fd >= plan->fds : step->fd != FL_NO_FD)
    return false;
  switch (step->op) {
  case FL_STEP_NAMESPACES: return step->fd == FL_FD_INIT && step->value == INSTANCE_NAMESPACES;
  case FL_STEP_PARK: return step->fd == FL_FD_ASSIGNMENT;
  case FL_STEP_DESCRIPTOR: return step->arg == seen;             /* 1, 2, 3 in this order: none overwrites a later source */
  case FL_STEP_LIMIT: return step->value == seen - 1u && step->arg == assigned_resource[step->value];
  case FL_STEP_RLIMIT: return step->arg == fixed_limit[seen - 1].resource && step->value == fixed_limit[seen - 1].value;
  case FL_STEP_TOUCH: return step->arg <= 1;
  case FL_STEP_BOUNDING: return step->arg >= 40 && step->arg < 64;
  case FL_STEP_IDENTITY: return plan->isolation == FL_ISOLATION_LIGHT ? step->arg > FL_UIDS_PER_SLOT && step->arg % FL_UIDS_PER_SLOT == FL_INNER_UID : step->arg > 0 && step->arg < FL_UIDS_PER_SLOT;
  case FL_STEP_CGROUP: return step->fd >= FL_FD_CGROUP && step->fd < plan->fds - (plan->isolation == FL_ISOLATION_LIGHT ? FL_LIGHT_FDS : plan->known);
  case FL_STEP_BUNDLE: return !plan->known || (step->fd == plan->fds - 1 && step->fd >= FL_FD_CGROUP);
  case FL_STEP_ROOT: return step->fd == plan->fds - FL_LIGHT_FDS && step->fd >= FL_FD_CGROUP;
  case FL_STEP_LANDLOCK: return step->fd == plan->fds - 1 && (step->arg == 0 || step->arg == FL_LANDLOCK_QUIET);
  default: return true;
  }
}

/* Where a step stands in the order. */
static uint32_t rank(const struct fl_plan *plan, uint16_t op)
{
  static const uint8_t before_park[FL_STEP_OPS] = {[FL_STEP_BUNDLE] = 1, [FL_STEP_DUMPABLE] = 2, [FL_STEP_CAPABILITIES] = 3, [FL_STEP_SEAL] = 4};
  uint32_t early = plan->known ? before_park[op] : 0;

  return (early ? FL_STEP_TOUCH : op) * (uint32_t)RANKS_PER_STEP + early;
}

int fl_plan_check(const struct fl_plan *plan, struct fl_error *err)
{
  uint8_t seen[FL_STEP_OPS] = {0};
  uint32_t last = 0;

  if (plan->steps > FL_PLAN_STEPS_MAX || plan->fds > FL_PLAN_FDS_MAX || plan->fds < FL_FD_CGROUP || plan->isolation >= FL_ISOLATIONS || plan->known > (plan->isolation == FL_ISOLATION_FULL))
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EINVAL, "plan", "%u steps, %u descriptors", plan->steps, plan->fds);
  for (uint32_t i = 0; i < plan->steps; i++) {
    const struct fl_step *step = &plan->step[i];

    if (step->op == 0 || step->op >= FL_STEP_OPS || rank(plan, step->op) < last)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EINVAL, "plan", "step %u: op %u is out of order", i, step->op);
    seen[step->op]++;
    if (seen[step->op] > rules[step->op].times[plan->isolation].most || !step_valid(plan, step, seen[step->op]))
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EINVAL, "plan", "step %u: %s", i, rules[step->op].name);
    last = rank(plan, step->op);
  }
  for (uint32_t op = 1; op < FL_STEP_OPS; op++)
    if (seen[op] < rules[op].times[plan->isolation].least)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EINVAL, "plan", "%s is missing", rules[op].name);
  return 0;
}
