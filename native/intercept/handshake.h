/*
 * What sandboxd, the monitor and a child that becomes an instance agree on. Freestanding: the parasite includes it.
 *
 *   sandboxd                      child (parasite/child.c)                            monitor
 *      │ program, into the link ───▶ │                                                  │
 *      │ ATTACH: policy + link ─────────────────────────────────────────────────────────▶│
 *      │                             │ seccomp(): the listener exists                    │
 *      │                             │ hello: the listener itself ─────────────────────▶ │
 *      │                             │ closes the link, and its own copy of the listener │
 *
 * Where the filter asks about sendmsg or write, it cannot be sent: such a call would meet the filter before anybody listened. Then it is taken:
 *
 *      │                             │ hello: its pidfd, the listener's number to be ──▶ │
 *      │                             │ seccomp(): the listener exists                    │
 *      │                             │ closes the link ────────────────────────────────▶ │ takes the listener by pidfd_getfd
 *      │                             │ the knock, which only the monitor can answer ───▶ │
 *      │                             │ ◀──────────────────────────────────────────── 0 ─ │
 *      │                             │ closes its own copy of the listener, goes on, and knocks again when it is done
 */
#ifndef FLASHD_INTERCEPT_HANDSHAKE_H
#define FLASHD_INTERCEPT_HANDSHAKE_H
#include <linux/filter.h>
#include <stdint.h>

enum { FL_INTERCEPT_INSTRUCTIONS_MAX = 1000 };
/* seccomp(FL_KNOCK, …): no operation of the kernel's. Instances are told ENOSYS, as of all of seccomp(). */
enum { FL_KNOCK = 0x464c4b00 };

enum fl_intercept_program_flags {
  FL_PROGRAM_LISTENER = 1,                       /* it notifies */
  FL_PROGRAM_TAIL = 2                            /* of calls that an instance comes about with too: its listener is taken, and until the second knock they pass */
};

struct fl_intercept_program {
  uint32_t count;
  uint32_t flags;                                /* enum fl_intercept_program_flags */
  uint32_t install;                              /* SECCOMP_FILTER_FLAG_* beyond what the threads need */
  uint32_t reserved;
  struct sock_filter filter[FL_INTERCEPT_INSTRUCTIONS_MAX];
};

enum { FL_LISTENER_SENT = -1 };

/* The descriptor that comes with it is the listener (FL_LISTENER_SENT), or the pidfd of who will have it under that number. */
struct fl_intercept_hello { int32_t listener; };
#endif
