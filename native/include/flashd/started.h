/*
 * How an instance came about, as what started it tells: the meta of STARTED, the first frame that comes out of its data socket (flashd/frame.h). All times are CLOCK_MONOTONIC.
 * They do not go through sandboxd: it often runs only when the instance, which it woke up on its own processor, has answered already.
 */
#ifndef FLASHD_STARTED_H
#define FLASHD_STARTED_H
#include <stdint.h>

enum { FL_PHASES = 8 };

enum fl_phase {                                /* consecutive */
  FL_PHASE_ACCEPT = 0,                         /* asked for → part taken, sent to the template, or to a spare */
  FL_PHASE_CLONE = 1,                          /* the template's clone3 */
  FL_PHASE_NAMESPACES = 2,                     /* child: setns, bundle mounted */
  FL_PHASE_CGROUP = 3,
  FL_PHASE_DESCRIPTORS = 4,
  FL_PHASE_CREDENTIALS = 5,                    /* limits, dumpable */
  FL_PHASE_THREADS = 6,
  FL_PHASE_SEAL = 7                            /* seccomp seal; what follows is sigreturn */
};

struct fl_started {
  uint64_t end_ns[FL_PHASES];                  /* of each phase; 0: there was none. Of ACCEPT, when its fork was begun */
  uint64_t assigned_ns;                        /* when it became a function's, which ends ACCEPT of one that was forked before it was asked for */
};
#endif
