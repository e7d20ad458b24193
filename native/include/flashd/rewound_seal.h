/*
 * What is sealed on top of flashd/seal.h for instances that are to be rewound (native/rewind): what could be done to a process that nobody can see from outside afterwards.
 *   ENOSYS   a Landlock domain cannot be asked for, contexts of asynchronous input and output outlive what is mapped of them, POSIX queues have no list, a sealed mapping cannot be put back
 *   ENOTTY   PAGEMAP_SCAN also takes back what says that a page was written to, by which a restore finds it
 *   EINVAL   advice that changes what becomes of memory, beyond its content at once: as on older kernels, where runtimes do without
 *   nothing  advice that only marks a mapping: it is heard and not followed, but for that on huge pages, which a restore takes back, as a call of the same process
 */
#ifndef FLASHD_REWOUND_SEAL_H
#define FLASHD_REWOUND_SEAL_H
#include <flashd/seal.h>

enum { FL_SEAL_EINVAL = 22, FL_SEAL_ENOTTY = 25, FL_SEAL_MSEAL = 462, FL_SEAL_ARGUMENT_1 = 24, FL_SEAL_ARGUMENT_2 = 32 };
#define FL_SEAL_PAGEMAP_SCAN 0xc0606610u
/* Of madvise: WILLNEED, DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK; from COLD to DONTNEED_LOCKED all act on content alone. COLLAPSE leaves huge pages behind. */
enum { FL_ADVICE_WILLNEED = 3, FL_ADVICE_DONTNEED = 4, FL_ADVICE_FREE = 8, FL_ADVICE_REMOVE = 9, FL_ADVICE_DONTFORK = 10, FL_ADVICE_DOFORK = 11, FL_ADVICE_HUGEPAGE = 14,
       FL_ADVICE_NOHUGEPAGE = 15, FL_ADVICE_WIPEONFORK = 18, FL_ADVICE_KEEPONFORK = 19, FL_ADVICE_COLD = 20, FL_ADVICE_BEYOND = 25 };

#define FL_SEAL_REWOUND_FILTER                                                          \
  {                                                                                     \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 6, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_madvise, 7, 0),                            \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_io_setup, 0, 19),                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_setup, 19, 0),                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mq_open, 18, 0),                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_landlock_restrict_self, 17, 0),            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_SEAL_MSEAL, 16, 15),                         \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_1),                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_SEAL_PAGEMAP_SCAN, 15, 13),                  \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_2),                             \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_BEYOND, 14, 0),                       \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_COLD, 10, 0),                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_WILLNEED, 9, 0),                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_DONTNEED, 8, 0),                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_REMOVE, 7, 0),                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_HUGEPAGE, 6, 0),                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_NOHUGEPAGE, 5, 0),                    \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_FREE, 7, 0),                          \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_WIPEONFORK, 6, 0),                    \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_DOFORK + 1, 1, 0),                    \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_DONTFORK, 4, 0),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOTTY),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_EINVAL),                      \
  }
#endif
