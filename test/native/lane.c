/* Which processors are the lane's and the others', and that there is none where there are few. */
#include "base/lane.h"

#include <errno.h>
#include <stdbool.h>

#include "check.h"

/* As if this were a machine of the first so many that it has; false: it has fewer. */
static bool with(int count, const cpu_set_t *all)
{
  cpu_set_t some;

  CPU_ZERO(&some);
  for (int processor = 0; processor < CPU_SETSIZE && CPU_COUNT(&some) < count; processor++)
    if (CPU_ISSET(processor, all))
      CPU_SET(processor, &some);
  return CPU_COUNT(&some) == count && sched_setaffinity(0, sizeof some, &some) == 0;
}

static void few_are_everybodys(const cpu_set_t *all)
{
  for (int count = 1; count < FL_LANE_PROCESSORS_MIN && with(count, all); count++) {
    struct fl_lane lane;

    CHECK(fl_lane_find(&lane) == -ENODEV);
    for (int which = 0; which < FL_PROCESSORS_COUNT; which++)
      CHECK(CPU_COUNT(&lane.processors[which]) == count);
  }
}

static void the_first_is_the_lane(const cpu_set_t *all)
{
  for (int count = FL_LANE_PROCESSORS_MIN; with(count, all); count++) {
    const cpu_set_t *processors;
    struct fl_lane lane;
    cpu_set_t both;

    CHECK(fl_lane_find(&lane) == 0);
    processors = lane.processors;
    CHECK(CPU_COUNT(&processors[FL_PROCESSORS_LANE]) == 1 && CPU_COUNT(&processors[FL_PROCESSORS_OTHERS]) == count - 1);
    CPU_OR(&both, &processors[FL_PROCESSORS_LANE], &processors[FL_PROCESSORS_OTHERS]);
    CHECK(CPU_EQUAL(&both, &processors[FL_PROCESSORS_ALL]) && CPU_COUNT(&both) == count);
  }
}

int main(void)
{
  cpu_set_t all;

  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  few_are_everybodys(&all);
  the_first_is_the_lane(&all);
  return 0;
}
