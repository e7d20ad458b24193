/* See helper.h. */
#include "rewind/helper.h"

#include <linux/futex.h>
#include <malloc.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "sys/arch/x86_64/spin.h"

enum { DONE, READY, TAKEN, TAKEN_AND_WAITED };
enum { MICROSECOND = 1000, SECOND = 1000000000, LOOKS = 64 };

static uint64_t now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
  syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Whether the word came to be another one within the time. Whoever else wants the processor meanwhile has it. */
static bool changes(_Atomic uint32_t *word, uint32_t from, uint32_t within_us)
{
  for (const uint64_t until = now_ns() + (uint64_t)within_us * MICROSECOND; now_ns() < until; sched_yield())
    for (int i = 0; i < LOOKS; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != from)
        return true;
      fl_arch_pause();
    }
  return false;
}

static bool take(struct fl_job *job)
{
  uint32_t ready = READY;

  return atomic_compare_exchange_strong(&job->state, &ready, TAKEN);
}

static void run(struct fl_job *job)
{
  job->run(job->context);
  if (atomic_exchange(&job->state, DONE) == TAKEN_AND_WAITED)
    futex(&job->state, FUTEX_WAKE, 1);
}

/* The one that was given first of those that nobody has begun. Whoever gives one is still about to put it down, or puts it where another one lay: whoever waits for that does it. */
static bool run_one(struct fl_helper *helper)
{
  uint32_t oldest = atomic_load(&helper->given);

  for (uint32_t i = 0; i < FL_HELPER_JOBS; i++) {
    uint32_t place = (oldest + i) % FL_HELPER_JOBS;
    struct fl_job *job = atomic_load(&helper->job[place]);

    if (job && atomic_load(&job->place) == place && take(job)) {
      run(job);
      return true;
    }
  }
  return false;
}

static void *help(void *context)
{
  struct fl_helper *helper = context;
  /* Who shares these with another thread may not enter a mount namespace, which the first one does (binding.c). */
  bool able = unshare(CLONE_FS) == 0;

  atomic_store(&helper->thread[atomic_fetch_add(&helper->born, 1)], able ? (int)syscall(SYS_gettid) : 0);
  atomic_fetch_add(&helper->begun, 1);
  futex(&helper->begun, FUTEX_WAKE, 1);
  while (able) {
    uint32_t bell = atomic_load(&helper->bell);

    while (run_one(helper));
    if (atomic_load(&helper->roused) && changes(&helper->bell, bell, FL_HELPER_SPIN_US))
      continue;
    atomic_fetch_add(&helper->asleep, 1);
    if (atomic_load(&helper->bell) == bell)
      futex(&helper->bell, FUTEX_WAIT, bell);
    atomic_fetch_sub(&helper->asleep, 1);
  }
  return NULL;
}

static void ring(struct fl_helper *helper, uint32_t sleepers)
{
  atomic_fetch_add(&helper->bell, 1);
  if (atomic_load(&helper->asleep))
    futex(&helper->bell, FUTEX_WAKE, sleepers);
}

/* Processors are dealt out in as many classes as there are threads, the first one too. */
static uint32_t class_of(const struct fl_helper *helper, int processor)
{
  uint32_t rank = 0;

  for (int i = 0; i < processor; i++)
    rank += CPU_ISSET(i, &helper->processors) != 0;
  return rank % (helper->threads + 1);
}

static void settle(struct fl_helper *helper, uint32_t thread, uint32_t class)
{
  cpu_set_t own;

  CPU_ZERO(&own);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &helper->processors) && class_of(helper, i) == class)
      CPU_SET(i, &own);
  if (atomic_load(&helper->thread[thread]))
    sched_setaffinity(atomic_load(&helper->thread[thread]), sizeof own, &own);
  helper->class[thread] = class;
}

/* Where the scheduler leaves two on one processor, each waits for the other to be done waiting: who has the class that the first thread is in gets the one that it has left. */
static void part(struct fl_helper *helper)
{
  int here = sched_getcpu();
  uint32_t class = here < 0 ? helper->first_class : class_of(helper, here);

  for (uint32_t i = 0; i < helper->threads && class != helper->first_class; i++)
    if (helper->class[i] == class) {
      settle(helper, i, helper->first_class);
      helper->first_class = class;
    }
}

void fl_helper_start(struct fl_helper *helper)
{
  int processors = sched_getaffinity(0, sizeof helper->processors, &helper->processors) < 0 ? 1 : CPU_COUNT(&helper->processors);

  mallopt(M_ARENA_MAX, 1);                     /* else each thread has one of its own */
  while (helper->threads < FL_HELPER_THREADS && (int)helper->threads < processors - 1 && fl_thread_start(help, helper, FL_HELPER_STACK_BYTES))
    helper->threads++;
  for (uint32_t begun; (begun = atomic_load(&helper->begun)) < helper->threads;)
    futex(&helper->begun, FUTEX_WAIT, begun);
  for (uint32_t i = 0; i < helper->threads; i++)
    settle(helper, i, i);
  helper->first_class = helper->threads;
}

void fl_helper_rouse(struct fl_helper *helper)
{
  if (!helper->threads)
    return;
  part(helper);
  atomic_store(&helper->roused, 1);
  ring(helper, FL_HELPER_THREADS);
}

void fl_helper_dismiss(struct fl_helper *helper)
{
  atomic_store(&helper->roused, 0);
  atomic_fetch_add(&helper->bell, 1);
}

void fl_helper_give(struct fl_helper *helper, struct fl_job *job, void (*run)(void *context), void *context)
{
  uint32_t place = atomic_fetch_add(&helper->given, 1) % FL_HELPER_JOBS;

  job->run = run;
  job->context = context;
  atomic_store(&job->place, place);
  atomic_store(&job->state, READY);
  if (!helper->threads)
    return;
  atomic_store(&helper->job[place], job);
  ring(helper, 1);
}

void fl_helper_wait(struct fl_helper *helper, struct fl_job *job)
{
  uint32_t taken = TAKEN;

  (void)helper;
  if (take(job)) {
    run(job);
    return;
  }
  if (changes(&job->state, TAKEN, FL_HELPER_WAIT_US) || !atomic_compare_exchange_strong(&job->state, &taken, TAKEN_AND_WAITED))
    return;
  while (atomic_load(&job->state) == TAKEN_AND_WAITED)
    futex(&job->state, FUTEX_WAIT, TAKEN_AND_WAITED);
}

void fl_helper_join(struct fl_helper *helper, struct fl_job *job)
{
  while (atomic_load(&job->state) == TAKEN && run_one(helper));
  fl_helper_wait(helper, job);
}
