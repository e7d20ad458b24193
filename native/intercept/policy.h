/* The pure half of interception: is this policy well-formed, and what does it say about an address or a path? Fuzzed and unit-tested; nothing here touches the kernel. */
#ifndef FLASHD_INTERCEPT_POLICY_H
#define FLASHD_INTERCEPT_POLICY_H
#include <flashd/error.h>
#include <flashd/intercept.h>
#include <stdbool.h>
#include <stddef.h>

/* Every field in range, everything unused 0, every path absolute and plain. The gateway is treated as hostile. */
int fl_intercept_check(const struct fl_intercept *policy, struct fl_error *err);

static inline uint32_t fl_intercept_verdict(const struct fl_intercept *policy, uint32_t number)
{
  return number < FL_INTERCEPT_CALLS ? policy->call[number] & FL_INTERCEPT_VERDICT : FL_INTERCEPT_ALLOW;
}

static inline bool fl_intercept_logged(const struct fl_intercept *policy, uint32_t number)
{
  return number < FL_INTERCEPT_CALLS && (policy->call[number] & FL_INTERCEPT_LOG);
}

/* Of a refusal: positive. */
static inline int fl_intercept_errno(const struct fl_intercept *policy, uint32_t number)
{
  return number < FL_INTERCEPT_CALLS ? policy->call[number] >> FL_INTERCEPT_ERRNO_SHIFT : 0;
}

/* Needed for an instance to come about, to go on and to end: no policy reaches them. */
bool fl_intercept_exempt(uint32_t number);
/* Whether a connection to the address (as the kernel would read it, bytes long) is on the list. IPv4, also written as IPv6. */
bool fl_intercept_may_connect(const struct fl_intercept *policy, const void *address, size_t bytes);
/* path: of the thing itself, as the kernel names it inside the sandbox. */
bool fl_intercept_may_reach(const struct fl_intercept *policy, const char *path, enum fl_intercept_path_kind kind);
#endif
