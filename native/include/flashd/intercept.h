/*
 * Interception: what becomes of a function's system calls beyond the allow-list that all instances have. A policy travels with each CREATE of a function that asks for one
 * (FL_MSG_CREATE_INTERCEPTED: a CREATE with a policy behind it), so that none can go stale, and it can only narrow: sandboxd makes the filter of it, and the kernel takes the strictest answer of all.
 * src/sandbox/interception.ts mirrors this file; a test compares them.
 */
#ifndef FLASHD_INTERCEPT_H
#define FLASHD_INTERCEPT_H
#include <flashd/protocol.h>
#include <stdint.h>

enum {
  FL_INTERCEPT_CALLS = 464,                    /* numbers a policy speaks of; the allow-list knows none beyond */
  FL_INTERCEPT_CONNECTS_MAX = 32,
  FL_INTERCEPT_PATHS_MAX = 32,
  FL_INTERCEPT_TEXT_BYTES = 2048,              /* of all paths together */
  FL_INTERCEPT_DETAIL_BYTES = 256
};

/* A call's entry: what becomes of it, whether that is told, and with which errno it is refused (above FL_INTERCEPT_ERRNO_SHIFT). */
enum fl_intercept_entry {
  FL_INTERCEPT_ALLOW = 0,
  FL_INTERCEPT_DENY = 1,
  FL_INTERCEPT_RULE = 2,                       /* as the lists below say; what they refuse is always told */
  FL_INTERCEPT_VERDICT = 3,                    /* mask */
  FL_INTERCEPT_LOG = 4,
  FL_INTERCEPT_ERRNO_SHIFT = 4
};

enum fl_intercept_flags {
  FL_INTERCEPT_LEARN = 1                       /* what is logged is told once per instance and call, without arguments */
};

enum fl_intercept_path_kind { FL_INTERCEPT_READ = 1, FL_INTERCEPT_WRITE = 2, FL_INTERCEPT_EXECUTE = 3 };

/* A file, or a directory with all below it (FL_INTERCEPT_EXECUTE: files alone, or all below a directory). WRITE includes READ. */
struct fl_intercept_path {
  uint16_t at;                                 /* in text, NUL-terminated: absolute, without empty parts, "." and ".." */
  uint16_t kind;                               /* enum fl_intercept_path_kind */
};

struct fl_intercept {
  uint32_t flags;                              /* enum fl_intercept_flags */
  uint32_t connects, paths, text_bytes;        /* how many are used; all else is 0 */
  uint16_t call[FL_INTERCEPT_CALLS];           /* by number: enum fl_intercept_entry */
  struct fl_egress_rule connect[FL_INTERCEPT_CONNECTS_MAX];
  struct fl_intercept_path path[FL_INTERCEPT_PATHS_MAX];
  char text[FL_INTERCEPT_TEXT_BYTES];
};

struct fl_create_intercepted { struct fl_create create; struct fl_intercept intercept; };

enum fl_syscall_verdict {
  FL_SYSCALL_AUDITED = 1,                      /* carried out */
  FL_SYSCALL_DENIED = 2,
  FL_SYSCALL_ALLOWED = 3,                      /* by a rule */
  FL_SYSCALL_SEEN = 4                          /* FL_INTERCEPT_LEARN */
};

struct fl_syscall {                            /* event: FL_MSG_SYSCALL */
  struct fl_header header;
  uint64_t instance;
  uint32_t number;
  uint32_t verdict;                            /* enum fl_syscall_verdict */
  int32_t error;                               /* errno that it was answered with; 0: none, or not known */
  int32_t pid;                                 /* inside; 0: it is gone */
  uint32_t dropped;                            /* events of this instance that were too many, since the last one told */
  uint32_t denied;                             /* of those, refusals */
  uint64_t argument[6];
  char detail[FL_INTERCEPT_DETAIL_BYTES];      /* the path or address that it names, NUL-terminated; or empty */
};
#endif
