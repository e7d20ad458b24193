/*
 * The system calls and kernel structures the parasite uses, and no others: it has no libc headers to lean on. Numbers are those of x86-64 (arch/ holds
 * the calling convention); structures are the kernel's user ABI.
 */
#ifndef FLASHD_PARASITE_SYS_H
#define FLASHD_PARASITE_SYS_H
#include "parasite/arch/x86_64/arch.h"
#include "parasite/arch/x86_64/numbers.h"
#include "parasite/parasite.h"

enum { FL_EINTR = 4, FL_ENOMEM = 12, FL_EEXIST = 17, FL_EINVAL = 22, FL_EPIPE = 32, FL_EPROTO = 71 };
enum { FL_MSG_CTRUNC = 0x8, FL_MSG_TRUNC = 0x20, FL_MSG_NOSIGNAL = 0x4000, FL_MSG_CMSG_CLOEXEC = 0x40000000 };
enum { FL_AT_FDCWD = -100, FL_MOVE_MOUNT_F_EMPTY_PATH = 4, FL_O_RDONLY = 0, FL_O_NONBLOCK = 04000, FL_O_CLOEXEC = 02000000, FL_SEEK_SET = 0, FL_F_SETFL = 4 };
enum { FL_AF_UNIX = 1, FL_SOCK_STREAM = 1 };
enum { FL_EPOLL_CTL_ADD = 1, FL_TFD_IOC_SET_TICKS = 0x40085400 };
enum { FL_FUTEX_WAIT_PRIVATE = 128, FL_FUTEX_WAKE_PRIVATE = 129, FL_FUTEX_REQUEUE_PRIVATE = 131 };
enum { FL_PR_SET_PDEATHSIG = 1, FL_SIGKILL = 9, FL_SIG_SETMASK = 2 };
enum { FL_PR_SET_DUMPABLE = 4, FL_PR_SET_KEEPCAPS = 8, FL_PR_SET_NAME = 15, FL_PR_CAPBSET_DROP = 24, FL_PR_SET_THP_DISABLE = 41 };
enum { FL_CAP_SYS_ADMIN = 21, FL_CAP_CHECKPOINT_RESTORE = 40, FL_CAP_VERSION_3 = 0x20080522 };
enum { FL_SECCOMP_SET_MODE_FILTER = 1, FL_SECCOMP_FILTER_TSYNC = 1, FL_SECCOMP_FILTER_TSYNC_ESRCH = 16 };
enum { FL_SOL_SOCKET = 1, FL_SCM_RIGHTS = 1 };
enum { FL_CLOCK_MONOTONIC = 1 };
enum { FL_PROT_NONE = 0, FL_PROT_READ = 1, FL_MAP_PRIVATE = 2, FL_MAP_FIXED = 0x10, FL_MAP_ANONYMOUS = 0x20, FL_MAP_NORESERVE = 0x4000, FL_MAP_FIXED_NOREPLACE = 0x100000 };
enum { FL_MADV_DONTNEED = 4, FL_MADV_NOHUGEPAGE = 15, FL_MADV_POPULATE_READ = 22, FL_MADV_POPULATE_WRITE = 23 };

#define FL_CLONE_VM 0x100ul
#define FL_CLONE_FS 0x200ul
#define FL_CLONE_FILES 0x400ul
#define FL_CLONE_SIGHAND 0x800ul
#define FL_CLONE_PARENT 0x8000ul
#define FL_CLONE_THREAD 0x10000ul
#define FL_CLONE_SYSVSEM 0x40000ul
#define FL_CLONE_SETTLS 0x80000ul
#define FL_CLONE_CHILD_CLEARTID 0x200000ul
#define FL_CLONE_NEWNS 0x20000ul
#define FL_CLONE_CHILD_SETTID 0x1000000ul
#define FL_CLONE_NEWPID 0x20000000ul
#define FL_CLONE_INTO_CGROUP 0x200000000ul

struct fl_iovec { void *base; uint64_t bytes; };
struct fl_cmsg { uint64_t length; int32_t level, type; };
struct fl_msghdr { void *name; uint32_t name_bytes; struct fl_iovec *iov; uint64_t iov_count; void *control; uint64_t control_bytes; int32_t flags; };
#define FL_CMSG_BYTES(fds) (sizeof(struct fl_cmsg) + (((fds) * sizeof(int32_t) + 7) & ~7ul))
struct fl_rseq { uint32_t started_on, processor; uint64_t section; uint32_t flags, node, concurrency; };     /* include/uapi/linux/rseq.h */
struct fl_timespec { int64_t seconds, nanoseconds; };
struct fl_rlimit { uint64_t soft, hard; };
struct fl_cap_header { uint32_t version; int32_t pid; };
struct fl_cap_data { uint32_t effective, permitted, inheritable; };
struct fl_clone_args { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; };
struct fl_bpf { uint16_t length; const struct sock_filter *filter; };

static inline uint64_t fl_now(void)
{
  struct fl_timespec now = {0, 0};

  fl_syscall(FL_NR_clock_gettime, FL_CLOCK_MONOTONIC, (long)&now, 0, 0, 0);
  return (uint64_t)now.seconds * 1000000000ul + (uint64_t)now.nanoseconds;
}

/* One packet of exactly `bytes` bytes. Returns the number of descriptors that came with it, -EPIPE at the end, -EPROTO when it was torn, -EINTR when it was a
 * touch, or another -errno. */
static inline long fl_receive(int32_t socket, void *packet, uint64_t bytes, int32_t *fds)
{
  union {
    struct fl_cmsg head;
    uint8_t bytes[FL_CMSG_BYTES(FL_PLAN_FDS_MAX)];
  } control;
  struct fl_iovec iov = {packet, bytes};
  struct fl_msghdr message = {.iov = &iov, .iov_count = 1, .control = &control, .control_bytes = sizeof control};
  long length = fl_syscall(FL_NR_recvmsg, socket, (long)&message, FL_MSG_CMSG_CLOEXEC, 0, 0);

  if (length <= 0)
    return length < 0 ? length : -FL_EPIPE;
  if (length == FL_TOUCH_BYTES && message.control_bytes == 0)
    return -FL_EINTR;
  if (length != (long)bytes || (message.flags & (FL_MSG_TRUNC | FL_MSG_CTRUNC)) || message.control_bytes < sizeof control.head)
    return -FL_EPROTO;
  long count = (long)((control.head.length - sizeof control.head) / sizeof(int32_t));
  const int32_t *received = (const int32_t *)(control.bytes + sizeof control.head);
  for (long i = 0; i < count; i++)
    fds[i] = received[i];
  return count;
}

static inline long fl_report(const struct fl_parasite *self, const struct fl_fork_report *report)
{
  static const uint64_t once = 1;
  struct fl_iovec iov = {(void *)report, sizeof *report};
  struct fl_msghdr message = {.iov = &iov, .iov_count = 1};

  long result = fl_syscall(FL_NR_sendmsg, self->socket, (long)&message, FL_MSG_NOSIGNAL, 0, 0);
  fl_syscall(FL_NR_write, self->bell, (long)&once, sizeof once, 0, 0);
  return result;
}
#endif
