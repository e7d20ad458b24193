/*
 * The gateway's filter as data, then as BPF: see gateway_filter.h. Calls that do not depend on arguments cost nothing when allowed: the kernel
 * keeps a bitmap of them.
 */
#include "addon/gateway_filter.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "sys/syscalls.h"

#if defined(__x86_64__)
#include "addon/arch/x86_64/gateway_calls.h"
#else
#error "the gateway's filter knows no calls of this CPU"
#endif

/* Numbers that glibc's headers do not have yet. They are the same on all CPUs. */
enum {
  CALL_MAP_SHADOW_STACK = 453, CALL_STATMOUNT = 457, CALL_LISTMOUNT = 458, CALL_LSM_GET_SELF_ATTR = 459, CALL_LSM_SET_SELF_ATTR = 460,
  CALL_LSM_LIST_MODULES = 461, CALL_MSEAL = 462
};

static const int denied[] = {
  /* other programs: the gateway starts none, and must never become one */
  SYS_execve, SYS_execveat,
  /* other processes' memory and descriptors */
  SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_pidfd_getfd, SYS_kcmp,
  /* mounts and roots */
  SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_move_mount, SYS_open_tree,
  SYS_mount_setattr, CALL_STATMOUNT, CALL_LISTMOUNT, SYS_quotactl, SYS_quotactl_fd, SYS_fanotify_init, SYS_fanotify_mark,
  /* namespaces; clone's flags are looked at below */
  SYS_unshare, SYS_setns,
  /* files by handle go around every directory's permissions */
  SYS_open_by_handle_at, SYS_name_to_handle_at,
  /* identities: it has the one it was started with */
  SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_capset,
  SYS_personality,
  /* code in the kernel, and the interfaces most local exploits went through */
  SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
  SYS_add_key, SYS_request_key, SYS_keyctl, SYS_memfd_secret, SYS_vmsplice, CALL_MAP_SHADOW_STACK, CALL_LSM_GET_SELF_ATTR,
  CALL_LSM_SET_SELF_ATTR, CALL_LSM_LIST_MODULES, SYS_mbind, SYS_set_mempolicy, SYS_set_mempolicy_home_node, SYS_migrate_pages, SYS_move_pages,
  /* new rings; libuv made its own before the filter came and goes on using them, and does without where it cannot */
  SYS_io_uring_setup,
  /* System V and POSIX message queues, semaphores, shared memory: not used */
  SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
  SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify, SYS_mq_getsetattr,
  /* the machine: clocks, names, swap, log, accounting, power, terminals, device nodes */
  SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_sethostname, SYS_setdomainname, SYS_swapon, SYS_swapoff, SYS_syslog,
  SYS_acct, SYS_reboot, SYS_vhangup, SYS_mknod, SYS_mknodat, SYS_nfsservctl, SYS_lookup_dcookie,
  FL_DENIED_HERE,
};

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

int fl_gateway_filter_build(struct sock_filter *ret_program, size_t capacity)
{
  struct program program = { .at = ret_program, .capacity = capacity };
  const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM, unknown = SECCOMP_RET_ERRNO | ENOSYS;

  load(&program, offsetof(struct seccomp_data, arch));
  emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, FL_AUDIT_ARCH, 1, 0));
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));     /* 32-bit calls: only an exploit makes them */
  load(&program, offsetof(struct seccomp_data, nr));
  return_if(&program, BPF_JGE, FL_FOREIGN_CALLS_FROM, refuse);
  return_if(&program, BPF_JGT, CALL_MSEAL, unknown);       /* newer than this list: callers fall back as on an older kernel */
  return_if(&program, BPF_JEQ, SYS_clone3, unknown);       /* its flags lie in memory, where a filter cannot look; glibc falls back to clone */
  for (size_t index = 0; index < sizeof denied / sizeof denied[0]; index++)
    return_if(&program, BPF_JEQ, (uint32_t)denied[index], refuse);
  emit(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, SYS_clone, 1, 0));
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  load(&program, offsetof(struct seccomp_data, args[0]));  /* the low half: the flags are 32 bits */
  return_if(&program, BPF_JSET, namespace_flags, refuse);
  emit(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return program.count <= capacity ? (int)program.count : -ENOSPC;
}

int fl_gateway_filter_apply(struct fl_error *err)
{
  struct sock_filter instructions[FL_GATEWAY_FILTER_MAX];
  int count = fl_gateway_filter_build(instructions, FL_GATEWAY_FILTER_MAX), result;
  struct sock_fprog program = { .len = (unsigned short)count, .filter = instructions };

  if (count < 0)
    return fl_fail(err, FL_ERR_BAD_LIMIT, -count, "seccomp", "the filter has more than %u instructions", FL_GATEWAY_FILTER_MAX);
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
