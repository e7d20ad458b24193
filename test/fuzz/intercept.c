/* Any bytes as a policy: what the check accepts becomes a program that ends for every call, keeps the seal, and never answers more than it may; the first bytes are also asked about as a path and an address. */
#include <linux/audit.h>
#include <stdlib.h>
#include <string.h>

#include "../native/interpret.h"
#include "flashd/seal.h"
#include "intercept/policy.h"
#include "intercept/program.h"

static void ask(const struct fl_intercept_program *program)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;

  for (int number = 0; number < FL_INTERCEPT_CALLS + 8; number++) {
    struct seccomp_data data = {.nr = number, .arch = AUDIT_ARCH_X86_64, .args = {[4] = 1}};
    uint32_t answer = interpret(program->filter, program->count, &data), sealed = interpret(seal, sizeof seal / sizeof seal[0], &data);

    if (sealed != SECCOMP_RET_ALLOW && answer != sealed)
      abort();
    if (fl_intercept_exempt((uint32_t)number) && answer != SECCOMP_RET_ALLOW)
      abort();
    if (answer == SECCOMP_RET_USER_NOTIF && !(program->flags & FL_PROGRAM_LISTENER))
      abort();
    if (answer != SECCOMP_RET_ALLOW && answer != SECCOMP_RET_USER_NOTIF && (answer & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO)
      abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct fl_intercept policy;
  static struct fl_intercept_program program;
  char path[64] = "/";

  memset(&policy, 0, sizeof policy);
  memcpy(&policy, data, size < sizeof policy ? size : sizeof policy);
  if (fl_intercept_check(&policy, NULL) < 0)
    return 0;
  if (fl_intercept_compile(&policy, &program, NULL) == 0)
    ask(&program);
  memcpy(path + 1, data, size < sizeof path - 2 ? size : sizeof path - 2);
  fl_intercept_may_reach(&policy, path, FL_INTERCEPT_READ);
  fl_intercept_may_connect(&policy, data, size);
  return 0;
}
