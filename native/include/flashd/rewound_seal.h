/*
 * What is sealed on top of flashd/seal.h for instances that are to be rewound (native/rewind): what could be done to a process that nobody can see from outside afterwards.
 *   ENOSYS   a Landlock domain cannot be asked for, a sealed mapping cannot be put back
 *   ENOTTY   PAGEMAP_SCAN also takes back what says that a page was written to, by which a restore finds it
 *   ENOMEM   what is mapped later cannot be locked into place ahead (MCL_FUTURE), as where RLIMIT_MEMLOCK is too small for it: nobody is told that it was
 *   EINVAL   advice that changes what becomes of memory, beyond its content at once: as on older kernels, where runtimes do without
 *   nothing  advice that only marks a mapping: it is heard and not followed. Huge pages can be had for what is new, which a restore unmaps, and not for what the template has, whose mark would stay
 */
#ifndef FLASHD_REWOUND_SEAL_H
#define FLASHD_REWOUND_SEAL_H
#include <flashd/seal.h>

enum { FL_SEAL_ENOMEM = 12, FL_SEAL_EINVAL = 22, FL_SEAL_ENOTTY = 25, FL_SEAL_MSEAL = 462, FL_SEAL_MCL_FUTURE = 2 };
/* Of struct seccomp_data: the lower half of each argument; the upper one lies behind it. */
enum { FL_SEAL_ARGUMENT_0 = 16, FL_SEAL_ARGUMENT_1 = 24, FL_SEAL_ARGUMENT_2 = 32, FL_SEAL_UPPER = 4 };
#define FL_SEAL_PAGEMAP_SCAN 0xc0606610u
/* Of madvise: WILLNEED, DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, WIPEONFORK, KEEPONFORK; from COLD to DONTNEED_LOCKED all act on content alone. COLLAPSE leaves huge pages behind. */
enum { FL_ADVICE_WILLNEED = 3, FL_ADVICE_DONTNEED = 4, FL_ADVICE_FREE = 8, FL_ADVICE_REMOVE = 9, FL_ADVICE_DONTFORK = 10, FL_ADVICE_DOFORK = 11, FL_ADVICE_HUGEPAGE = 14,
       FL_ADVICE_NOHUGEPAGE = 15, FL_ADVICE_WIPEONFORK = 18, FL_ADVICE_KEEPONFORK = 19, FL_ADVICE_COLD = 20, FL_ADVICE_BEYOND = 25 };

/* Where the template has nothing: heap and mappings of its forks grow there. Page-aligned; empty when it is not known. */
struct fl_growth { unsigned long start, end; };

/* growth: a struct fl_growth. From the 23rd on: whether [address, address + length) lies in it, 32 bits at a time; lengths of 4 GiB and more do not. */
#define FL_SEAL_REWOUND_FILTER(growth)                                                  \
  {                                                                                     \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* seccomp_data.nr */),                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 4, 0),                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_madvise, 7, 0),                            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mlockall, 4, 0),                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_landlock_restrict_self, 40, 0),            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_SEAL_MSEAL, 39, 38),                         \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_1),                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_SEAL_PAGEMAP_SCAN, 38, 36),                  \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0),                             \
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FL_SEAL_MCL_FUTURE, 38, 34),                   \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_2),                             \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_BEYOND, 35, 0),                       \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_COLD, 31, 0),                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_WILLNEED, 30, 0),                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_DONTNEED, 29, 0),                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_REMOVE, 28, 0),                       \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_NOHUGEPAGE, 27, 0),                   \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_HUGEPAGE, 4, 0),                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FL_ADVICE_FREE, 28, 0),                         \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_WIPEONFORK, 27, 0),                   \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_DOFORK + 1, 22, 0),                   \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FL_ADVICE_DONTFORK, 25, 21),                    \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_1 + FL_SEAL_UPPER),             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 19),                                      \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_1),                             \
    BPF_STMT(BPF_MISC | BPF_TAX, 0),                                                    \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0),                             \
    BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),                                             \
    BPF_STMT(BPF_ST, 0),                                                                \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_X, 0, 3, 0),                                       \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0 + FL_SEAL_UPPER),             \
    BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),                                             \
    BPF_STMT(BPF_JMP | BPF_JA, 1),                                                      \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0 + FL_SEAL_UPPER),             \
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (growth).end >> 32, 8, 0),                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (growth).end >> 32, 0, 2),                      \
    BPF_STMT(BPF_LD | BPF_MEM, 0),                                                      \
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (unsigned)(growth).end, 5, 0),                  \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0 + FL_SEAL_UPPER),             \
    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (growth).start >> 32, 4, 0),                    \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (growth).start >> 32, 0, 2),                    \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FL_SEAL_ARGUMENT_0),                             \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (unsigned)(growth).start, 1, 0),                \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                                       \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOSYS),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOTTY),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_EINVAL),                      \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FL_SEAL_ENOMEM),                      \
  }
#endif
