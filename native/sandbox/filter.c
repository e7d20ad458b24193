/*
 * Compiles the policy: libseccomp turns the allow-list into a binary tree; in front of it stands a short program of our own with the refusals, because
 * libseccomp cannot say "unless the low half of this argument is X". Being in front it can only refuse; everything else falls through to the tree.
 *
 *   number >= FL_POLICY_UNKNOWN_FROM (x32 numbers are far above) → ENOSYS
 *   for each refusal: number, low halves of its arguments, a pointer that is not NULL → its answer
 *   (libseccomp's program)
 */
#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <linux/seccomp.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/policy.h"

enum { FRONT_MAX = 3 + FL_POLICY_REFUSALS_MAX * 13 };

static int add_groups(scmp_filter_ctx context, uint32_t action, const struct fl_policy_group *groups, size_t count, struct fl_error *err)
{
  for (size_t group = 0; group < count; group++) {
    for (size_t index = 0; index < groups[group].count; index++) {
      int number = groups[group].numbers[index], result = seccomp_rule_add(context, action, number, 0);

      if (result < 0)
        return fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp_rule_add", "system call %d", number);
    }
  }
  return 0;
}

static int add_rules(scmp_filter_ctx context, struct fl_error *err)
{
  int r = add_groups(context, SCMP_ACT_ALLOW, fl_policy_groups, fl_policy_group_count, err);

  if (r == 0)
    r = add_groups(context, SCMP_ACT_ERRNO(ENOSYS), fl_policy_absent, fl_policy_absent_count, err);
  if (r < 0)
    return r;
  for (size_t index = 0; index < fl_policy_pretence_count; index++) {
    int result = seccomp_rule_add(context, SCMP_ACT_ERRNO(0), fl_policy_pretences[index].number, 0);

    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp_rule_add", "system call %d", fl_policy_pretences[index].number);
  }
  for (size_t index = 0; index < fl_policy_rule_count; index++) {
    const struct fl_policy_rule *rule = &fl_policy_rules[index];
    struct scmp_arg_cmp compare[FL_COUNT(rule->match)];
    int result;

    for (unsigned match = 0; match < rule->matches; match++)
      compare[match] = (struct scmp_arg_cmp){
        .arg = rule->match[match].argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = rule->match[match].mask, .datum_b = rule->match[match].value,
      };
    result = seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule->number, rule->matches, compare);
    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp_rule_add", "rule for system call %d", rule->number);
  }
  return 0;
}

static unsigned low_half(unsigned argument)
{
  return offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t);   /* little-endian */
}

static size_t write_refusal(struct sock_filter *at, const struct fl_policy_refusal *refusal)
{
  unsigned ends = 1 + 2 * refusal->words + (refusal->pointer ? 4 : 0);
  size_t length = 0;

  for (unsigned word = 0; word < refusal->words; word++)
    ends += refusal->word[word].mask != UINT32_MAX;
  at[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refusal->number, 0, (uint8_t)(ends + 1));
  for (unsigned word = 0; word < refusal->words; word++) {
    at[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_half(refusal->word[word].argument));
    if (refusal->word[word].mask != UINT32_MAX)
      at[length++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, refusal->word[word].mask);
    at[length] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusal->word[word].value, 0, (uint8_t)(ends - length));
    length++;
  }
  if (refusal->pointer) {
    at[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_half(refusal->pointer));
    at[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2);
    at[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_half(refusal->pointer) + sizeof(uint32_t));
    at[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
  }
  at[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)refusal->answer);
  at[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  return length;
}

static size_t write_front(struct sock_filter front[FRONT_MAX])
{
  size_t at = 0;

  front[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  front[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_POLICY_UNKNOWN_FROM, 0, 1);
  front[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
  for (size_t index = 0; index < fl_policy_refusal_count; index++)
    at += write_refusal(front + at, &fl_policy_refusals[index]);
  return at;
}

static int export_program(scmp_filter_ctx context, struct sock_fprog *ret_program, struct fl_error *err)
{
  fl_autoclose int file = memfd_create("filter", MFD_CLOEXEC);
  struct sock_filter front[FRONT_MAX];
  size_t front_length = write_front(front), bytes;
  struct sock_filter *program;
  struct stat status;
  int result;

  if (file < 0)
    return fl_fail_errno(err, "memfd_create");
  result = seccomp_export_bpf(context, file);
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp_export_bpf", NULL);
  if (fstat(file, &status) < 0)
    return fl_fail_errno(err, "fstat");
  bytes = (size_t)status.st_size;
  if (front_length + bytes / sizeof *program > BPF_MAXINSNS)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "seccomp filter", "%zu instructions", front_length + bytes / sizeof *program);
  program = malloc(sizeof front + bytes);
  if (!program)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", NULL);
  memcpy(program, front, front_length * sizeof *front);
  if (pread(file, program + front_length, bytes, 0) != (ssize_t)bytes) {
    free(program);
    return fl_fail(err, FL_ERR_SYSTEM, EIO, "read filter", NULL);
  }
  *ret_program = (struct sock_fprog){ .len = (unsigned short)(front_length + bytes / sizeof *program), .filter = program };
  return 0;
}

int fl_filter_compile(struct sock_fprog *ret_program, struct fl_error *err)
{
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  int result;

  if (!context)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "seccomp_init", NULL);
  /* The native architecture is the only one: calls by int 0x80 answer as if the kernel had no 32-bit support. */
  result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (result == 0)
    result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (result < 0)
    result = fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp_attr_set", NULL);
  if (result == 0)
    result = add_rules(context, err);
  if (result == 0)
    result = export_program(context, ret_program, err);
  seccomp_release(context);
  return result;
}
