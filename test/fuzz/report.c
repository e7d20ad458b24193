/*
 * Any sequence of reports about one fork. Each record of the input is a byte that says what sandboxd does meanwhile, and a report; what is believed is held against a second opinion: in what order the kinds may come, written as
 * a table of what must not have come yet and what must have.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/reports.h"

#define BIT(kind) (1u << (kind))

enum { ASK = 1, ASSIGN = 2, ASSIGNED = 0, RECORD_BYTES = 1 + (int)sizeof(struct fl_fork_report) };

static const struct { uint32_t before, never; } order[] = {
    [FL_FORKED] = {0, BIT(FL_FORKED)},
    [FL_PARKED] = {0, BIT(FL_PARKED) | BIT(FL_RESUMED)},
    [FL_RESUMED] = {BIT(FL_PARKED) | BIT(ASSIGNED), BIT(FL_RESUMED)},
    [FL_FORK_FAILED] = {0, BIT(FL_RESUMED)},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct fl_fork_progress progress = {0};
  uint32_t seen = 0;

  for (size_t at = 0; at + RECORD_BYTES <= size; at += RECORD_BYTES) {
    struct fl_fork_report report;

    memcpy(&report, data + at + 1, sizeof report);
    progress.asked |= data[at] & ASK;
    progress.assigned |= progress.asked && data[at] & ASSIGN;
    seen |= progress.assigned ? BIT(ASSIGNED) : 0;
    int r = fl_report_check(&report, &progress);
    if (r != 0 && r != -EPROTO)
      abort();
    if (r < 0)
      return 0;
    if (!progress.asked || report.kind < FL_FORKED || report.kind > FL_FORK_FAILED || (order[report.kind].before & ~seen) || (order[report.kind].never & seen))
      abort();
    /* What sandboxd does with the numbers: a pid that kill(2) takes for one process, a name of a step, an errno. */
    if (report.kind == FL_FORKED && report.pid < 2)
      abort();
    if (report.kind == FL_FORK_FAILED && (strcmp(fl_step_name(report.step), "unknown") == 0 || report.error < 1 || (report.step == 0 && seen & (BIT(FL_FORKED) | BIT(FL_PARKED)))))
      abort();
    seen |= BIT(report.kind);
    progress.forked |= report.kind == FL_FORKED;
    progress.parked |= report.kind == FL_PARKED;
    progress.resumed |= report.kind == FL_RESUMED;
  }
  return 0;
}
