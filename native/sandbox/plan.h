/*
 * The plan: what a freshly cloned child does to become an instance, as data. It is made and checked by pure code in sandboxd and executed, step by
 * step and blindly, by the parasite in the child. The order is a promise, and fl_plan_check holds it:
 *
 *   session      a session of its own: kill(0, …) reaches nobody else
 *   namespaces   user, mount, net, ipc, uts, cgroup of the pooled sandbox (pid: already, by the clone); root and cwd change with them
 *   cgroup       v1: "0" into each hierarchy's tasks (v2: done by the clone)
 *   null         0 is a fresh /dev/null
 *   bounding     every capability leaves the bounding set
 *   identity     no groups, gid, uid; of all capabilities only CAP_SYS_ADMIN (of the sandbox) is kept for the bundle, CAP_CHECKPOINT_RESTORE when threads must be
 *                rebuilt
 *   rlimit       resource limits that are the same for all, hard = soft
 *   carry        the template's descriptors beyond 3 (epolls, eventfds, pipes …) are replaced by new ones of its own (parasite/descriptors.h)
 *   threads      every thread of the template is rebuilt, gives up all its capabilities and waits for `resume`
 *   touch        the pages that every fork of this template needs (inject/hot.h) are made its own; ahead of need only those of files are mapped: its ping writes to what it writes
 *   park         waits for its assignment: which function, which limits. Up to here nothing depends on that, so it is done ahead of need
 *   bundle       the version's directory on /function; cwd there
 *   descriptor   1 2 3 are the assignment's
 *   start        epolls watch them, if they did; timers run
 *   close_rest   nothing stays that the template did not have, but the report socket
 *   limit        resource limits of the function, hard = soft
 *   dumpable     /proc/self belongs to the instance (nobody else lives in its pid namespace but its init, which is not dumpable)
 *   capabilities all sets emptied in this thread (the others have done it themselves)
 *   seal         seccomp: setns, move_mount and clone3, which the steps above needed, are closed for good; a function with interception has a filter of its own that closes them too
 *                (intercept/program.h), and whoever listens to it does so before anybody asks
 *   resume       report, close the report socket, unmap the parasite, sigreturn
 *
 * No capability is left when the first instruction of the runtime executes, and no step after `capabilities` needs one.
 *
 * A spare of a function template waits for less: its function is known. `bundle`, `dumpable`, `capabilities` and `seal` stand before `park` then, in this order, and of the steps after it none needs what they
 * take away. Not so for a function with interception, or that is rewound: filters of their own come last, since they may refuse what those steps do.
 *
 * An instance of the light class (sandbox/light.h) has a plan of its own, out of the same steps but `bundle`, and with three others. What differs:
 *
 *   namespaces   of the room that it shares with the others of its class
 *   root         chroot into the tree of its own that stands in the room; nothing above is reached by a path or a descriptor from here on
 *   identity     no capability is kept: no later step needs one
 *   landlock     files as its ruleset says, no TCP, abstract sockets and signals of its own alone. Before the threads, so that all of them are in one domain
 *   threads      with ids of the room's choosing, since those of the template may be somebody else's
 *   directory    cwd on /function, where sandboxd has mounted the bundle before it assigned
 *   seal         closes System V and POSIX IPC as well
 */
#ifndef FLASHD_PLAN_H
#define FLASHD_PLAN_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <flashd/rewound_seal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fl_step_op {
  FL_STEP_SESSION = 1,
  FL_STEP_NAMESPACES,                          /* fd: pidfd of the sandbox's init; value: CLONE_NEW* flags */
  FL_STEP_CGROUP,                              /* fd: tasks; once per hierarchy */
  FL_STEP_ROOT,                                /* light; fd: the directory */
  FL_STEP_NULL,
  FL_STEP_BOUNDING,                            /* capabilities 0 … arg */
  FL_STEP_IDENTITY,                            /* uid = gid = arg */
  FL_STEP_RLIMIT,                              /* RLIMIT_* arg = value */
  FL_STEP_CARRY,
  FL_STEP_LANDLOCK,                            /* light; fd: the ruleset; arg: flags of landlock_restrict_self */
  FL_STEP_THREADS,
  FL_STEP_TOUCH,                               /* arg 1: sparingly */
  FL_STEP_PARK,                                /* fd: the socket an assignment comes through */
  FL_STEP_BUNDLE,                              /* fd, where the function is known: the mount; else it is the assignment's */
  FL_STEP_DIRECTORY,                           /* light */
  FL_STEP_DESCRIPTOR,                          /* the assignment's arg-th → number arg: 1, 2, 3 */
  FL_STEP_START,
  FL_STEP_CLOSE_REST,                          /* everything that the template did not have */
  FL_STEP_LIMIT,                               /* RLIMIT_* arg = the assignment's value-th limit */
  FL_STEP_DUMPABLE,
  FL_STEP_CAPABILITIES,
  FL_STEP_SEAL,
  FL_STEP_RESUME,
  FL_STEP_OPS
};

enum { FL_PLAN_STEPS_MAX = 32, FL_PLAN_FDS_MAX = 8, FL_NO_FD = 0xffff };

struct fl_step {
  uint16_t op;                                 /* enum fl_step_op */
  uint16_t fd;                                 /* index into the descriptors that travel with the plan, or FL_NO_FD */
  uint32_t arg;
  uint64_t value;
};

enum fl_isolation { FL_ISOLATION_FULL = 0, FL_ISOLATION_LIGHT, FL_ISOLATIONS };

struct fl_plan {
  uint32_t steps, fds;
  uint32_t isolation;                          /* enum fl_isolation: by whose rules it is checked, and how the steps that both classes have are done */
  uint32_t known;                              /* 1: in the order of those whose function is known */
  struct fl_step step[FL_PLAN_STEPS_MAX];
};

/* What the plan is made from: which descriptors there are, as indexes. */
struct fl_plan_inputs {
  uint32_t cgroup_joins;                       /* 0 on v2 */
  uint32_t cap_last;                           /* highest capability the kernel knows */
  uint32_t uid;                                /* light: of the host */
  bool light;
  uint32_t landlock_flags;                     /* light */
  bool ahead;                                  /* no request waits for it: memory before speed */
  bool known;                                  /* its function is known, and has nothing that begins later than the seal; not light */
};

/* Order in which the descriptors must be attached. After the cgroup's follow in the light class the root and the ruleset, and where the function is known its bundle. */
enum fl_plan_fd { FL_FD_INIT = 0, FL_FD_ASSIGNMENT, FL_FD_CGROUP };
enum { FL_LIGHT_FDS = 2 };

/* landlock_restrict_self (Linux 6.15): what an instance is refused is nothing for the host's audit log, which it could fill. */
enum { FL_LANDLOCK_QUIET = 1 | 4 };

/* What turns a parked child into an instance of a function: the limits, and descriptors in this order; without the bundle where the function is known. One more, the link of its interception, when it has one. */
enum fl_assignment_fd { FL_ASSIGNED_BUNDLE = 0, FL_ASSIGNED_STDOUT, FL_ASSIGNED_STDERR, FL_ASSIGNED_DATA, FL_ASSIGNED_FDS };
enum { FL_ASSIGNED_LIMITS = 2 };

struct fl_assignment {
  uint64_t limit[FL_ASSIGNED_LIMITS];
  uint64_t reserve;                            /* 1: an empty, inaccessible mapping stays where the parasite was, so that an image of the instance can be applied there */
  uint64_t intercept;                          /* 1: there is a link */
  uint64_t rewound;                            /* 1: it is to be rewound, and sealed for that */
  struct fl_growth growth;                     /* of one that is rewound */
};

/* The values for the plan's limit steps. cgroup_pids: its cgroup limits the number of processes, too. That one has to be met first, since it counts what it refuses; RLIMIT_NPROC stands one behind it. */
struct fl_assignment fl_plan_assignment(const struct fl_limits *limits, bool cgroup_pids);

int fl_plan_make(const struct fl_plan_inputs *inputs, struct fl_plan *ret_plan, struct fl_error *err);
/* Pure: every op known, in order, as often as it must be, with descriptors and numbers in range. The last line of defence before a plan runs as root. */
int fl_plan_check(const struct fl_plan *plan, struct fl_error *err);
const char *fl_step_name(uint32_t op);
#endif
