/*
 * The lane: one processor that is kept for short requests, the gateway's part of them included, while others work long. All of flashd's processes find the same one, as they have the set from their supervisor.
 */
#ifndef FLASHD_LANE_H
#define FLASHD_LANE_H
#include <flashd/protocol.h>
#include <sched.h>

enum { FL_LANE_PROCESSORS_MIN = 4 };           /* with fewer, those who work long would lose too much */

/* By enum fl_processors. */
struct fl_lane { cpu_set_t processors[FL_PROCESSORS_COUNT]; };

/* From what the caller may use. -ENODEV: there is none, and every set is that. */
int fl_lane_find(struct fl_lane *ret_lane);
#endif
