/* See helper.h. */
#include "rewind/helper.h"

#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* Whether the word came to be another one within the time. */
static bool changes(_Atomic uint32_t *word, uint32_t from, uint32_t within_us)
{
  const uint64_t until = now_ns() + (uint64_t)within_us * MICROSECOND;

  do
    for (int i = 0; i < LOOKS; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != from)
        return true;
      fl_arch_pause();
    }
  while (now_ns() < until);
  return false;
}

static bool take(struct fl_job *job)
{
  uint32_t ready = READY;

  return atomic_compare_exchange_strong(&job->state, &ready, TAKEN);
}

static void work(struct fl_helper *helper, uint32_t *taken)
{
  for (uint32_t given; (given = atomic_load(&helper->given)) != *taken;) {
    if (given - *taken > FL_HELPER_JOBS)       /* the others were done by whoever gave them */
      *taken = given - FL_HELPER_JOBS;
    struct fl_job *job = atomic_load(&helper->job[(*taken)++ % FL_HELPER_JOBS]);

    if (!take(job))
      continue;
    job->run(job->context);
    if (atomic_exchange(&job->state, DONE) == TAKEN_AND_WAITED)
      futex(&job->state, FUTEX_WAKE, 1);
  }
}

static void *help(void *context)
{
  struct fl_helper *helper = context;
  uint32_t taken = 0;

  /* Who shares these with another thread may not enter a mount namespace, which the first one does (binding.c). */
  helper->thread = (int)syscall(SYS_gettid);
  atomic_store(&helper->ready, unshare(CLONE_FS) < 0 ? 2 : 1);
  futex(&helper->ready, FUTEX_WAKE, 1);
  if (atomic_load(&helper->ready) != 1)
    return NULL;
  for (;;) {
    uint32_t bell = atomic_load(&helper->bell);

    work(helper, &taken);
    if (changes(&helper->bell, bell, FL_HELPER_SPIN_US))
      continue;
    atomic_store(&helper->sleeps, 1);
    if (atomic_load(&helper->bell) == bell)
      futex(&helper->bell, FUTEX_WAIT, bell);
    atomic_store(&helper->sleeps, 0);
  }
}

void fl_helper_start(struct fl_helper *helper)
{
  pthread_attr_t attributes;
  pthread_t thread;

  helper->away_from = -1;
  if (sched_getaffinity(0, sizeof helper->processors, &helper->processors) < 0 || CPU_COUNT(&helper->processors) < 2 || pthread_attr_init(&attributes) != 0)
    return;
  mallopt(M_ARENA_MAX, 1);                     /* else the thread has one of its own */
  helper->runs = pthread_attr_setstacksize(&attributes, FL_HELPER_STACK_BYTES) == 0 && pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                 pthread_create(&thread, &attributes, help, helper) == 0;
  pthread_attr_destroy(&attributes);
  while (helper->runs && atomic_load(&helper->ready) == 0)
    futex(&helper->ready, FUTEX_WAIT, 0);
  helper->runs = helper->runs && atomic_load(&helper->ready) == 1;
}

static void ring(struct fl_helper *helper)
{
  atomic_fetch_add(&helper->bell, 1);
  if (atomic_load(&helper->sleeps))
    futex(&helper->bell, FUTEX_WAKE, 1);
}

/* Where the scheduler leaves both on one, each waits for the other to be done waiting. */
static void part(struct fl_helper *helper)
{
  cpu_set_t others = helper->processors;
  int here = sched_getcpu();

  if (here < 0 || here == helper->away_from)
    return;
  CPU_CLR(here, &others);
  sched_setaffinity(helper->thread, sizeof others, &others);
  helper->away_from = here;
}

void fl_helper_rouse(struct fl_helper *helper)
{
  if (!helper->runs)
    return;
  part(helper);
  ring(helper);
}

void fl_helper_give(struct fl_helper *helper, struct fl_job *job, void (*run)(void *context), void *context)
{
  job->run = run;
  job->context = context;
  atomic_store(&job->state, READY);
  if (!helper->runs)
    return;
  atomic_store(&helper->job[atomic_load(&helper->given) % FL_HELPER_JOBS], job);
  atomic_fetch_add(&helper->given, 1);
  ring(helper);
}

void fl_helper_wait(struct fl_helper *helper, struct fl_job *job)
{
  uint32_t taken = TAKEN;

  (void)helper;
  if (take(job)) {
    job->run(job->context);
    atomic_store(&job->state, DONE);
    return;
  }
  if (changes(&job->state, TAKEN, FL_HELPER_WAIT_US) || !atomic_compare_exchange_strong(&job->state, &taken, TAKEN_AND_WAITED))
    return;
  while (atomic_load(&job->state) == TAKEN_AND_WAITED)
    futex(&job->state, FUTEX_WAIT, TAKEN_AND_WAITED);
}
