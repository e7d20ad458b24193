/*
 * Whether a fork's report can be true. What a template and its children say is hostile: they are made of what functions have loaded, and sandboxd kills, reads and reaps whom they name.
 *
 *   asked ──FORKED(pid)──┐ (from the template: before, between or after the child's own)
 *     └──PARKED──(assigned)──RESUMED──▶ it runs: nothing more is said of it
 *     └──FAILED, once and last, but after RESUMED
 */
#ifndef FLASHD_REPORTS_H
#define FLASHD_REPORTS_H
#include <stdbool.h>

#include "parasite/parasite.h"

struct fl_fork_progress { bool asked, assigned, forked, parked, resumed; };

/* 0, or -EPROTO: whoever reports this is not to be listened to any more. Whose child the pid is remains to be seen. */
int fl_report_check(const struct fl_fork_report *report, const struct fl_fork_progress *progress);
#endif
