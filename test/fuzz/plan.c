/* Any bytes as a plan: the checker reads nothing outside of it, and what it accepts keeps the promises of plan.h. */
#include <stdlib.h>
#include <string.h>

#include "sandbox/plan.h"

static unsigned count(const struct fl_plan *plan, uint16_t op)
{
  unsigned found = 0;

  for (uint32_t i = 0; i < plan->steps; i++)
    found += plan->step[i].op == op;
  return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct fl_plan plan = {0};

  memcpy(&plan, data, size < sizeof plan ? size : sizeof plan);
  if (fl_plan_check(&plan, NULL) < 0)
    return 0;
  uint32_t sealed = plan.steps - 2;

  while (sealed > 0 && plan.step[sealed].op != FL_STEP_SEAL)
    sealed--;
  if (plan.step[0].op != FL_STEP_SESSION || plan.step[plan.steps - 1].op != FL_STEP_RESUME || (plan.known ? plan.step[sealed + 1].op != FL_STEP_PARK : sealed != plan.steps - 2))
    abort();
  bool light = plan.isolation == FL_ISOLATION_LIGHT;
  if (count(&plan, FL_STEP_LANDLOCK) != light || count(&plan, FL_STEP_ROOT) != light || count(&plan, FL_STEP_IDENTITY) != 1 || count(&plan, FL_STEP_CAPABILITIES) != 1)
    abort();
  for (uint32_t i = 0; i < plan.steps; i++)
    if (plan.step[i].fd != FL_NO_FD && plan.step[i].fd >= FL_PLAN_FDS_MAX)
      abort();
  return 0;
}
