/* See reports.h. */
#include "sandboxd/reports.h"

#include <errno.h>

enum { INIT_PID = 1, ERRNO_MAX = 4095 };

static bool possible(const struct fl_fork_report *report, const struct fl_fork_progress *progress)
{
  switch (report->kind) {
  case FL_FORKED: return !progress->forked && report->pid > INIT_PID;
  case FL_PARKED: return !progress->parked;
  case FL_RESUMED: return progress->assigned && progress->parked && !progress->resumed;
  /* Step 0 is the clone: without it there is nobody who could have said anything. */
  case FL_FORK_FAILED:
    return !progress->resumed && report->step < FL_STEP_OPS && report->error > 0 && report->error <= ERRNO_MAX && (report->step > 0 || (!progress->forked && !progress->parked));
  default: return false;
  }
}

int fl_report_check(const struct fl_fork_report *report, const struct fl_fork_progress *progress)
{
  return progress->asked && possible(report, progress) ? 0 : -EPROTO;
}
