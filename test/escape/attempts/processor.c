/* What only x86-64 has: the other system-call tables and the descriptor tables. A child makes the calls that may end in a signal. */
#include "attempts.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { X32 = 0x40000000, GETPID_32 = 20, MOUNT_32 = 21, UNSHARE_32 = 310, KEYCTL_32 = 288 };

static int int80(int number, long first)
{
  int result = number;

  __asm__ volatile("int $0x80" : "+a"(result) : "b"(first) : "memory", "r8", "r9", "r10", "r11");
  return result;
}

/* A kernel that has no such table raises a signal: nothing was done either. */
static void by_int80(const char *name, int number, long first)
{
  int status;
  pid_t pid = fork();

  if (pid == 0) {
    int result = int80(number, first);

    _exit(result >= 0 ? 0 : -result);
  }
  waitpid(pid, &status, 0);
  errno = WIFSIGNALED(status) ? ENOSYS : WEXITSTATUS(status);
  tell(name, errno ? -1 : 0);
}

void try_processor(void)
{
  struct user_desc entry = { .entry_number = 0, .base_addr = 0, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1 };

  by_int80("int 0x80 getpid", GETPID_32, 0);
  by_int80("int 0x80 mount", MOUNT_32, 0);
  by_int80("int 0x80 unshare user", UNSHARE_32, 0x10000000);
  by_int80("int 0x80 keyctl", KEYCTL_32, 0);
  TRY("x32 getpid", syscall(X32 | SYS_getpid));
  TRY("x32 unshare user", syscall(X32 | SYS_unshare, 0x10000000));
  TRY("x32 ptrace", syscall(X32 | 521, 0, 0, 0, 0));
  TRY("negative number", syscall(-1L));
  TRY("number past the table", syscall(1000));
  TRY("number and high bits", syscall(1L << 32 | SYS_unshare, 0x10000000));
  TRY("modify_ldt write", syscall(SYS_modify_ldt, 1, &entry, sizeof entry));
  TRY("modify_ldt read", syscall(SYS_modify_ldt, 0, &entry, sizeof entry));
  TRY("iopl", syscall(SYS_iopl, 3));
  TRY("ioperm", syscall(SYS_ioperm, 0x70, 2, 1));
  TRY("gs base in the kernel", syscall(SYS_arch_prctl, ARCH_SET_GS, 0xffffffff81000000ul));
  TRY("fs base in the kernel", syscall(SYS_arch_prctl, ARCH_SET_FS, 0xffffffff81000000ul));
  TRY("arch_prctl unknown", syscall(SYS_arch_prctl, 0x7fff, 0));
  TRY("a page of the kernel", mmap((void *)0xffffffff81000000ul, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
}
