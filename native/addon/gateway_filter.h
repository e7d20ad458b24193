/*
 * The gateway's own seccomp filter: what an unprivileged HTTP server on Node never needs is refused, so that a bug in it is worth less to
 * whoever finds it. Taking privileges is impossible already (no capabilities, no_new_privs); this closes the kernel's rarely used doors.
 */
#ifndef FLASHD_GATEWAY_FILTER_H
#define FLASHD_GATEWAY_FILTER_H
#include "sys/deny_filter.h"

extern const struct fl_deny_filter fl_gateway_filter;
/* Puts it on every thread of the process, for good; sets no_new_privs, and lets nobody dump or trace the process. Returns the number of instructions. */
int fl_gateway_filter_apply(struct fl_error *err);
#endif
