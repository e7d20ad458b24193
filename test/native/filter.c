/*
 * The seccomp policy and the seal, tried as root outside any sandbox, so that it is the filter that refuses and not the lack of a capability. Every forbidden call
 * is made, with arguments that would be harmless were it let through.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/personality.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"
#include "flashd/light_seal.h"
#include "flashd/rewound_seal.h"
#include "interpret.h"
#include "sandbox/policy.h"
#include "sandboxd/confine.h"
#include "sys/deny_filter.h"
#include "sys/syscalls.h"

#define HIGH (1ULL << 32)

/* What no function may ever call, whatever the policy's table says. */
static const int mounts[] = { SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
                              SYS_mount_setattr, SYS_quotactl, SYS_quotactl_fd, SYS_swapon, SYS_swapoff };
static const int namespaces[] = { SYS_setns, SYS_unshare, SYS_sethostname, SYS_setdomainname };
static const int modules[] = { SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_create_module, SYS_query_module, SYS_get_kernel_syms, SYS_kexec_load,
                               SYS_kexec_file_load, SYS_reboot, SYS_bpf, SYS_perf_event_open };
static const int debugging[] = { SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise, SYS_process_mrelease,
                                 SYS_userfaultfd, SYS_lookup_dcookie };
static const int keys[] = { SYS_add_key, SYS_request_key, SYS_keyctl };
static const int hardware[] = { SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_vhangup, SYS_syslog, SYS_acct };
static const int time_of_day[] = { SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime };
static const int numa[] = { SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_migrate_pages, SYS_move_pages };
static const int handles[] = { SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init, SYS_fanotify_mark };
static const int rings[] = { SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register };
static const int obsolete[] = { SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl, SYS_nfsservctl, SYS_remap_file_pages, SYS_memfd_secret, SYS_sync, SYS_syncfs };

#define GROUP(name) { #name, name, FL_COUNT(name) }
static const struct { const char *name; const int *numbers; size_t count; } forbidden[] = {
  GROUP(mounts), GROUP(namespaces), GROUP(modules), GROUP(debugging), GROUP(keys), GROUP(hardware), GROUP(time_of_day), GROUP(numa), GROUP(handles), GROUP(rings),
  GROUP(obsolete),
};

static bool refused(long number, unsigned long a, unsigned long b, unsigned long c, int errno_value)
{
  long result;

  errno = 0;
  result = syscall(number, a, b, c, -1L, -1L, -1L);
  if (result == -1 && errno == errno_value)
    return true;
  fprintf(stderr, "system call %ld(%#lx, %#lx, %#lx): %ld, %s\n", number, a, b, c, result, strerror(errno));
  return false;
}

static bool stands_in(const struct fl_policy_group *groups, size_t count, int number)
{
  for (size_t group = 0; group < count; group++)
    for (size_t index = 0; index < groups[group].count; index++)
      if (groups[group].numbers[index] == number)
        return true;
  return false;
}

static bool absent(int number)
{
  return stands_in(fl_policy_absent, fl_policy_absent_count, number);
}

static bool listed(int number)
{
  if (stands_in(fl_policy_groups, fl_policy_group_count, number))
    return true;
  for (size_t index = 0; index < fl_policy_rule_count; index++)
    if (fl_policy_rules[index].number == number)
      return true;
  return false;
}

static bool pretended(int number)
{
  for (size_t index = 0; index < fl_policy_pretence_count; index++)
    if (fl_policy_pretences[index].number == number)
      return true;
  return false;
}

static void what_is_pretended_is_not_done(void)
{
  cpu_set_t before, after, one;

  for (size_t index = 0; index < fl_policy_pretence_count; index++)
    CHECK(!listed(fl_policy_pretences[index].number) && syscall(fl_policy_pretences[index].number, -1, -1, -1, -1, -1, -1) == 0);
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  for (int processor = 0; processor < CPU_SETSIZE; processor++) {
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    if (CPU_ISSET(processor, &before))
      CHECK(sched_setaffinity(0, sizeof one, &one) == 0 && sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after));
  }
}

static void forbidden_calls_are_refused(void)
{
  for (size_t group = 0; group < FL_COUNT(forbidden); group++)
    for (size_t index = 0; index < forbidden[group].count; index++)
      if (!refused(forbidden[group].numbers[index], -1, -1, -1, EPERM)) {
        fprintf(stderr, "in group %s\n", forbidden[group].name);
        CHECK(!"refused");
      }
}

/* Everything that is not in the table, by number; and everything the table does not know. Newer kernels let uretprobe and uprobe pass every filter: they are
 * the way back from a probe that the host has set, and kill whoever calls them otherwise. */
static void unlisted_numbers_are_refused(void)
{
  for (int number = 0; number < FL_POLICY_UNKNOWN_FROM; number++)
    if (!listed(number) && !pretended(number) && number != 335 && number != 336)
      CHECK(refused(number, -1, -1, -1, absent(number) ? ENOSYS : EPERM));
  for (int number = FL_POLICY_UNKNOWN_FROM; number < 1024; number++)
    CHECK(refused(number, -1, -1, -1, ENOSYS));
}

static void foreign_abis_are_refused(void)
{
  pid_t pid;
  int status;

  CHECK(refused(0x40000000 | SYS_getpid, 0, 0, 0, ENOSYS));
  CHECK(refused(0x40000000 | SYS_mount, -1, -1, -1, ENOSYS));
  pid = fork();
  if (pid == 0) {
    int result = 20;                                             /* getpid for 32-bit programs */

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    _exit(result == -ENOSYS ? 0 : 1);
  }
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);        /* a kernel without 32-bit support raises a signal */
}

/* int arguments: the kernel ignores their high half, so the filter must too. */
static void high_bits_do_not_help(void)
{
  static const unsigned families[] = { AF_VSOCK, AF_ALG, AF_PACKET, AF_BLUETOOTH, AF_CAN, AF_TIPC, AF_KEY, AF_RDS, 44 /* AF_XDP */ };

  for (size_t index = 0; index < FL_COUNT(families); index++) {
    CHECK(refused(SYS_socket, families[index], SOCK_STREAM, 0, EPERM));
    CHECK(refused(SYS_socket, families[index] | HIGH, SOCK_STREAM, 0, EPERM));
    CHECK(refused(SYS_socketpair, families[index] | HIGH, SOCK_STREAM, 0, EPERM));
  }
  CHECK(refused(SYS_socket, AF_NETLINK, SOCK_RAW, 12 /* NETLINK_NETFILTER */, EPERM));
  CHECK(refused(SYS_socket, AF_NETLINK | HIGH, SOCK_RAW, 12 | HIGH, EPERM));
  for (unsigned long high = 0; high < 4; high++) {
    CHECK(refused(SYS_ioctl, 0, TIOCSTI | high << 32, 0, EPERM));
    CHECK(refused(SYS_ioctl, 0, TIOCLINUX | high << 32, 0, EPERM));
    CHECK(refused(SYS_ioctl, 0 | high << 32, TIOCSTI | ~0UL << 32, 0, EPERM));
    CHECK(refused(SYS_personality, PER_LINUX | ADDR_NO_RANDOMIZE | high << 32, 0, 0, EPERM));
    CHECK(refused(SYS_personality, READ_IMPLIES_EXEC | high << 32, 0, 0, EPERM));
  }
}

static void clone_makes_no_namespaces(void)
{
  static const unsigned long flags[] = { CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_PARENT };

  for (size_t index = 0; index < FL_COUNT(flags); index++) {
    CHECK(refused(SYS_clone, flags[index] | SIGCHLD, 0, 0, EPERM));
    CHECK(refused(SYS_clone, flags[index] | SIGCHLD | HIGH, 0, 0, EPERM));
    CHECK(refused(SYS_clone, flags[index] | CLONE_NEWUSER | SIGCHLD, 0, 0, EPERM));
  }
  CHECK(refused(SYS_clone3, 0, 0, 0, ENOSYS));
}

/* Filters are compiled into memory that is nobody's and limited for the machine. Options of the same number at other levels stay. */
static void no_filters_are_compiled(void)
{
  struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = { .len = 1, .filter = &nothing };
  int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

  CHECK(fd >= 0 && IPV6_V6ONLY == SO_ATTACH_FILTER && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
  for (unsigned long high = 0; high < 4; high++)
    CHECK(refused(SYS_setsockopt, (unsigned long)fd, SOL_SOCKET | high << 32, SO_ATTACH_FILTER | high << 32, EPERM) &&
          refused(SYS_setsockopt, (unsigned long)fd, SOL_SOCKET | high << 32, SO_ATTACH_REUSEPORT_CBPF | high << 32, EPERM) &&
          refused(SYS_prctl, PR_SET_SECCOMP | high << 32, SECCOMP_MODE_FILTER, (unsigned long)&program, EPERM) &&
          refused(SYS_seccomp, SECCOMP_SET_MODE_FILTER | high << 32, 0, (unsigned long)&program, ENOSYS));
  close(fd);
}

/* The limit is asked for by others than prlimit64(…, NULL, …) in vain, wherever the new one stands. */
static void core_dumps_stay_forbidden(void)
{
  const struct rlimit none = { 0, 0 };
  struct rlimit before, after;
  void *high = mmap((void *)(3ul << 44), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

  CHECK(high == (void *)(3ul << 44));
  CHECK(getrlimit(RLIMIT_CORE, &before) == 0 && syscall(SYS_setrlimit, RLIMIT_CORE | HIGH, &none) == 0 && syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL) == 0 &&
        syscall(SYS_prlimit64, 0, RLIMIT_CORE | HIGH, high, NULL) == 0);
  CHECK(getrlimit(RLIMIT_CORE, &after) == 0 && after.rlim_cur == before.rlim_cur && after.rlim_max == before.rlim_max && before.rlim_max == 1);
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0 && setrlimit(RLIMIT_NOFILE, &(struct rlimit){ before.rlim_cur - 1, before.rlim_max }) == 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0 && after.rlim_cur == before.rlim_cur - 1);
}

/* Whatever else is asked for beside it; and nothing else is refused for it. */
static void no_reserve_is_touched(void)
{
  const unsigned long plain = MAP_PRIVATE | MAP_ANONYMOUS, large = 1ul << 21;

  for (unsigned long high = 0; high < 4; high++)
    CHECK((long)mmap(NULL, large, PROT_READ, (int)(plain | MAP_HUGETLB), -1, 0) == -1 && errno == ENOMEM &&
          syscall(SYS_mmap, 0, large, PROT_READ, plain | MAP_HUGETLB | MAP_NORESERVE | high << 32, -1, 0) == -1 && errno == ENOMEM &&
          refused(SYS_memfd_create, (unsigned long)"", MFD_HUGETLB | MFD_CLOEXEC | high << 32, 0, ENOMEM) &&
          refused(SYS_shmget, IPC_PRIVATE, large, SHM_HUGETLB | IPC_CREAT | 0600 | high << 32, ENOMEM));
  CHECK(mmap(NULL, large, PROT_READ, (int)plain | MAP_NORESERVE, -1, 0) != MAP_FAILED);
}

static void *second_thread(void *argument)
{
  *(int *)argument = 1;
  return NULL;
}

static void ordinary_programs_work(void)
{
  int ran = 0, pair[2], status, events = epoll_create1(0);
  struct epoll_event event = { .events = EPOLLIN };
  struct utsname uname_result;
  pthread_t thread;
  char byte = 'x';
  pid_t pid;

  CHECK(pthread_create(&thread, NULL, second_thread, &ran) == 0 && pthread_join(thread, NULL) == 0 && ran);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  CHECK(write(pair[0], &byte, 1) == 1);
  CHECK(epoll_ctl(events, EPOLL_CTL_ADD, pair[1], &event) == 0 && epoll_wait(events, &event, 1, 1000) == 1);
  CHECK(socket(AF_INET, SOCK_STREAM, 0) >= 0 && socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
  CHECK(memfd_create("x", 0) >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  CHECK(syscall(SYS_personality, 0xffffffffUL) >= 0 && uname(&uname_result) == 0);
  CHECK(ioctl(0, TCGETS, &(char[256]){ 0 }) == 0 || errno != EPERM);
  CHECK(syscall(452, AT_FDCWD, "/nonexistent", 0, 0) == -1 && errno != EPERM);
  pid = fork();
  if (pid == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Before the seal the parasite's calls pass, and reach the kernel. */
static void the_parasite_may_work_before_the_seal(void)
{
  CHECK(syscall(SYS_setns, -1, 0) == -1 && errno == EBADF);
  CHECK(syscall(SYS_move_mount, -1, "", -1, "", 4) == -1 && errno != EPERM && errno != ENOSYS);
  CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_io_uring_setup, FL_POLICY_RING_ENTRIES, NULL) == -1 && errno != ENOSYS);
}

/* A runtime that got a ring for its event loop could not be carried: it has to do without from its start. */
static void no_event_loop_gets_a_ring(void)
{
  static const unsigned long entries[] = { 0, 2, 64, 256, 1ul << 31, ~0ul };
  char parameters[120] = { 0 };

  for (size_t index = 0; index < FL_COUNT(entries); index++)
    CHECK(refused(SYS_io_uring_setup, entries[index], (unsigned long)parameters, 0, EPERM));
  CHECK(refused(SYS_io_uring_enter, 0, 0, 0, EPERM));
}

/* As the kernel finds out when a filter is installed (seccomp_is_const_allow): whether it lets the call through without having looked at anything but number and architecture. Such a call is answered out of a bitmap. */
static bool always_allowed(const struct sock_fprog *program, int number)
{
  uint32_t value = 0;

  for (unsigned at = 0; at < program->len; at++) {
    const struct sock_filter *here = &program->filter[at];
    bool jumps;

    switch (here->code) {
    case BPF_LD | BPF_W | BPF_ABS:
      if (here->k != offsetof(struct seccomp_data, nr) && here->k != offsetof(struct seccomp_data, arch))
        return false;
      value = here->k == offsetof(struct seccomp_data, nr) ? (uint32_t)number : AUDIT_ARCH_X86_64;
      continue;
    case BPF_RET | BPF_K: return here->k == SECCOMP_RET_ALLOW;
    case BPF_JMP | BPF_JA: at += here->k; continue;
    case BPF_JMP | BPF_JEQ | BPF_K: jumps = value == here->k; break;
    case BPF_JMP | BPF_JGE | BPF_K: jumps = value >= here->k; break;
    case BPF_JMP | BPF_JGT | BPF_K: jumps = value > here->k; break;
    case BPF_JMP | BPF_JSET | BPF_K: jumps = value & here->k; break;
    default: return false;
    }
    at += jumps ? here->jt : here->jf;
  }
  return false;
}

enum { ALLOW_LIST, SEAL, LIGHT_SEAL, REWOUND_SEAL, INHERITED, PROGRAMS };

static bool looks_at_arguments(size_t program, int number)
{
  if (program == REWOUND_SEAL)
    return number == SYS_ioctl || number == SYS_madvise || number == SYS_mlockall;
  for (size_t index = 0; program == ALLOW_LIST && index < fl_policy_refusal_count; index++)
    if (fl_policy_refusals[index].number == number)
      return true;
  return false;
}

/* What an instance may call whatever the arguments costs it no filter: not the allow-list, nor a seal, nor what it has inherited from sandboxd. */
static void what_is_allowed_is_in_the_cache(const struct sock_fprog *list)
{
  static struct sock_filter seal[] = FL_SEAL_FILTER, light[] = FL_LIGHT_SEAL_FILTER, inherited[FL_DENY_FILTER_MAX];
  struct sock_filter rewound[] = FL_SEAL_REWOUND_FILTER((struct fl_growth){ 0 });
  int count = fl_deny_filter_build(&fl_sandboxd_filter, inherited, FL_DENY_FILTER_MAX);
  const struct sock_fprog programs[PROGRAMS] = {
    [ALLOW_LIST] = *list, [SEAL] = { FL_COUNT(seal), seal }, [LIGHT_SEAL] = { FL_COUNT(light), light }, [REWOUND_SEAL] = { FL_COUNT(rewound), rewound },
    [INHERITED] = { (unsigned short)count, inherited },
  };

  CHECK(count > 0);
  for (size_t group = 0; group < fl_policy_group_count; group++)
    for (size_t index = 0; index < fl_policy_groups[group].count; index++) {
      int number = fl_policy_groups[group].numbers[index];

      for (size_t program = 0; program < PROGRAMS; program++) {
        uint32_t answer = interpret(programs[program].filter, programs[program].len, &(struct seccomp_data){ .nr = number, .arch = AUDIT_ARCH_X86_64 });

        CHECK(always_allowed(&programs[program], number) == (answer == SECCOMP_RET_ALLOW && !looks_at_arguments(program, number)));
      }
    }
  CHECK(always_allowed(list, SYS_read) && always_allowed(list, SYS_futex) && !always_allowed(list, SYS_ioctl) && !always_allowed(list, SYS_socket) && !always_allowed(list, SYS_ptrace));
}

/* Younger than the headers we build with. */
enum { ADVICE_DONTNEED_LOCKED = 24, ADVICE_END = 128 };

static void advice_beyond_content_is_refused_or_not_followed(void)
{
  const struct sock_filter seal[] = FL_SEAL_REWOUND_FILTER(((struct fl_growth){ 0, 1ul << 40 }));
  static const int followed[] = { MADV_WILLNEED, MADV_DONTNEED, MADV_REMOVE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
                                 ADVICE_DONTNEED_LOCKED },
                   refused[] = { MADV_FREE, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK };

  for (uint32_t advice = 0; advice < ADVICE_END; advice++) {
    uint32_t expected = advice > ADVICE_DONTNEED_LOCKED ? SECCOMP_RET_ERRNO | EINVAL : SECCOMP_RET_ERRNO;

    for (size_t index = 0; index < FL_COUNT(followed); index++)
      expected = advice == (uint32_t)followed[index] ? SECCOMP_RET_ALLOW : expected;
    for (size_t index = 0; index < FL_COUNT(refused); index++)
      expected = advice == (uint32_t)refused[index] ? SECCOMP_RET_ERRNO | EINVAL : expected;
    CHECK(interpret(seal, FL_COUNT(seal), &(struct seccomp_data){ .nr = SYS_madvise, .arch = AUDIT_ARCH_X86_64, .args = { 0, 4096, advice } }) == expected);
  }
}

static uint32_t advised(struct fl_growth growth, uint64_t address, uint64_t length)
{
  const struct sock_filter seal[] = FL_SEAL_REWOUND_FILTER(growth);

  return interpret(seal, FL_COUNT(seal), &(struct seccomp_data){ .nr = SYS_madvise, .arch = AUDIT_ARCH_X86_64, .args = { address, length, MADV_HUGEPAGE } });
}

static void huge_pages_are_had_only_where_the_template_has_nothing(void)
{
  static const struct fl_growth growths[] = { { 0x55d0c2a3f000, 0x7f21c0a01000 }, { 0x10dd3000, 0xfffff000 }, { 0xfffff000, 0x100001000 }, { 0x7fff00000000, 0x7fff00001000 }, { 0x200000000, 0x300000000 }, { 0, 0 } };
  static const uint64_t lengths[] = { 1, 4095, 4096, 4097, 2ul << 20, 0x7fffffff, 0xfffff000, 0xffffffff, 1ul << 32, (1ul << 32) + 4096, 1ul << 46, ~0ul - 4095, ~0ul };

  for (size_t which = 0; which < FL_COUNT(growths); which++) {
    const struct fl_growth growth = growths[which];
    const uint64_t around[] = { 0, growth.start, growth.end, 0xfffff000, 1ul << 32, 0x7ffffffff000, ~0ul - 4095 };

    for (size_t place = 0; place < FL_COUNT(around); place++)
      for (size_t index = 0; index < FL_COUNT(lengths); index++)
        for (int step = -3; step <= 3; step++)
          for (int back = 0; back < 2; back++) {
            uint64_t length = lengths[index], address = around[place] + (uint64_t)(int64_t)(step * 4096) - (back ? length : 0);
            bool within = length < 1ul << 32 && address >= growth.start && address + length <= growth.end;

            if (address + length < address)     /* the kernel refuses it */
              continue;
            CHECK(advised(growth, address, length) == (within ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO));
          }
  }
}

static void nothing_is_locked_ahead(void)
{
  const struct sock_filter seal[] = FL_SEAL_REWOUND_FILTER((struct fl_growth){ 0 });

  for (int flags = 0; flags <= 2 * (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT); flags++)
    CHECK(interpret(seal, FL_COUNT(seal), &(struct seccomp_data){ .nr = SYS_mlockall, .arch = AUDIT_ARCH_X86_64, .args = { (uint64_t)flags } }) == (flags & MCL_FUTURE ? SECCOMP_RET_ERRNO | ENOMEM : SECCOMP_RET_ALLOW));
}

int main(void)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;
  const struct sock_fprog seal_program = { .len = FL_COUNT(seal), .filter = (struct sock_filter *)seal };
  struct sock_fprog program;
  struct fl_error error = { 0 };
  pid_t pid;
  int status;

  if (fl_filter_compile(&program, &error) < 0) {
    fprintf(stderr, "compile: %s: %s\n", error.op, error.detail);
    return 1;
  }
  CHECK(program.len > 100 && program.len < 1000);
  what_is_allowed_is_in_the_cache(&program);
  advice_beyond_content_is_refused_or_not_followed();
  huge_pages_are_had_only_where_the_template_has_nothing();
  nothing_is_locked_ahead();
  pid = fork();
  if (pid == 0) {
    CHECK(fl_forbid_core_dumps() == 0 && fl_set_no_new_privs() == 0 && fl_seccomp_filter(&program, 0) == 0);
    the_parasite_may_work_before_the_seal();
    no_event_loop_gets_a_ring();
    CHECK(fl_seccomp_filter(&seal_program, 0) == 0);
    forbidden_calls_are_refused();
    unlisted_numbers_are_refused();
    what_is_pretended_is_not_done();
    foreign_abis_are_refused();
    high_bits_do_not_help();
    clone_makes_no_namespaces();
    no_filters_are_compiled();
    core_dumps_stay_forbidden();
    no_reserve_is_touched();
    ordinary_programs_work();
    _exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid);
  if (status != 0)
    fprintf(stderr, "wait status %#x\n", status);
  CHECK(status == 0);
  free(program.filter);
  return 0;
}
