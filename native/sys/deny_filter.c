/*
 * Deny-lists as data, then as BPF: see deny_filter.h. Calls that do not depend on arguments cost nothing when allowed: the kernel keeps a bitmap of them.
 */
#include "sys/deny_filter.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "sys/syscalls.h"

#if defined(__x86_64__)
#include "sys/arch/x86_64/calls.h"
#else
#error "the filter knows no calls of this CPU"
#endif

/* Numbers that glibc's headers do not have yet. They are the same on all CPUs. */
enum {
  CALL_MAP_SHADOW_STACK = 453, CALL_STATMOUNT = 457, CALL_LISTMOUNT = 458, CALL_LSM_GET_SELF_ATTR = 459, CALL_LSM_SET_SELF_ATTR = 460,
  CALL_LSM_LIST_MODULES = 461, CALL_MSEAL = 462
};

const int fl_denied_always[] = {
  /* other processes' memory; what is read of stopped processes is read through /proc. (process_vm_writev is what a restore writes pages with; /proc/PID/mem takes twice as long for the same.) */
  SYS_process_vm_readv, SYS_process_madvise, SYS_process_mrelease,
  /* roots, mounts and file systems: those calls that nothing here is built with */
  CALL_STATMOUNT, CALL_LISTMOUNT, SYS_quotactl, SYS_quotactl_fd, SYS_fanotify_init, SYS_fanotify_mark,
  /* files by handle go around every directory's permissions */
  SYS_open_by_handle_at, SYS_name_to_handle_at,
  /* code in the kernel, and the interfaces most local exploits went through */
  SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
  SYS_add_key, SYS_request_key, SYS_keyctl, SYS_memfd_secret, CALL_MAP_SHADOW_STACK, CALL_LSM_GET_SELF_ATTR, CALL_LSM_SET_SELF_ATTR, CALL_LSM_LIST_MODULES,
  SYS_mbind, SYS_set_mempolicy, SYS_set_mempolicy_home_node, SYS_migrate_pages, SYS_move_pages,
  /* the machine: clocks, names, swap, log, accounting, power, terminals */
  SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_setdomainname, SYS_swapon, SYS_swapoff, SYS_syslog, SYS_acct, SYS_reboot, SYS_vhangup,
  SYS_nfsservctl, SYS_lookup_dcookie,
  FL_DENIED_HERE,
};
const size_t fl_denied_always_count = FL_COUNT(fl_denied_always);

/* CLONE_NEWTIME is not among them: clone() reads that bit as part of the exit signal. */
static const uint32_t namespace_flags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

struct program { struct sock_filter *at; size_t count, capacity; };

static void emit(struct program *program, struct sock_filter instruction)
{
  if (program->count < program->capacity)
    program->at[program->count] = instruction;
  program->count++;
}

static void load(struct program *program, size_t offset)
{
  emit(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* Two instructions, so that no jump grows with the list. */
static void return_if(struct program *program, uint16_t test, uint32_t value, uint32_t action)
{
  emit(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | test, value, 0, 1));
  emit(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

int fl_deny_filter_build(const struct fl_deny_filter *filter, struct sock_filter *ret_program, size_t capacity)
{
  struct program program = { .at = ret_program, .capacity = capacity };
  const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM, unknown = SECCOMP_RET_ERRNO | ENOSYS;

  load(&program, offsetof(struct seccomp_data, arch));
  emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, FL_AUDIT_ARCH, 1, 0));
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, filter->foreign));
  load(&program, offsetof(struct seccomp_data, nr));
  return_if(&program, BPF_JGE, FL_FOREIGN_CALLS_FROM, refuse);
  return_if(&program, BPF_JGT, CALL_MSEAL, unknown);       /* newer than this list: callers fall back as on an older kernel */
  for (size_t index = 0; index < fl_denied_always_count; index++)
    return_if(&program, BPF_JEQ, (uint32_t)fl_denied_always[index], refuse);
  for (size_t index = 0; index < filter->count; index++)
    return_if(&program, BPF_JEQ, (uint32_t)filter->denied[index], refuse);
  if (filter->namespaces) {
    emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return program.count <= capacity ? (int)program.count : -ENOSPC;
  }
  return_if(&program, BPF_JEQ, SYS_clone3, unknown);       /* glibc falls back to clone */
  emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, SYS_clone, 1, 0));
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  load(&program, offsetof(struct seccomp_data, args[0]));  /* the low half: the flags are 32 bits */
  return_if(&program, BPF_JSET, namespace_flags, refuse);
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return program.count <= capacity ? (int)program.count : -ENOSPC;
}

int fl_deny_filter_apply(const struct fl_deny_filter *filter, struct fl_error *err)
{
  struct sock_filter instructions[FL_DENY_FILTER_MAX];
  int count = fl_deny_filter_build(filter, instructions, FL_DENY_FILTER_MAX), result;
  struct sock_fprog program = { .len = (unsigned short)count, .filter = instructions };

  if (count < 0)
    return fl_fail(err, FL_ERR_BAD_LIMIT, -count, "seccomp", "the filter has more than %u instructions", FL_DENY_FILTER_MAX);
  result = fl_set_no_new_privs();
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "prctl", NULL);
  result = fl_seccomp_filter(&program, SECCOMP_FILTER_FLAG_TSYNC);
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "seccomp", NULL);
  if (result > 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ESRCH, "seccomp", "thread %d could not be confined", result);
  return count;
}
