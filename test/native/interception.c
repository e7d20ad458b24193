/* Policies for system calls: what is refused of them, the programs they become, and what their rules say of addresses and paths. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/audit.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "check.h"
#include "flashd/seal.h"
#include "intercept/policy.h"
#include "intercept/program.h"
#include "interpret.h"
#include "sandbox/policy.h"

enum { OUTCOMES_MAX = 100 };

#define DENY(error) (FL_INTERCEPT_DENY | (error) << FL_INTERCEPT_ERRNO_SHIFT)
#define RULE(error) (FL_INTERCEPT_RULE | (error) << FL_INTERCEPT_ERRNO_SHIFT)
#define ERRNO(error) (SECCOMP_RET_ERRNO | (error))

static struct fl_intercept policy;
static struct fl_intercept_program program;

static void start_over(void)
{
  memset(&policy, 0, sizeof policy);
}

static void add_path(const char *path, enum fl_intercept_path_kind kind)
{
  policy.path[policy.paths++] = (struct fl_intercept_path){(uint16_t)policy.text_bytes, kind};
  strcpy(policy.text + policy.text_bytes, path);
  policy.text_bytes += (uint32_t)strlen(path) + 1;
}

static void compile(void)
{
  CHECK(fl_intercept_check(&policy, NULL) == 0);
  CHECK(fl_intercept_compile(&policy, &program, NULL) == 0);
}

static uint32_t answer(int number, uint64_t first, uint64_t fifth)
{
  struct seccomp_data data = {.nr = number, .arch = AUDIT_ARCH_X86_64, .args = {first, 0, 0, 0, fifth, 0}};

  return interpret(program.filter, program.count, &data);
}

static void the_seal_is_in_every_program(void)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;

  start_over();
  for (int round = 0; round < 2; round++) {
    compile();
    for (int number = 0; number < FL_INTERCEPT_CALLS; number++) {
      struct seccomp_data data = {.nr = number, .arch = AUDIT_ARCH_X86_64};
      uint32_t sealed = interpret(seal, sizeof seal / sizeof seal[0], &data);

      CHECK(sealed == SECCOMP_RET_ALLOW || answer(number, 0, 0) == sealed);
    }
    for (int number = 0; number < FL_INTERCEPT_CALLS; number++)    /* and no policy takes it away */
      policy.call[number] = FL_INTERCEPT_ALLOW | FL_INTERCEPT_LOG;
  }
}

static void nothing_asked_is_nothing_done(void)
{
  start_over();
  compile();
  CHECK(program.flags == 0);
  CHECK(answer(SYS_openat, 0, 0) == SECCOMP_RET_ALLOW);
  CHECK(answer(SYS_seccomp, FL_KNOCK, 0) == ERRNO(ENOSYS));
}

static void verdicts_become_answers(void)
{
  start_over();
  policy.call[SYS_getppid] = FL_INTERCEPT_LOG;
  policy.call[SYS_mkdir] = DENY(EACCES);
  policy.call[SYS_rmdir] = DENY(EPERM) | FL_INTERCEPT_LOG;
  policy.call[SYS_connect] = RULE(EACCES);
  compile();
  CHECK(program.flags == FL_PROGRAM_LISTENER);
  CHECK(answer(SYS_getppid, 0, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_mkdir, 0, 0) == ERRNO(EACCES));
  CHECK(answer(SYS_rmdir, 0, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_connect, 0, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_getpid, 0, 0) == SECCOMP_RET_ALLOW);
  CHECK(answer(SYS_seccomp, FL_KNOCK, 0) == ERRNO(ENOSYS));
}

static void who_cannot_send_its_listener_knocks(void)
{
  start_over();
  policy.call[SYS_sendmsg] = FL_INTERCEPT_LOG;
  compile();
  CHECK(program.flags == (FL_PROGRAM_LISTENER | FL_PROGRAM_TAIL) && answer(SYS_sendmsg, 0, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_seccomp, FL_KNOCK, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_seccomp, FL_KNOCK | 1ull << 32, 0) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0) == ERRNO(ENOSYS));
}

static void silent_refusals_need_nobody_who_listens(void)
{
  start_over();
  policy.call[SYS_mkdir] = DENY(EACCES);
  compile();
  CHECK(program.flags == 0 && answer(SYS_mkdir, 0, 0) == ERRNO(EACCES));
  policy.call[SYS_write] = DENY(EIO);
  compile();
  CHECK(program.flags == (FL_PROGRAM_LISTENER | FL_PROGRAM_TAIL) && answer(SYS_write, 0, 0) == SECCOMP_RET_USER_NOTIF);
}

static void what_an_instance_cannot_do_without_is_never_refused(void)
{
  static const int exempt[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall, SYS_futex, SYS_sched_yield, SYS_mmap, SYS_munmap, SYS_close};

  start_over();
  for (int number = 0; number < FL_INTERCEPT_CALLS; number++)
    policy.call[number] = DENY(EACCES);
  compile();
  for (size_t i = 0; i < sizeof exempt / sizeof exempt[0]; i++)
    CHECK(answer(exempt[i], 0, 0) == SECCOMP_RET_ALLOW);
  CHECK(answer(SYS_read, 0, 0) == ERRNO(EACCES));
}

/* Nothing, or the same once more. */
static bool keeps_eperm(int number)
{
  return answer(number, 0, 0) == SECCOMP_RET_ALLOW || answer(number, 0, 0) == ERRNO(EPERM);
}

/* The kernel takes the later filter's errno: ENOSYS of what is younger than the allow-list must stay, and EPERM of what it does not list. */
static void refusals_of_the_first_filter_keep_their_errno(void)
{
  start_over();
  for (int number = 0; number < FL_INTERCEPT_CALLS; number++)
    policy.call[number] = DENY(EPERM);
  compile();
  CHECK(answer(463, 0, 0) == SECCOMP_RET_ALLOW && answer(500, 0, 0) == SECCOMP_RET_ALLOW && answer(0x40000000 + SYS_read, 0, 0) == SECCOMP_RET_ALLOW);
  for (int number = 0; number < FL_INTERCEPT_CALLS; number++)
    policy.call[number] = DENY(EACCES);
  compile();
  CHECK(keeps_eperm(SYS_ptrace) && keeps_eperm(SYS_mount) && keeps_eperm(SYS_bpf));
}

static void sending_on_a_connection_asks_nobody(void)
{
  start_over();
  policy.call[SYS_sendto] = RULE(EACCES);
  compile();
  CHECK(answer(SYS_sendto, 3, 0) == SECCOMP_RET_ALLOW);
  CHECK(answer(SYS_sendto, 3, 1) == SECCOMP_RET_USER_NOTIF);
  CHECK(answer(SYS_sendto, 3, 1ull << 32) == SECCOMP_RET_USER_NOTIF);
}

static bool first_filter_allows(int number)
{
  for (size_t group = 0; group < fl_policy_group_count; group++)
    for (size_t i = 0; i < fl_policy_groups[group].count; i++)
      if (fl_policy_groups[group].numbers[i] == number)
        return true;
  return false;
}

/* Up to the worst there can be: neighbours that all differ, whose outcomes lie further away than a test reaches. */
static void every_policy_fits(void)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;

  for (int outcomes = 1; outcomes <= OUTCOMES_MAX; outcomes++) {
    start_over();
    for (int number = 0; number < FL_INTERCEPT_CALLS; number++)
      policy.call[number] = DENY(1 + number % outcomes);
    compile();
    CHECK(program.count <= FL_INTERCEPT_INSTRUCTIONS_MAX);
    for (int number = 0; number < FL_INTERCEPT_CALLS; number++) {
      uint32_t sealed = interpret(seal, FL_COUNT(seal), &(struct seccomp_data){.nr = number, .arch = AUDIT_ARCH_X86_64});
      uint32_t expected = sealed != SECCOMP_RET_ALLOW ? sealed : fl_intercept_exempt((uint32_t)number) ? SECCOMP_RET_ALLOW : ERRNO(1 + number % outcomes);

      if (first_filter_allows(number) && number != SYS_sendmsg && number != SYS_write && number != SYS_seccomp)
        CHECK(answer(number, 0, 0) == expected);
    }
  }
}

static void malformed_policies_are_refused(void)
{
  static const char *const bad[] = {"", "tmp", "/tmp/", "//tmp", "/tmp//a", "/tmp/../etc", "/tmp/.", "/.."};

  start_over();
  policy.flags = 2;
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  static const uint16_t entries[] = {3, 8, DENY(0), DENY(200), RULE(0), FL_INTERCEPT_ALLOW | 1 << FL_INTERCEPT_ERRNO_SHIFT};
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
    start_over();
    policy.call[5] = entries[i];
    CHECK(fl_intercept_check(&policy, NULL) < 0);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    start_over();
    add_path(bad[i], FL_INTERCEPT_READ);
    CHECK(fl_intercept_check(&policy, NULL) < 0);
  }
  start_over();
  add_path("/tmp", 4);
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  start_over();
  add_path("/tmp", FL_INTERCEPT_READ);
  policy.text[policy.text_bytes - 1] = 'x';       /* no end */
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  start_over();
  policy.paths = FL_INTERCEPT_PATHS_MAX + 1;
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  start_over();
  policy.connects = FL_INTERCEPT_CONNECTS_MAX + 1;
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  start_over();
  policy.connects = 1;
  policy.connect[0] = (struct fl_egress_rule){.address = 0x0a000001, .prefix = 8};
  CHECK(fl_intercept_check(&policy, NULL) < 0);
  start_over();
  policy.text[100] = 'x';                         /* what is not used is 0 */
  CHECK(fl_intercept_check(&policy, NULL) < 0);
}

static bool may_connect(const char *address, uint16_t port)
{
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

  inet_pton(AF_INET, address, &to.sin_addr);
  return fl_intercept_may_connect(&policy, &to, sizeof to);
}

static bool may_connect6(const char *address, uint16_t port)
{
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

  inet_pton(AF_INET6, address, &to.sin6_addr);
  return fl_intercept_may_connect(&policy, &to, sizeof to);
}

static void addresses_are_matched(void)
{
  struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/tmp/socket"};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};

  start_over();
  policy.connects = 2;
  policy.connect[0] = (struct fl_egress_rule){.address = 0x0a000005, .prefix = 32, .port = 5432};
  policy.connect[1] = (struct fl_egress_rule){.address = 0xcb007100, .prefix = 24};
  CHECK(fl_intercept_check(&policy, NULL) == 0);
  CHECK(may_connect("10.0.0.5", 5432) && !may_connect("10.0.0.5", 80) && !may_connect("10.0.0.6", 5432));
  CHECK(may_connect("203.0.113.77", 1) && !may_connect("203.0.114.1", 1));
  CHECK(may_connect6("::ffff:10.0.0.5", 5432) && !may_connect6("::ffff:10.0.0.6", 5432) && !may_connect6("::1", 5432));
  CHECK(!fl_intercept_may_connect(&policy, &local, sizeof local));
  inet_pton(AF_INET, "203.0.113.1", &to.sin_addr);
  CHECK(!fl_intercept_may_connect(&policy, &to, 7) && !fl_intercept_may_connect(&policy, &to, 0));
}

static void paths_are_matched_by_parts(void)
{
  start_over();
  add_path("/tmp", FL_INTERCEPT_WRITE);
  add_path("/usr/lib", FL_INTERCEPT_READ);
  add_path("/usr/bin/convert", FL_INTERCEPT_EXECUTE);
  CHECK(fl_intercept_check(&policy, NULL) == 0);
  CHECK(fl_intercept_may_reach(&policy, "/tmp/a/b", FL_INTERCEPT_WRITE) && fl_intercept_may_reach(&policy, "/tmp", FL_INTERCEPT_READ));
  CHECK(!fl_intercept_may_reach(&policy, "/tmpfile", FL_INTERCEPT_READ) && !fl_intercept_may_reach(&policy, "/usr/lib", FL_INTERCEPT_WRITE));
  CHECK(fl_intercept_may_reach(&policy, "/usr/lib/x.so", FL_INTERCEPT_READ) && !fl_intercept_may_reach(&policy, "/usr/lib/x.so", FL_INTERCEPT_EXECUTE));
  CHECK(fl_intercept_may_reach(&policy, "/usr/bin/convert", FL_INTERCEPT_EXECUTE) && !fl_intercept_may_reach(&policy, "/usr/bin/convert", FL_INTERCEPT_READ));
  start_over();
  add_path("/", FL_INTERCEPT_READ);
  CHECK(fl_intercept_check(&policy, NULL) == 0 && fl_intercept_may_reach(&policy, "/etc/passwd", FL_INTERCEPT_READ) && !fl_intercept_may_reach(&policy, "pipe:[1]", FL_INTERCEPT_READ));
}

int main(void)
{
  the_seal_is_in_every_program();
  nothing_asked_is_nothing_done();
  verdicts_become_answers();
  who_cannot_send_its_listener_knocks();
  silent_refusals_need_nobody_who_listens();
  what_an_instance_cannot_do_without_is_never_refused();
  refusals_of_the_first_filter_keep_their_errno();
  sending_on_a_connection_asks_nobody();
  every_policy_fits();
  malformed_policies_are_refused();
  addresses_are_matched();
  paths_are_matched_by_parts();
  puts("interception: policies, programs and rules are right");
  return 0;
}
