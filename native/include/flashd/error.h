/*
 * The error convention of everything native: a function returns 0 (or a value >= 0) or a negative errno, and fills struct fl_error
 * when it is given one. The first error is never overwritten. Library code never prints and never exits.
 * The codes are mirrored by src/errors; a test compares them.
 */
#ifndef FLASHD_ERROR_H
#define FLASHD_ERROR_H
#include <stdint.h>

enum fl_error_code {
  FL_OK = 0,
  FL_ERR_SYSTEM = 1,                           /* a system call failed: errno_value and op say which */
  FL_ERR_BAD_MESSAGE = 2,                      /* malformed packet from the peer */
  FL_ERR_BAD_LIMIT = 3,                        /* a limit out of its range */
  FL_ERR_NO_RUNTIME = 4,                       /* unknown runtime, or none of its templates is ready */
  FL_ERR_NO_INSTANCE = 5,                      /* unknown instance */
  FL_ERR_FULL = 6,                             /* instances_max reached, or no sandbox could be had */
  FL_ERR_CHILD_LOST = 7,                       /* the fork died before it reported */
  FL_ERR_TEMPLATE = 8,                         /* a template could not be booted, frozen or injected */
  FL_ERR_UNSUPPORTED = 9,                      /* the kernel lacks something, or a template holds something that cannot be carried */
  FL_ERR_NETWORK = 10,                         /* a network for a sandbox cannot be had */
  FL_ERR_ISOLATION = 11                        /* this class of isolation is not permitted here, or the kernel lacks what it is made of */
};

struct fl_error {
  uint32_t code;                               /* enum fl_error_code */
  int32_t errno_value;                         /* positive errno, or 0 */
  char op[32];
  char detail[128];
};

/* Fills err (may be NULL; untouched when it already holds an error) and returns -errno_value, or -EINVAL when that is 0. */
int fl_fail(struct fl_error *err, uint32_t code, int errno_value, const char *op, const char *detail_format, ...)
    __attribute__((format(printf, 5, 6)));

/* The common case: errno of the system call that just failed. */
int fl_fail_errno(struct fl_error *err, const char *op);
#endif
