/* See program.h. */
#include "intercept/program.h"

#include <errno.h>
#include <flashd/seal.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "intercept/policy.h"
#include "sandbox/policy.h"

#if !defined(__x86_64__)
#error "the table of calls was judged for x86-64"
#endif

/* A test reaches 255 instructions. The second of two that go further is one more on the first one's way. */
enum { ADDRESS_ARGUMENT = 4, NEAR = UINT8_MAX - 1 };

/* Outcomes that need more than a return. */
enum { SECCOMP_CALL = 1, SENDTO_CALL = 2 };

/* From `first` on, up to the next range. */
struct range { uint32_t first, outcome; };
/* The last that was emitted with this outcome. */
struct answer { uint32_t outcome, at; };

struct builder {
  const struct fl_intercept *policy;
  struct fl_intercept_program *program;
  struct range range[FL_INTERCEPT_CALLS + 1];
  struct answer answer[FL_INTERCEPT_CALLS + 1];
  uint32_t ranges, answers;
  bool listener, tail;
};

static uint32_t argument_at(unsigned argument, bool high)
{
  return (uint32_t)(offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t) + (high ? sizeof(uint32_t) : 0));   /* little-endian */
}

/* On the way from seccomp() to the first instruction of user code, so that refusing them is the monitor's business. */
static bool in_tail(uint32_t number)
{
  return number == SYS_sendmsg || number == SYS_write;
}

/* What the seal says of it; SECCOMP_RET_ALLOW: nothing. */
static uint32_t sealed(uint32_t number)
{
  switch (number) {
  case SYS_setns: case SYS_chroot: case SYS_move_mount: case SYS_io_uring_setup: case SYS_io_uring_register: return SECCOMP_RET_ERRNO | FL_SEAL_EPERM;
  case SYS_clone3: case SYS_seccomp: return SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS;
  default: return SECCOMP_RET_ALLOW;
  }
}

static uint32_t outcome_of(const struct fl_intercept *policy, uint32_t number)
{
  uint32_t verdict = fl_intercept_verdict(policy, number);

  if (sealed(number) != SECCOMP_RET_ALLOW)
    return sealed(number);
  if (fl_intercept_exempt(number) || (verdict == FL_INTERCEPT_ALLOW && !fl_intercept_logged(policy, number)))
    return SECCOMP_RET_ALLOW;
  if (verdict == FL_INTERCEPT_DENY && !fl_intercept_logged(policy, number) && !in_tail(number))
    return SECCOMP_RET_ERRNO | (uint32_t)fl_intercept_errno(policy, number);
  return SECCOMP_RET_USER_NOTIF;
}

/* Numbers that the first filter lets nobody use. */
static void mark_refused(bool refused[FL_INTERCEPT_CALLS])
{
  memset(refused, 1, FL_INTERCEPT_CALLS);
  for (size_t group = 0; group < fl_policy_group_count; group++)
    for (size_t i = 0; i < fl_policy_groups[group].count; i++)
      if (fl_policy_groups[group].numbers[i] < FL_INTERCEPT_CALLS)
        refused[fl_policy_groups[group].numbers[i]] = false;
  for (size_t i = 0; i < fl_policy_rule_count; i++)
    if (fl_policy_rules[i].number < FL_INTERCEPT_CALLS)
      refused[fl_policy_rules[i].number] = false;
}

static void add_range(struct builder *builder, uint32_t first, uint32_t outcome)
{
  if (builder->ranges == 0 || builder->range[builder->ranges - 1].outcome != outcome)
    builder->range[builder->ranges++] = (struct range){builder->ranges ? first : 0, outcome};
}

/* Of two refusals the kernel takes the later filter's errno: what the first one refuses must not get another than there. */
static bool would_change(uint32_t outcome, uint32_t number)
{
  return (outcome & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO && (outcome != (SECCOMP_RET_ERRNO | EPERM) || number >= FL_POLICY_UNKNOWN_FROM);
}

static void find_ranges(struct builder *builder)
{
  bool refused[FL_INTERCEPT_CALLS];

  mark_refused(refused);
  for (uint32_t number = 0; number < FL_INTERCEPT_CALLS; number++)
    builder->listener |= !refused[number] && outcome_of(builder->policy, number) == SECCOMP_RET_USER_NOTIF;
  builder->tail = outcome_of(builder->policy, SYS_sendmsg) != SECCOMP_RET_ALLOW || outcome_of(builder->policy, SYS_write) != SECCOMP_RET_ALLOW;
  for (uint32_t number = 0; number < FL_INTERCEPT_CALLS; number++) {
    uint32_t outcome = outcome_of(builder->policy, number);

    if (refused[number]) {
      if (builder->ranges && would_change(builder->range[builder->ranges - 1].outcome, number))
        add_range(builder, number, SECCOMP_RET_ALLOW);
      continue;
    }
    if (number == SYS_seccomp && builder->listener && builder->tail)
      outcome = SECCOMP_CALL;
    if (number == SYS_sendto && fl_intercept_verdict(builder->policy, number) == FL_INTERCEPT_RULE)
      outcome = SENDTO_CALL;
    add_range(builder, number, outcome);
  }
}

/* Where it stands, counted from the end: the program is written from there, so that what a jump leads to is there before the jump. */
static uint32_t emit(struct builder *builder, struct sock_filter instruction)
{
  uint32_t at = builder->program->count++;

  if (at < FL_INTERCEPT_INSTRUCTIONS_MAX)
    builder->program->filter[FL_INTERCEPT_INSTRUCTIONS_MAX - 1 - at] = instruction;
  return at;
}

/* From what is emitted next. */
static uint32_t distance(const struct builder *builder, uint32_t at)
{
  return builder->program->count - at - 1;
}

static uint32_t jump(struct builder *builder, uint32_t at)
{
  return emit(builder, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, distance(builder, at)));
}

static uint32_t load(struct builder *builder, uint32_t offset)
{
  return emit(builder, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* Of what is loaded right before it. */
static uint32_t test(struct builder *builder, uint16_t comparison, uint32_t number, uint32_t yes, uint32_t no)
{
  if (distance(builder, yes) > NEAR)
    yes = jump(builder, yes);
  if (distance(builder, no) > NEAR)
    no = jump(builder, no);
  return emit(builder, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, number, (uint8_t)distance(builder, yes), (uint8_t)distance(builder, no)));
}

/* The same one for all that are near enough. */
static uint32_t answer(struct builder *builder, uint32_t outcome)
{
  uint32_t i = 0;

  while (i < builder->answers && builder->answer[i].outcome != outcome)
    i++;
  if (i == builder->answers || distance(builder, builder->answer[i].at) > NEAR)
    builder->answer[i] = (struct answer){outcome, emit(builder, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, outcome))};
  builder->answers += i == builder->answers;
  return builder->answer[i].at;
}

static uint32_t knock(struct builder *builder)
{
  uint32_t told = answer(builder, SECCOMP_RET_USER_NOTIF), otherwise = answer(builder, outcome_of(builder->policy, SYS_seccomp));

  test(builder, BPF_JEQ, FL_KNOCK, told, otherwise);
  return load(builder, argument_at(0, false));
}

/* On a connected socket: where to is not said. */
static uint32_t sendto_somewhere(struct builder *builder)
{
  uint32_t told = answer(builder, SECCOMP_RET_USER_NOTIF), connected = answer(builder, fl_intercept_logged(builder->policy, SYS_sendto) ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW);

  test(builder, BPF_JEQ, 0, connected, told);
  test(builder, BPF_JEQ, 0, load(builder, argument_at(ADDRESS_ARGUMENT, true)), told);
  return load(builder, argument_at(ADDRESS_ARGUMENT, false));
}

/* The ranges from..to - 1, the number being loaded. */
static uint32_t tree(struct builder *builder, uint32_t from, uint32_t to)
{
  uint32_t middle = from + (to - from) / 2, outcome = builder->range[from].outcome;

  if (to - from == 1)
    return outcome == SECCOMP_CALL ? knock(builder) : outcome == SENDTO_CALL ? sendto_somewhere(builder) : answer(builder, outcome);
  uint32_t upper = tree(builder, middle, to), lower = tree(builder, from, middle);
  return test(builder, BPF_JGE, builder->range[middle].first, upper, lower);
}

int fl_intercept_compile(const struct fl_intercept *policy, struct fl_intercept_program *ret_program, struct fl_error *err)
{
  struct builder builder = {.policy = policy, .program = ret_program};

  ret_program->count = ret_program->flags = ret_program->install = ret_program->reserved = 0;
  find_ranges(&builder);
  uint32_t root = tree(&builder, 0, builder.ranges);
  if (distance(&builder, root) > 0)
    jump(&builder, root);
  uint32_t ours = load(&builder, offsetof(struct seccomp_data, nr)), others = answer(&builder, SECCOMP_RET_ALLOW);
  test(&builder, BPF_JEQ, AUDIT_ARCH_X86_64, ours, others);
  load(&builder, offsetof(struct seccomp_data, arch));
  if (ret_program->count > FL_INTERCEPT_INSTRUCTIONS_MAX)
    return fl_fail(err, FL_ERR_BAD_LIMIT, E2BIG, "interception", "a filter of %u instructions", ret_program->count);
  memmove(ret_program->filter, ret_program->filter + FL_INTERCEPT_INSTRUCTIONS_MAX - ret_program->count, ret_program->count * sizeof ret_program->filter[0]);
  if (builder.listener)
    ret_program->flags |= FL_PROGRAM_LISTENER;
  if (builder.tail)
    ret_program->flags |= FL_PROGRAM_TAIL;
  return 0;
}

size_t fl_intercept_program_bytes(const struct fl_intercept_program *program)
{
  return offsetof(struct fl_intercept_program, filter) + program->count * sizeof program->filter[0];
}
