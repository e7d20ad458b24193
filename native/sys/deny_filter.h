/*
 * Deny-lists for our own processes: what a process never needs is refused, so that a bug in it is worth less to whoever finds it. Instances have an allow-list instead
 * (sandbox/policy.h). What nobody needs stands here; each process adds what it can do without.
 */
#ifndef FLASHD_DENY_FILTER_H
#define FLASHD_DENY_FILTER_H
#include <flashd/error.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FL_DENY_FILTER_MAX = 512 };

/* Refused to everybody, instances included. */
extern const int fl_denied_always[];
extern const size_t fl_denied_always_count;

struct fl_deny_filter {
  const int *denied;                             /* beyond those */
  size_t count;
  bool namespaces;                               /* clone may make them, and clone3, into whose flags a filter cannot look, is there */
  uint32_t foreign;                              /* what becomes of calls by another table (32-bit): SECCOMP_RET_* */
};

/* Writes the program. Returns the number of instructions, or -ENOSPC. */
int fl_deny_filter_build(const struct fl_deny_filter *filter, struct sock_filter *ret_program, size_t capacity);
/* Builds it and puts it on every thread of the process, for good, and on whatever it starts; sets no_new_privs. Returns the number of instructions. */
int fl_deny_filter_apply(const struct fl_deny_filter *filter, struct fl_error *err);
#endif
