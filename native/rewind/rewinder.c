/* See rewinder.h. */
#include "rewind/rewinder.h"

#include <errno.h>
#include <flashd/started.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rewind/pages.h"
#include "rewind/region.h"
#include "rewind/state.h"
#include "rewind/watch.h"
#include "snapshot/rest.h"

enum { ENDING_TRIES = 2000, ENDING_US = 500, MICROSECOND = 1000, SECOND = 1000000000, REAPED = 16, PAGE_BYTES = 4096 };

enum ending { GOES_ON, GOES_ON_PROVEN, RESTS, RESTS_PROVEN };

static uint64_t now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void phase_ends(struct fl_rewind_report *report, enum fl_rewind_phase phase, uint64_t *since_ns)
{
  uint64_t now = now_ns();

  report->phase_us[phase] += (uint32_t)((now - *since_ns) / MICROSECOND);
  *since_ns = now;
}

static int refuse(struct fl_error *err, const char *why)
{
  return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "%s", why);
}

/* Remote calls go through the libc's code: it must still be the template's. */
static int check_gadget(struct fl_rewinder *self, struct fl_error *err)
{
  uint8_t now[FL_REWIND_CODE];
  int r = fl_tracee_read(&self->tracee, self->parasite.gadget, now, sizeof now, err);

  self->tracee.call_at = self->parasite.gadget;
  return r < 0 ? r : memcmp(self->code, now, sizeof now) == 0 ? 0 : refuse(err, "the code of its libc was changed");
}

static int open_region(struct fl_rewinder *self, struct fl_error *err)
{
  if (!self->stays)
    return fl_batch_open(&self->batch, &self->tracee, self->home, err);
  fl_batch_begin(&self->batch);
  return 0;
}

/* When there are no more calls in the process: what they have written, and the kernel for whoever makes them, is as it was. */
static int close_region(struct fl_rewinder *self, struct fl_error *err)
{
  if (!self->stays)
    return fl_batch_close(&self->batch, err);
  if (!self->batch.touched)
    return 0;
  int r = fl_region_clean(&self->batch, self->proc.file[FL_PROC_PAGEMAP], err);
  if (r == 0)
    r = fl_written_put_last(&self->written, err);
  self->batch.touched = r < 0;
  return r;
}

/* When they are gone from the list they have written for the last time (the word that the kernel clears when a thread ends). */
static int end_new_threads(struct fl_rewinder *self, struct fl_error *err)
{
  struct fl_tracee *tracee = &self->tracee;
  int r = 0;

  for (uint32_t i = self->threads.count; i < tracee->threads && r == 0; i++)
    r = fl_tracee_end_thread(tracee, i, err);
  if (r < 0)
    return r;
  tracee->threads = self->threads.count;
  for (int tries = 0; fl_tracee_count(tracee->tasks) != self->threads.count; tries++) {
    if (tries == ENDING_TRIES)
      return refuse(err, "threads do not end");
    usleep(ENDING_US);
  }
  return 0;
}

static int list_processes(const struct fl_rewinder *self, int *ret_now, bool *ret_same)
{
  const struct fl_proc *proc = &self->proc;
  int count = fl_proc_numbers(proc->processes, proc->processes_at, ret_now, FL_PROC_PROCESSES);

  *ret_same = count == proc->process_count && memcmp(ret_now, proc->process, (size_t)count * sizeof ret_now[0]) == 0;
  return count;
}

/* Whatever else there is in the sandbox is killed, and reaped by us or by the init. */
static int end_processes(struct fl_rewinder *self, struct fl_error *err)
{
  int now[FL_PROC_PROCESSES], r = 0;
  bool same;

  for (int tries = 0;; tries++) {
    int count = list_processes(self, now, &same);

    if (same)
      return 0;
    if (tries == ENDING_TRIES || (count < 0 && count != -E2BIG))
      return refuse(err, "processes do not end");
    fl_batch_begin(&self->batch);
    fl_batch_add(&self->batch, SYS_kill, (uint64_t)-1, SIGKILL, 0, 0, 0);
    for (int i = 0; i < REAPED; i++)
      fl_batch_add(&self->batch, SYS_wait4, (uint64_t)-1, 0, WNOHANG | __WALL, 0, 0);
    if ((r = fl_batch_run(&self->batch, 0, err)) < 0)
      return r;
    if (tries > 0)
      usleep(ENDING_US);
  }
}

/* --- snapshot --- */

static int open_proc(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_proc_open(&self->proc, self->target.instance, self->target.init, err);

  for (uint32_t i = 0; i < self->threads.count && r == 0; i++)
    r = fl_proc_open_thread(&self->proc, i, self->threads.thread[i].tid, err);
  if (r < 0)
    return r;
  self->tracee.memory = self->proc.file[FL_PROC_MEM];
  self->tracee.tasks = self->proc.file[FL_PROC_TASK];
  self->tracee.dies = true;
  return fl_tracee_count(self->tracee.tasks) == self->threads.count ? 0 : refuse(err, "the kernel does not count threads");
}

static int read_then(struct fl_rewinder *self, struct fl_error *err)
{
  uint64_t bytes = fl_batch_region_bytes();

  self->then.region = self->home;
  self->then.region_bytes = self->stays ? bytes : 0;
  int r = fl_layout_read(self->target.instance, true, self->home, self->stays ? 0 : bytes, &self->then, err);
  self->kernels_own = r < 0 ? 0 : fl_layout_kernels_own(&self->then);
  return r;
}

/* Where pages cannot be watched, they are compared with the template's (memory.h), and the batch's region does not stay. */
static int watch(struct fl_rewinder *self, struct fl_error *err)
{
  struct fl_error unused = {0};
  bool stays = self->stays;

  self->written.watch = -1;
  self->written.memory = &self->memory;
  self->written.proc = &self->proc;
  self->written.copies = self->target.copies;
  self->written.helper = &self->helper;
  if (stays && fl_written_watch(&self->written, &self->batch, &unused) == 0)
    return fl_pages_remember(self, err);
  self->stays = false;
  int r = stays ? fl_files_close(&self->batch, &self->proc, &self->files, err) : 0;    /* none of those that watching took stays inside */
  return r == 0 && stays ? read_then(self, err) : r;
}

/* The region, and all that is mapped by then. */
static int map_region(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_layout_read(self->target.instance, false, 0, 0, &self->then, err);

  if (r == 0 && !(self->home = fl_layout_gap(&self->then, fl_batch_region_bytes())))
    return refuse(err, "there is no room in the address space");
  if (r == 0)
    r = open_region(self, err);
  self->stays = fl_watch_possible();
  if (r == 0 && self->stays)
    r = fl_batch_stay(&self->batch, err);
  if (r == 0)
    r = fl_inside_put_memory(&self->batch, &self->inside, err);
  return r < 0 ? r : read_then(self, err);
}

static int take_snapshot(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_layout_read(self->target.template, false, 0, 0, &self->base, err);

  if (r == 0)
    r = check_gadget(self, err);
  if (r == 0)
    r = fl_threads_remember(&self->threads, &self->tracee, &self->memory, err);
  if (r == 0)
    r = open_proc(self, err);
  if (r == 0)
    r = fl_threads_hold(&self->tracee, err);
  if (r == 0)
    r = map_region(self, err);
  if (r == 0)
    r = fl_state_describe(self, err);
  if (r == 0)
    r = fl_memory_save(&self->memory, err);
  if (r == 0)
    r = watch(self, err);
  return r < 0 ? r : close_region(self, err);
}

static void drop(void *memory, size_t bytes)
{
  uintptr_t start = ((uintptr_t)memory + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1), end = ((uintptr_t)memory + bytes) & ~(uintptr_t)(PAGE_BYTES - 1);

  if (start < end)
    madvise((void *)start, end - start, MADV_DONTNEED);
}

/* What describing took, and a restore most often does without: as long as the instance lives, this process does. */
static void give_back(struct fl_rewinder *self)
{
  drop(&self->now, sizeof self->now);
  if (self->written.watch >= 0)                /* who proves a restore reads it again */
    drop(&self->base, sizeof self->base);
  drop(self->written.list.region, sizeof self->written.list.region);
  drop(&self->written.protect, sizeof self->written.protect);
  malloc_trim(0);
}

int fl_rewinder_snapshot(const struct fl_rewind_target *target, struct fl_rewinder **ret, struct fl_rewind_report *ret_report, struct fl_error *err)
{
  /* Megabytes of lists, of which a process fills a little: pages that are not touched cost nothing. */
  struct fl_rewinder *self = mmap(NULL, sizeof *self, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t since = now_ns(), sigreturn_at;
  char timers[64];

  *ret_report = (struct fl_rewind_report){0};
  *ret = NULL;
  if (self == MAP_FAILED)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "mmap", "rewinder");
  self->target = *target;
  fl_helper_start(&self->helper);
  self->memory.template = target->template;    /* one by one: the whole is tens of kilobytes of zeros */
  self->memory.instance = target->instance;
  self->memory.base = &self->base;
  self->memory.layout = &self->then;
  self->memory.template_memory = self->memory.template_pages = -1;
  snprintf(timers, sizeof timers, "/proc/%d/timers", target->instance);
  int r = access(timers, R_OK) < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, ENOENT, "rewind", "the kernel does not tell of timers") : 0;
  if (r == 0)
    r = fl_rest_template(target->template, target->parasite_at, &self->parasite, &sigreturn_at, err);
  if (r == 0)
    r = fl_tracee_read(&(struct fl_tracee){.pid = target->template}, self->parasite.gadget, self->code, sizeof self->code, err);
  if (r == 0)
    r = fl_rest_stop(target->instance, &self->parasite, sigreturn_at, &self->tracee, err);
  phase_ends(ret_report, FL_REWIND_STOP, &since);
  if (r == 0)
    r = take_snapshot(self, err);
  if (r == 0)
    r = fl_threads_put_extended(&self->threads, err);
  if (r == 0)
    r = fl_threads_put(&self->threads, err);
  if (r == 0)
    fl_tracee_release(&self->tracee);
  phase_ends(ret_report, FL_REWIND_FACTS, &since);
  give_back(self);
  ret_report->own_pages = self->memory.saved;
  ret_report->mappings = self->then.areas;
  *ret = self;
  return r;
}

/* --- restore --- */

/* Everything once more, and all of the memory, while it is still stopped. What the facts say was compared already. */
static int prove(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_layout_read(self->target.instance, true, 0, 0, &self->now, err);

  if (r == 0 && !fl_layout_equal(&self->now, &self->then))
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "verify", "mappings: not as they were");
  if (r == 0 && self->written.watch >= 0)
    r = fl_layout_read(self->target.template, false, 0, 0, &self->base, err);
  if (r == 0)
    r = fl_memory_compare(&self->memory, err);
  if (r == 0 && self->stays)
    r = fl_region_compare(&self->batch, self->proc.file[FL_PROC_PAGEMAP], err);
  return r < 0 ? r : fl_threads_compare(&self->threads, err);
}

/* What was in its way, descriptors and mappings of the function's files, is gone. The facts are those of one that is nobody's. */
static int unbind(struct fl_rewinder *self, struct fl_error *err)
{
  const struct fl_descriptors *carried = &self->parasite.descriptors;
  int r = fl_binding_ready(&self->binding, &self->batch, carried, err);

  self->bound = false;
  if (r == 0)
    r = fl_binding_put(&self->binding, &self->batch, carried, self->binding.rest, -1, err);
  if (r == 0)
    r = fl_state_begin(self, true, err);
  r = fl_state_put(self, r, err);
  return fl_state_end(self, r, err);
}

/* Nothing of it writes to memory or maps any, by itself or in the batches that follow but for the batch's region. */
static bool keeps_still(const struct fl_rewinder *self)
{
  int now[FL_PROC_PROCESSES];
  bool same;

  if (self->bound || self->written.watch < 0 || self->tracee.threads != self->threads.count || fl_tracee_count(self->tracee.tasks) != self->threads.count)
    return false;
  list_processes(self, now, &same);
  return same && fl_pages_heap_ends(self);
}

/*
 * Until they were gone, whoever shares its memory could have had our calls end elsewhere: then it would have run once more, made threads, and let signals in.
 */
static int is_alone(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_tracee_disarm(&self->tracee, err);

  if (r == 0 && fl_tracee_count(self->tracee.tasks) != self->threads.count)
    return refuse(err, "has threads that nobody stopped");
  return r < 0 ? r : fl_threads_block(&self->tracee, err);
}

/* What is mapped depends on it. Whoever waits for that is told first, since the process takes our processor at once. */
static int put_memory(struct fl_rewinder *self, struct fl_error *err)
{
  if (self->shape.asked)
    fl_pages_begin(self, true);
  int r = fl_inside_put_memory(&self->batch, &self->inside, err);
  if (r == 0 && !self->shape.asked)
    fl_pages_begin(self, false);
  return r;
}

static int restore(struct fl_rewinder *self, enum ending ending, struct fl_rewind_report *report, struct fl_error *err)
{
  struct fl_memory_counts *counts = &self->paged.counts;
  uint64_t since = now_ns();

  self->paged = (struct fl_paged){0};
  fl_helper_rouse(&self->helper);
  fl_threads_gather(&self->threads, 0, 1);
  int r = fl_tracee_stop_again(&self->tracee, err);
  if (r == 0)
    r = fl_threads_arrange(&self->threads, &self->tracee, err);
  if (r == 0)
    r = fl_tracee_disarm(&self->tracee, err);
  bool early = r == 0 && keeps_still(self);
  if (early)
    fl_pages_begin(self, false);
  if (r == 0)
    fl_threads_gather(&self->threads, 1, self->threads.count);
  if (r == 0)
    r = fl_threads_block(&self->tracee, err);
  if (r == 0)
    r = check_gadget(self, err);
  phase_ends(report, FL_REWIND_STOP, &since);
  if (r == 0)
    r = open_region(self, err);
  if (r == 0 && !early)
    r = end_new_threads(self, err);
  if (r == 0 && !early)
    r = end_processes(self, err);
  if (r == 0 && !early)
    r = is_alone(self, err);
  if (r == 0 && self->stays)                   /* nobody is left who could write to it */
    r = fl_region_check(&self->batch, self->proc.file[FL_PROC_PAGEMAP], err);
  if (r == 0 && self->bound)
    r = fl_binding_take(&self->batch, &self->parasite.descriptors, err);
  if (r == 0)
    r = fl_state_begin(self, !self->bound, err);                               /* of one that is a function's there is more to be put back before */
  if (r == 0 && !early)
    r = put_memory(self, err);
  r = fl_state_put(self, r, err);
  if (r == 0 && self->stays)                   /* while pages are written; once more at the end where mappings were in the way, or more calls came */
    close_region(self, &(struct fl_error){0});
  if (r == 0 && !self->bound)
    r = fl_threads_put_extended(&self->threads, err);
  r = fl_state_end(self, r, err);
  phase_ends(report, FL_REWIND_STATE, &since);
  if (r == 0)
    r = fl_pages_end(self, report, err);
  if (r == 0 && self->bound) {
    r = unbind(self, err);
    if (r == 0)
      r = fl_threads_put_extended(&self->threads, err);
  }
  phase_ends(report, FL_REWIND_LAYOUT, &since);
  if (r == 0 && self->written.watch >= 0 && !self->paged.put)
    r = fl_written_put(&self->written, counts, err);
  phase_ends(report, FL_REWIND_MEMORY, &since);
  r = fl_side_end(self, &self->paging, r, err);
  r = fl_state_told(self, r, err);
  if (r == 0)
    r = fl_state_compare(self, err);
  if (r == 0)
    r = close_region(self, err);
  phase_ends(report, FL_REWIND_FACTS, &since);
  if (r == 0 && self->written.watch < 0)
    r = fl_memory_write(&self->memory, counts, err);
  if (r == 0)
    r = fl_threads_put(&self->threads, err);
  if (r == 0 && (ending == GOES_ON_PROVEN || ending == RESTS_PROVEN))
    r = prove(self, err);
  if (r == 0 && ending < RESTS)
    fl_tracee_let_go(&self->tracee);
  phase_ends(report, FL_REWIND_MEMORY, &since);
  fl_helper_dismiss(&self->helper);
  report->own_pages = counts->own;
  report->written_pages = counts->written;
  report->dropped_pages = counts->dropped;
  return r;
}

int fl_rewinder_restore(struct fl_rewinder *self, bool proven, struct fl_rewind_report *ret_report, struct fl_error *err)
{
  *ret_report = (struct fl_rewind_report){0};
  return restore(self, proven ? GOES_ON_PROVEN : GOES_ON, ret_report, err);
}

/* --- from function to function --- */

int fl_rewinder_rest(struct fl_rewinder *self, struct fl_rewind_report *ret_report, struct fl_error *err)
{
  enum ending ending = self->learnt ? RESTS : RESTS_PROVEN;        /* the first time there is time, and it is known that all of its runtime can be put back */
  int r = self->learnt ? 0 : fl_binding_learn(self->target.instance, self->target.init, &self->binding, err);

  *ret_report = (struct fl_rewind_report){0};
  self->learnt = true;
  if (r == 0)
    r = restore(self, ending, ret_report, err);
  for (uint32_t i = 0; i < self->threads.count; i++)
    self->tracee.thread[i].regs = self->threads.thread[i].regs;
  if (r == 0)
    r = fl_threads_block(&self->tracee, err);
  if (r == 0)                                  /* proven, and nothing of it runs until it is bound: what that needs is done now */
    r = open_region(self, err);
  return r < 0 ? r : fl_binding_ready(&self->binding, &self->batch, &self->parasite.descriptors, err);
}

/* To the gateway, as a fork does it (parasite/child.c). */
static void tell_started(int data_fd, const struct fl_started *started)
{
  const struct { struct fl_frame head; struct fl_started meta; } frame = {
      {.length = sizeof frame.meta, .meta_length = sizeof frame.meta, .type = FL_FRAME_STARTED}, *started};

  send(data_fd, &frame, sizeof frame, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int fl_rewinder_bind(struct fl_rewinder *self, const int *fds, int mount, struct fl_error *err)
{
  struct fl_started started = {.assigned_ns = now_ns()};
  int r = fl_binding_put(&self->binding, &self->batch, &self->parasite.descriptors, fds, mount, err);

  if (r == 0)
    r = close_region(self, err);
  if (r == 0)
    r = fl_threads_put(&self->threads, err);
  if (r == 0) {
    started.end_ns[FL_PHASE_DESCRIPTORS] = now_ns();
    tell_started(fds[FL_DATA_FD - 1], &started);
    self->bound = true;
    fl_tracee_release(&self->tracee);
  }
  return r;
}
