/*
 * The seccomp policy as data: policy.c lists it, filter.c compiles it. Everything that is not listed fails with EPERM, numbers from
 * FL_POLICY_UNKNOWN_FROM on (system calls younger than this table) with ENOSYS, so that libraries fall back.
 */
#ifndef FLASHD_POLICY_H
#define FLASHD_POLICY_H
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "flashd/error.h"

enum { FL_POLICY_UNKNOWN_FROM = 463 };
/* The only size that an io_uring may be asked for before the seal: no event loop wants one so small. */
enum { FL_POLICY_RING_ENTRIES = 1 };
enum { FL_POLICY_REFUSALS_MAX = 16 };

struct fl_policy_group { const char *reason; const int *numbers; size_t count; };

/* Allowed when every argument named matches: (argument & mask) == value. Kernel parameters of type int are compared under a 32-bit mask, because the kernel
 * ignores what stands above, and a 64-bit comparison would not. */
struct fl_policy_match { unsigned argument; uint64_t mask, value; };
struct fl_policy_rule { int number; unsigned matches; struct fl_policy_match match[2]; const char *reason; };

/* Answered with this errno (0: success, and nothing is done) when of the low half of each argument named (word & mask) == value, and `pointer`, if it is not 0, is an argument that is not NULL. */
struct fl_policy_word { unsigned argument; uint32_t mask, value; };
struct fl_policy_refusal { int number; unsigned words; struct fl_policy_word word[2]; unsigned pointer; int answer; const char *reason; };

/* Answered with success, and nothing is done. */
struct fl_policy_pretence { int number; const char *reason; };

extern const struct fl_policy_group fl_policy_groups[];
extern const size_t fl_policy_group_count;
/* Answered as by a kernel that does not have them (ENOSYS): libraries fall back. */
extern const struct fl_policy_group fl_policy_absent[];
extern const size_t fl_policy_absent_count;
extern const struct fl_policy_rule fl_policy_rules[];
extern const size_t fl_policy_rule_count;
extern const struct fl_policy_pretence fl_policy_pretences[];
extern const size_t fl_policy_pretence_count;
extern const struct fl_policy_refusal fl_policy_refusals[];
extern const size_t fl_policy_refusal_count;

/* Compiles the policy. *ret_program is malloc'ed: its filter is the caller's to free. */
int fl_filter_compile(struct sock_fprog *ret_program, struct fl_error *err);
#endif
