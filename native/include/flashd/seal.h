/*
 * The seal: the second seccomp filter of every instance. The first one, inherited from the template at no cost, still allows the calls that
 * turn a clone into an instance (setns, chroot, move_mount, clone3, seccomp itself) and prepare a template (io_uring_*, see inject/pin.h); each child installs the seal after its last
 * use of them. Installing costs time in proportion to the instructions the kernel emulates for each system call number (its action cache), so most numbers
 * leave at the fourth instruction. 32-bit and x32 calls never get here: the first filter refuses them, and the kernel takes the stricter answer of the two.
 */
#ifndef FLASHD_SEAL_H
#define FLASHD_SEAL_H
#include <asm/unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { FL_SEAL_EPERM = 1, FL_SEAL_ENOSYS = 38 };

#define FL_SEAL_FILTER                                                                  \
  {                                                                                     \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),                        \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_io_uring_setup, 4, 0),                     \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_setns, 1, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_chroot, 8, 7),                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setns, 7, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 7, 5),                            \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_clone3 + 1, 4, 0),                         \
    /* ENOSYS: libc falls back to clone, whose flags the first filter can read */       \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 5, 0),                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_move_mount, 3, 0),                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 2, 0),                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_register, 1, 0),                  \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_EPERM),                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS),                      \
  }
#endif
