/* Plans: what is made passes the check, and every way of bending one is refused. */
#include "sandbox/plan.h"

#include <string.h>

#include "check.h"
#include "sandboxd/control.h"

static const struct fl_limits limits = {.memory_bytes = 128 << 20, .tmp_bytes = 64 << 20, .tmp_inodes = 1000, .pids = 64, .cpu_millis = 1000, .descriptors = 256};

static bool light, known;

/* Of the class that the tests are in. */
static struct fl_plan make(uint32_t joins)
{
  struct fl_plan_inputs inputs = {.cgroup_joins = joins, .cap_last = 40, .uid = light ? 0x70030000 + 1000 : 1000, .light = light, .landlock_flags = FL_LANDLOCK_QUIET, .known = known};
  struct fl_plan plan;

  CHECK(fl_plan_make(&inputs, &plan, NULL) == 0);
  return plan;
}

static uint32_t find(const struct fl_plan *plan, uint16_t op)
{
  for (uint32_t i = 0; i < plan->steps; i++)
    if (plan->step[i].op == op)
      return i;
  return UINT32_MAX;
}

static void removed_steps_are_refused(void)
{
  for (uint32_t gone = 0; gone < make(3).steps; gone++) {
    struct fl_plan plan = make(3);
    uint16_t op = plan.step[gone].op;

    memmove(&plan.step[gone], &plan.step[gone + 1], (plan.steps - gone - 1) * sizeof plan.step[0]);
    plan.steps--;
    CHECK(op == FL_STEP_CGROUP || fl_plan_check(&plan, NULL) < 0);
  }
}

static void swapped_steps_are_refused(void)
{
  for (uint32_t i = 0; i + 1 < make(0).steps; i++) {
    struct fl_plan plan = make(0);
    struct fl_step step = plan.step[i];

    plan.step[i] = plan.step[i + 1];
    plan.step[i + 1] = step;
    CHECK(fl_plan_check(&plan, NULL) < 0);
  }
}

static void bent_fields_are_refused(void)
{
  struct fl_plan plan = make(0);
  struct fl_error err = {0};

  plan.step[find(&plan, FL_STEP_TOUCH)].arg = 2;
  CHECK(fl_plan_check(&plan, &err) < 0);
  plan = make(0);
  plan.step[find(&plan, FL_STEP_IDENTITY)].arg = 0;
  CHECK(fl_plan_check(&plan, &err) < 0 && err.code == FL_ERR_BAD_MESSAGE);
  plan = make(0);
  plan.step[find(&plan, FL_STEP_NAMESPACES)].value ^= 0x40000000;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(0);
  plan.step[find(&plan, FL_STEP_PARK)].fd = FL_PLAN_FDS_MAX;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(0);
  plan.step[find(&plan, FL_STEP_DESCRIPTOR)].arg = 2;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(0);
  plan.steps = FL_PLAN_STEPS_MAX + 1;
  CHECK(fl_plan_check(&plan, NULL) < 0);
}

static void a_class_has_its_own_steps(void)
{
  struct fl_plan plan = make(1);

  plan.isolation = light ? FL_ISOLATION_FULL : FL_ISOLATION_LIGHT;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan.isolation = FL_ISOLATIONS;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(1);
  plan.known = 2;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan.known = !known;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  CHECK((find(&plan, FL_STEP_LANDLOCK) != UINT32_MAX) == light && (find(&plan, FL_STEP_ROOT) != UINT32_MAX) == light && (find(&plan, FL_STEP_BUNDLE) != UINT32_MAX) == !light);
}

static void bent_fields_of_the_light_class_are_refused(void)
{
  struct fl_plan plan = make(2);

  plan.step[find(&plan, FL_STEP_IDENTITY)].arg = 1000;           /* nobody's of the host */
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_IDENTITY)].arg++;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_ROOT)].fd++;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_LANDLOCK)].fd--;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_LANDLOCK)].arg = 2;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_CGROUP)].fd = plan.step[find(&plan, FL_STEP_ROOT)].fd;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(0);
  plan.fds = FL_FD_CGROUP;
  CHECK(fl_plan_check(&plan, NULL) < 0);
}

static void what_is_known_is_done_before_it_parks(void)
{
  struct fl_plan plan = make(2);
  uint32_t park = find(&plan, FL_STEP_PARK), bundle = find(&plan, FL_STEP_BUNDLE);

  CHECK(bundle < park && find(&plan, FL_STEP_DUMPABLE) < park && find(&plan, FL_STEP_CAPABILITIES) < park && find(&plan, FL_STEP_SEAL) == park - 1 && find(&plan, FL_STEP_DESCRIPTOR) > park);
  plan.step[bundle].fd = FL_NO_FD;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan.step[bundle].fd = FL_FD_CGROUP;
  CHECK(fl_plan_check(&plan, NULL) < 0);
  plan = make(2);
  plan.step[find(&plan, FL_STEP_CGROUP)].fd = plan.step[bundle].fd;
  CHECK(fl_plan_check(&plan, NULL) < 0);
}

static void limits_out_of_range_are_named(void)
{
  struct fl_limits wrong = limits;
  struct fl_error err = {0};

  CHECK(fl_limits_check(&limits, NULL) == 0);
  wrong.pids = 0;
  CHECK(fl_limits_check(&wrong, &err) < 0 && strstr(err.detail, "pids"));
}

int main(void)
{
  CHECK(fl_plan_check(&(struct fl_plan){0}, NULL) < 0);
  for (int kind = 0; kind < 3; kind++) {
    light = kind == 1;
    known = kind == 2;
    for (uint32_t joins = 0; joins <= 4; joins++)
      CHECK(make(joins).fds == FL_FD_CGROUP + joins + (light ? FL_LIGHT_FDS : known));
    removed_steps_are_refused();
    swapped_steps_are_refused();
    bent_fields_are_refused();
    a_class_has_its_own_steps();
  }
  what_is_known_is_done_before_it_parks();
  known = false;
  light = true;
  bent_fields_of_the_light_class_are_refused();
  limits_out_of_range_are_named();
  return 0;
}
