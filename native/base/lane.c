/* See lane.h. */
#include "base/lane.h"

#include <errno.h>

int fl_lane_find(struct fl_lane *ret_lane)
{
  cpu_set_t *all = &ret_lane->processors[FL_PROCESSORS_ALL], *lane = &ret_lane->processors[FL_PROCESSORS_LANE], *others = &ret_lane->processors[FL_PROCESSORS_OTHERS];
  int first = 0;

  if (sched_getaffinity(0, sizeof *all, all) < 0)
    CPU_ZERO(all);                             /* more processors than the set has room for */
  *lane = *others = *all;
  if (CPU_COUNT(all) < FL_LANE_PROCESSORS_MIN)
    return -ENODEV;
  while (!CPU_ISSET(first, all))
    first++;
  CPU_ZERO(lane);
  CPU_SET(first, lane);
  CPU_CLR(first, others);
  return 0;
}
