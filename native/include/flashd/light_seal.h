/*
 * The seal of the light class (sandbox/light.h): closes what the seal of the others closes, and System V IPC beside it. Its instances share one ipc namespace, and what they could
 * leave in it would be found by others of the class, and outlive them.
 */
#ifndef FLASHD_LIGHT_SEAL_H
#define FLASHD_LIGHT_SEAL_H
#include <flashd/seal.h>

#if !defined(__x86_64__)
#error "the ranges below are those of x86-64: shmget … shmctl, semget … msgctl"
#endif

#define FL_LIGHT_SEAL_FILTER                                                            \
  {                                                                                     \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),                        \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_setns, 7, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_semtimedop, 13, 0),                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_chroot, 12, 0),                            \
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, __NR_msgctl, 10, 0),                             \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_semget, 10, 0),                             \
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, __NR_shmctl, 8, 0),                             \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_shmget, 8, 0),                             \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setns, 6, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_move_mount, 5, 0),                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 4, 0),                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_register, 3, 0),                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 3, 0),                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 2, 0),                            \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_EPERM),                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS),                      \
  }
#endif
