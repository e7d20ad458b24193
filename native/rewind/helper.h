/*
 * More threads of a keeper, on other processors: they do what needs no tracer, while the first thread drives the stopped process. A job that nobody has begun when its result is needed is done by whoever needs it, so
 * that nobody ever waits for a thread that gets no processor, and with one processor there are none at all.
 */
#ifndef FLASHD_REWIND_HELPER_H
#define FLASHD_REWIND_HELPER_H
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* SPIN: how long one waits awake for the next job, since waking an idle processor takes as long as a job; WAIT: how long one is waited for awake. */
enum { FL_HELPER_THREADS = 3, FL_HELPER_JOBS = 16, FL_HELPER_SPIN_US = 200, FL_HELPER_WAIT_US = 1000, FL_HELPER_STACK_BYTES = 512 << 10 };

/* Lives as long as the helper that it was given to. place: where it lies there, in job[]; where it lay before, it may be found still. */
struct fl_job { void (*run)(void *context); void *context; _Atomic uint32_t place, state; };

struct fl_helper {
  uint32_t threads;
  _Atomic int thread[FL_HELPER_THREADS];       /* their ids; 0: it is none */
  uint32_t class[FL_HELPER_THREADS], first_class;   /* of processors: each thread has one for itself, the first thread the one that it is in */
  cpu_set_t processors;                        /* that there are for all */
  _Atomic uint32_t bell, given, roused, asleep, born, begun;   /* bell: rung for each job, and ahead of the first */
  _Atomic(struct fl_job *) job[FL_HELPER_JOBS];
};

/* Once. Without a second processor, or the means: every job is done where it is waited for. */
void fl_helper_start(struct fl_helper *helper);
/* There will be jobs in a moment, until helpers are dismissed. */
void fl_helper_rouse(struct fl_helper *helper);
/* There will be none for a while: nobody waits awake for one. */
void fl_helper_dismiss(struct fl_helper *helper);
/* run is called once, in whichever thread, before fl_helper_wait returns, which has to be called. A job may give others, and wait for them. */
void fl_helper_give(struct fl_helper *helper, struct fl_job *job, void (*run)(void *context), void *context);
void fl_helper_wait(struct fl_helper *helper, struct fl_job *job);
/* The same for one that takes long: others that nobody has begun are done meanwhile. */
void fl_helper_join(struct fl_helper *helper, struct fl_job *job);
#endif
