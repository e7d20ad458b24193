/* Plans: what is made passes the check, and every way of bending one is refused. */
#include "sandbox/plan.h"

#include <string.h>

#include "check.h"
#include "sandboxd/control.h"

static const struct fl_limits limits = {.memory_bytes = 128 << 20, .tmp_bytes = 64 << 20, .tmp_inodes = 1000, .pids = 64, .cpu_millis = 1000, .descriptors = 256};

static struct fl_plan make(uint32_t joins)
{
  struct fl_plan_inputs inputs = {.cgroup_joins = joins, .cap_last = 40, .uid = 1000};
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
  for (uint32_t joins = 0; joins <= 4; joins++)
    CHECK(fl_plan_check(&(struct fl_plan){0}, NULL) < 0 && make(joins).fds == FL_FD_CGROUP + joins);
  removed_steps_are_refused();
  swapped_steps_are_refused();
  bent_fields_are_refused();
  limits_out_of_range_are_named();
  return 0;
}
