/* See policy.h. */
#include "intercept/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "network/rtnetlink.h"

enum { ERRNO_MAX = 133 };                      /* EHWPOISON, the kernel's last */

bool fl_intercept_exempt(uint32_t number)
{
  static const uint32_t exempt[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall, SYS_futex, SYS_sched_yield, SYS_mmap, SYS_munmap, SYS_close};

  for (size_t i = 0; i < FL_COUNT(exempt); i++)
    if (exempt[i] == number)
      return true;
  return false;
}

static bool entry_valid(uint16_t entry)
{
  uint32_t verdict = entry & FL_INTERCEPT_VERDICT, error = entry >> FL_INTERCEPT_ERRNO_SHIFT, rest = entry & ~(FL_INTERCEPT_VERDICT | FL_INTERCEPT_LOG | ~0u << FL_INTERCEPT_ERRNO_SHIFT);

  if (rest || verdict > FL_INTERCEPT_RULE)
    return false;
  return verdict == FL_INTERCEPT_ALLOW ? error == 0 : error >= 1 && error <= ERRNO_MAX;
}

/* Absolute; no empty part, "." or "..", nothing after the last part ("/" alone has none). */
static bool path_valid(const char *path)
{
  if (path[0] != '/')
    return false;
  if (path[1] == 0)
    return true;
  for (const char *part = path; *part;) {
    size_t length = strcspn(part + 1, "/");

    if (length == 0 || (length == 1 && part[1] == '.') || (length == 2 && part[1] == '.' && part[2] == '.'))
      return false;
    part += length + 1;
  }
  return true;
}

static bool zero(const void *bytes, size_t size)
{
  const unsigned char *at = bytes;

  for (size_t i = 0; i < size; i++)
    if (at[i])
      return false;
  return true;
}

static bool connects_valid(const struct fl_intercept *policy)
{
  if (policy->connects > FL_INTERCEPT_CONNECTS_MAX)
    return false;
  for (uint32_t i = 0; i < policy->connects; i++) {
    const struct fl_egress_rule *rule = &policy->connect[i];

    if (rule->prefix > 32 || rule->reserved || (rule->address & ~fl_prefix_mask(rule->prefix)))
      return false;
  }
  return zero(&policy->connect[policy->connects], (FL_INTERCEPT_CONNECTS_MAX - policy->connects) * sizeof policy->connect[0]);
}

/* Paths stand in the text one behind the other, each where the one before ended. */
static bool paths_valid(const struct fl_intercept *policy)
{
  uint32_t at = 0;

  if (policy->paths > FL_INTERCEPT_PATHS_MAX || policy->text_bytes > FL_INTERCEPT_TEXT_BYTES)
    return false;
  for (uint32_t i = 0; i < policy->paths; i++) {
    const struct fl_intercept_path *path = &policy->path[i];
    const char *end = path->at == at && at < policy->text_bytes ? memchr(policy->text + at, 0, policy->text_bytes - at) : NULL;

    if (!end || path->kind < FL_INTERCEPT_READ || path->kind > FL_INTERCEPT_EXECUTE || !path_valid(policy->text + at))
      return false;
    at = (uint32_t)(end - policy->text) + 1;
  }
  return at == policy->text_bytes && zero(&policy->path[policy->paths], (FL_INTERCEPT_PATHS_MAX - policy->paths) * sizeof policy->path[0]) &&
         zero(policy->text + at, FL_INTERCEPT_TEXT_BYTES - at);
}

int fl_intercept_check(const struct fl_intercept *policy, struct fl_error *err)
{
  if (policy->flags & ~(uint32_t)FL_INTERCEPT_LEARN)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "interception: flags %#x", policy->flags);
  for (uint32_t number = 0; number < FL_INTERCEPT_CALLS; number++)
    if (!entry_valid(policy->call[number]))
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "interception: entry %#x of call %u", policy->call[number], number);
  if (!connects_valid(policy) || !paths_valid(policy))
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "interception: %u addresses, %u paths in %u bytes", policy->connects, policy->paths, policy->text_bytes);
  return 0;
}

bool fl_intercept_may_connect(const struct fl_intercept *policy, const void *address, size_t bytes)
{
  union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } to = {0};
  uint32_t host;
  uint16_t port;

  memcpy(&to, address, bytes < sizeof to ? bytes : sizeof to);
  if (to.any.sa_family == AF_INET && bytes >= sizeof to.v4) {
    host = ntohl(to.v4.sin_addr.s_addr);
    port = ntohs(to.v4.sin_port);
  } else if (to.any.sa_family == AF_INET6 && bytes >= sizeof to.v6 && IN6_IS_ADDR_V4MAPPED(&to.v6.sin6_addr)) {
    memcpy(&host, &to.v6.sin6_addr.s6_addr[12], sizeof host);
    host = ntohl(host);
    port = ntohs(to.v6.sin6_port);
  } else {
    return false;
  }
  for (uint32_t i = 0; i < policy->connects; i++) {
    const struct fl_egress_rule *rule = &policy->connect[i];

    if ((host & fl_prefix_mask(rule->prefix)) == rule->address && (rule->port == 0 || rule->port == port))
      return true;
  }
  return false;
}

static bool below(const char *path, const char *top)
{
  size_t length = strlen(top);

  if (length == 1)                               /* "/" */
    return path[0] == '/';
  return strncmp(path, top, length) == 0 && (path[length] == 0 || path[length] == '/');
}

bool fl_intercept_may_reach(const struct fl_intercept *policy, const char *path, enum fl_intercept_path_kind kind)
{
  for (uint32_t i = 0; i < policy->paths; i++) {
    enum fl_intercept_path_kind listed = policy->path[i].kind;

    if ((listed == kind || (kind == FL_INTERCEPT_READ && listed == FL_INTERCEPT_WRITE)) && below(path, policy->text + policy->path[i].at))
      return true;
  }
  return false;
}
