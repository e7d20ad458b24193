/*
 * The monitor: the process that answers the notifications of all intercepted instances, forked from sandboxd when the first function asks for it. It dies with sandboxd; when it dies first, its listeners go with it, and
 * sandboxd ends the instances they were for. What it holds: CAP_SYS_PTRACE (memory, sockets and roots of instances), CAP_SETUID and CAP_SETGID (to open files as the instance would), an id of its own that nobody in a sandbox
 * can become, and a list of system calls.
 *
 *   sandboxd                                   monitor
 *      │ struct fl_attach + link ───────────────▶ │ one per intercepted instance (intercept/handshake.h)
 *      │ ◀──────────────────── struct fl_syscall  │ what is to be told; verdict 0: this instance cannot be watched, end it
 */
#ifndef FLASHD_INTERCEPT_MONITOR_H
#define FLASHD_INTERCEPT_MONITOR_H
#include <flashd/error.h>
#include <flashd/intercept.h>
#include <sys/types.h>

enum {
  FL_MONITOR_KNOCKS = 2,
  FL_MONITOR_ID = 65000,                       /* in the range of the first sandbox's ids, where only root and 1000 exist */
  FL_MONITOR_NOTICES_PER_SECOND = 20000,       /* of an instance: who asks more often waits */
  FL_MONITOR_EVENTS_PER_SECOND = 50, FL_MONITOR_EVENTS_BURST = 200    /* of an instance: what is beyond is counted */
};

struct fl_attach {
  uint64_t instance;
  uint32_t id;                                 /* uid and gid of the instance on the host */
  uint32_t knocks;                             /* before its own code asks: FL_MONITOR_KNOCKS when its listener is taken, else none */
  struct fl_intercept policy;
};

/* In the monitor's process, just forked. socket: its end. Does not return. */
__attribute__((noreturn)) void fl_monitor_run(int socket, uint32_t id, pid_t parent);
/* SECCOMP_FILTER_FLAG_* for programs with a listener that the kernel knows. */
uint32_t fl_monitor_install_flags(void);
#endif
