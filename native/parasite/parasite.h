/*
 * What sandboxd and the parasite agree on. The parasite is a flat, position-independent blob that ptrace puts into the main thread of a frozen
 * template; it forks the template on request. It knows numbers only: no libc, no heap, no strings but four paths.
 *
 *   region (one anonymous mapping in the template, unmapped in every child before its first instruction)
 *   ┌─────────┬──────────────────────────────┬───────────┬─────────────────────────┐
 *   │ code r-x│ struct fl_parasite  r--      │ stack rw- │ rebuilt threads' stacks │
 *   └─────────┴──────────────────────────────┴───────────┴─────────────────────────┘
 *   frames: each thread's signal frame lies on that thread's own stack, below its red zone, written once at the freeze and only read in children
 *
 *   sandboxd                      parasite (template)              child
 *      │ struct fl_fork + fds ────▶ │ setns(pid), clone3 ─────────▶ │ the plan's steps, in order
 *      │ ◀──────────── FL_FORKED    │ closes the fds                │
 *      │ ◀──────────────────────────────────────────────── FL_PARKED │ waits on a socket of its own
 *      │ struct fl_assignment + fds ───────────────────────────────▶ │ the rest of the steps
 *      │ ◀───────────────────────────────────── FL_RESUMED / FAILED │ tells the gateway how it went (STARTED), closes the socket, resumes
 *
 * Reports wake sandboxd through an eventfd (the bell) rather than by the socket they are written to: the scheduler takes a write to a unix socket as a
 * hint that the writer is about to sleep, and would run sandboxd on the child's own processor, before the child.
 *
 * One bad request does not end it: the answer is FL_FORK_FAILED with the step and errno.
 */
#ifndef FLASHD_PARASITE_H
#define FLASHD_PARASITE_H
#include <flashd/frame.h>
#include <flashd/rewound_seal.h>
#include <flashd/seal.h>
#include <flashd/started.h>
#include <stdint.h>

#include "parasite/descriptors.h"
#include "parasite/timers.h"
#include "sandbox/plan.h"

/* A packet of this length only keeps the way of an assignment in the processor's caches. */
enum { FL_TOUCH_BYTES = 2 };

/* Where the addresses of a process end (x86-64, four levels); mappings above have to be asked for. */
#define FL_ADDRESSES_END 0x7ffffffff000ull

enum { FL_PARASITE_TOUCHES_MAX = 1024, FL_PARASITE_THREADS_MAX = 128, FL_PARASITE_STACK_BYTES = 16384, FL_PARASITE_THREAD_STACK_BYTES = 1024, FL_COMM_BYTES = 16 };

struct fl_parasite_thread {
  uint64_t frame;                              /* its stack pointer at the end: { address of rt_sigreturn code, ucontext … } */
  uint64_t tls;                                /* fs base */
  uint64_t tid_address;                        /* clear_child_tid */
  uint64_t robust_list, robust_bytes;
  uint64_t rseq, rseq_bytes, rseq_signature;   /* 0: not registered */
  int32_t tid;                                 /* in the template, and again in the child */
  char comm[FL_COMM_BYTES];
};

/* In a pid namespace that is shared (the light class), the child has the first of so many ids from fl_fork.pid on that nobody has. */
enum { FL_SHARED_PIDS = 16 };

/* Pages that a child will need, see inject/hot.h. FL_TOUCH_LATE: written to as well; the one kind of those that a child that is made ahead of need, and sparing with memory, touches. */
enum fl_touch { FL_TOUCH_READ = 0, FL_TOUCH_WRITE, FL_TOUCH_LATE };
struct fl_parasite_touch { uint64_t start; uint32_t bytes, kind; };
/* few: there are so few that such a child touches the others too. */
struct fl_parasite_touches { uint32_t count, few; struct fl_parasite_touch touch[FL_PARASITE_TOUCHES_MAX]; };

struct fl_parasite {
  uint64_t region, region_bytes;               /* what a child unmaps */
  uint64_t gadget;                             /* a `syscall` that returns, outside the region */
  uint32_t threads;                            /* [0] is the main thread */
  uint32_t parked;                             /* futex word of the threads that wait for the last moment */
  int32_t socket, bell;                        /* its own, in the template and in its children until they resume: SOCK_SEQPACKET to sandboxd, and an eventfd */
  struct fl_parasite_thread thread[FL_PARASITE_THREADS_MAX];
  struct fl_descriptors descriptors;
  struct fl_timers timers;
  struct fl_parasite_touches touches;          /* none before the template's probe */
};

struct fl_fork {
  uint64_t request;                            /* echoed */
  int32_t pid;                                 /* the child's pid in its own namespace: never the template's, so that libraries notice */
  uint32_t cgroup_fd;                          /* index of the cgroup directory for CLONE_INTO_CGROUP, or FL_NO_FD */
  uint64_t home, table_bytes;                  /* not 0: the child becomes the function template of this image (parasite/image.h), and there is no plan */
  struct fl_plan plan;
};

enum fl_fork_kind { FL_FORK_READY = 1, FL_FORKED = 2, FL_PARKED = 3, FL_RESUMED = 4, FL_FORK_FAILED = 5 };

struct fl_fork_report {
  uint64_t request;
  uint32_t kind;                               /* enum fl_fork_kind */
  uint32_t step;                               /* FAILED: enum fl_step_op, 0 for the clone itself */
  int32_t error;                               /* FAILED: errno */
  int32_t pid;                                 /* FORKED: of the child, as sandboxd sees it */
};
#endif
