/*
 * The gateway's own seccomp filter: what an unprivileged HTTP server on Node never needs is refused, so that a bug in it is worth less to
 * whoever finds it. Taking privileges is impossible already (no capabilities, no_new_privs); this closes the kernel's rarely used doors.
 */
#ifndef FLASHD_GATEWAY_FILTER_H
#define FLASHD_GATEWAY_FILTER_H
#include <flashd/error.h>
#include <linux/filter.h>
#include <stddef.h>

enum { FL_GATEWAY_FILTER_MAX = 512 };

/* Writes the program. Returns the number of instructions, or -ENOSPC. */
int fl_gateway_filter_build(struct sock_filter *ret_program, size_t capacity);
/* Builds it and puts it on every thread of the process, for good; sets no_new_privs. Returns the number of instructions. */
int fl_gateway_filter_apply(struct fl_error *err);
#endif
