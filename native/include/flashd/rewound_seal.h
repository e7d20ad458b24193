/*
 * What is sealed on top of flashd/seal.h for instances that are to be rewound (native/rewind): what could be done to a process that nobody can see from outside afterwards. A Landlock domain
 * cannot be asked for, contexts of asynchronous input and output outlive what is mapped of them, and POSIX queues have no list. ENOSYS: as on a kernel without them.
 */
#ifndef FLASHD_REWOUND_SEAL_H
#define FLASHD_REWOUND_SEAL_H
#include <flashd/seal.h>
#define FL_SEAL_REWOUND_FILTER                                                          \
  {                                                                                     \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),                        \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_io_setup, 0, 3),                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_setup, 3, 0),                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mq_open, 2, 0),                            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_landlock_restrict_self, 1, 0),             \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS),                      \
  }
#endif
