/* See state.h. */
#include "rewind/state.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/cleanup.h"

enum { PRIORITIES = 40 };

void fl_side_begin(struct fl_rewinder *self, struct fl_side *side, void (*run)(void *))
{
  side->r = 0;
  side->err = (struct fl_error){0};
  fl_helper_give(&self->helper, &side->job, run, self);
}

int fl_side_end(struct fl_rewinder *self, struct fl_side *side, int before, struct fl_error *err)
{
  fl_helper_join(&self->helper, &side->job);
  if (before == 0 && side->r < 0)
    *err = side->err;
  return before < 0 ? before : side->r;
}

/* Its own priority can be had again only with leave, which it has for this moment. */
static int repair_inside(struct fl_rewinder *self, struct fl_error *err)
{
  const struct rlimit64 leave = {PRIORITIES, PRIORITIES};

  prlimit64(self->target.instance, RLIMIT_NICE, &leave, NULL);
  int r = fl_inside_repair(&self->batch, &self->inside, err);
  prlimit64(self->target.instance, RLIMIT_NICE, &(const struct rlimit64){self->limits.limit[RLIMIT_NICE][0], self->limits.limit[RLIMIT_NICE][1]}, NULL);
  return r;
}

int fl_state_layout(struct fl_rewinder *self, bool flagged, struct fl_error *err)
{
  return fl_layout_read(self->target.instance, flagged, self->home, self->stays ? 0 : fl_batch_region_bytes(), &self->now, err);
}

/* A segment of shared memory is gone when it is not mapped any more. */
static int unmap_segments(struct fl_rewinder *self, struct fl_error *err)
{
  uint32_t repairs;
  int r = fl_state_layout(self, false, err);

  return r < 0 || fl_layout_equal(&self->now, &self->then) ? r : fl_layout_repair(&self->now, &self->then, &self->batch, &repairs, err);
}

static void begin_facts(const struct fl_rewinder *self, struct fl_facts *facts)
{
  if (self->described)
    fl_facts_compare(facts);
  else
    fl_facts_remember(facts);
}

static int finish_inside(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_inside_finish(&self->batch, &self->inside, err);

  if (r == 0 && !self->inside.then_calls) {
    r = fl_inside_remember(&self->batch, &self->inside, err);
  } else if (r == 0 && fl_inside_differs(&self->batch, &self->inside)) {
    fl_helper_join(&self->helper, &self->paging.job);                          /* which goes by what is mapped now */
    fl_helper_join(&self->helper, &self->descriptors.job);                     /* which compares limits */
    r = repair_inside(self, err);
    if (r > 0)
      r = unmap_segments(self, err);
    if (r == 0)
      r = fl_inside_start(&self->batch, &self->proc, &self->inside, err);
    if (r == 0)
      r = fl_inside_finish(&self->batch, &self->inside, err);
  }
  if (r < 0)
    return r;
  fl_inside_facts(&self->batch, &self->inside, &self->facts[FL_FACTS_FROM_INSIDE]);
  return fl_process_registrations(&self->tracee, &self->facts[FL_FACTS_FROM_INSIDE], err);
}

/* --- what helpers do --- */

static void empty_layer(void *context)
{
  struct fl_rewinder *self = context;
  struct fl_side *side = &self->emptying;

  side->r = fl_scratch_put(self->target.scratch, &self->scratch, &side->err);
  if (side->r == 0)
    side->r = fl_scratch_facts(&self->scratch, &self->facts[FL_FACTS_OF_LAYER], &side->err);
}

static void ask_of_process(void *context)
{
  struct fl_rewinder *self = context;

  self->telling.r = fl_process_put(&self->proc, self->kernels_own, &self->facts[FL_FACTS_OF_PROCESS], &self->telling.err);
}

static void ask_of_threads(void *context)
{
  struct fl_rewinder *self = context;

  self->telling_of_threads.r = fl_process_threads(&self->proc, self->threads.count, &self->facts[FL_FACTS_OF_THREADS], &self->locked, &self->telling_of_threads.err);
}

/* Descriptors and limits as they were not yet may send signals, so which wait is asked afterwards. */
static void put_descriptors(void *context)
{
  struct fl_rewinder *self = context;
  struct fl_side *side = &self->descriptors;
  struct fl_facts *facts = &self->facts[FL_FACTS_OF_DESCRIPTORS];

  side->r = fl_process_limits_put(&self->proc, &self->limits, facts, &side->err);
  if (side->r == 0)
    side->r = fl_files_put(&self->proc, &self->files, facts, &side->err);
  if (self->tells)
    fl_side_begin(self, &self->telling_of_threads, ask_of_threads);
}

/*
 * Everything but memory and registers is put back, and gone through: what is inside by the process itself, meanwhile what is outside by helpers. What the kernel tells of the process by then is what it will tell when
 * all is put back, if it is what it told at the snapshot: putting back what is the same changes nothing. Else it is asked again (fl_state_told).
 */
int fl_state_begin(struct fl_rewinder *self, bool tells, struct fl_error *err)
{
  int r = fl_files_close(&self->batch, &self->proc, &self->files, err);

  if (r < 0)
    return r;
  for (size_t i = 0; i < FL_COUNT(self->facts); i++)                           /* all of them: a list that nobody goes through is not the same */
    begin_facts(self, &self->facts[i]);
  self->tells = tells;
  fl_side_begin(self, &self->descriptors, put_descriptors);
  if (tells)
    fl_side_begin(self, &self->telling, ask_of_process);
  fl_side_begin(self, &self->emptying, empty_layer);
  return 0;
}

int fl_state_put(struct fl_rewinder *self, int before, struct fl_error *err)
{
  int r = before;

  if (r == 0)
    r = fl_inside_start(&self->batch, &self->proc, &self->inside, err);
  return r < 0 ? r : finish_inside(self, err);
}

int fl_state_end(struct fl_rewinder *self, int before, struct fl_error *err)
{
  int r = fl_side_end(self, &self->emptying, before, err);

  return fl_side_end(self, &self->descriptors, r, err);
}

static int end_telling(struct fl_rewinder *self, int before, struct fl_error *err)
{
  int r = fl_side_end(self, &self->telling, before, err);

  return fl_side_end(self, &self->telling_of_threads, r, err);
}

static int tell_again(struct fl_rewinder *self, struct fl_error *err)
{
  begin_facts(self, &self->facts[FL_FACTS_OF_PROCESS]);
  begin_facts(self, &self->facts[FL_FACTS_OF_THREADS]);
  fl_side_begin(self, &self->telling, ask_of_process);
  fl_side_begin(self, &self->telling_of_threads, ask_of_threads);
  return end_telling(self, 0, err);
}

int fl_state_told(struct fl_rewinder *self, int before, struct fl_error *err)
{
  int r = end_telling(self, before, err);

  if (r < 0 || !self->tells)
    return r;
  if (self->locked)
    r = fl_inside_put_memory(&self->batch, &self->inside, err);
  if (r == 0 && (self->locked || fl_facts_differ(&self->facts[FL_FACTS_OF_PROCESS]) || fl_facts_differ(&self->facts[FL_FACTS_OF_THREADS])))
    r = tell_again(self, err);
  return r == 0 && self->locked ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "locked memory: not as it was") : r;
}

int fl_state_describe(struct fl_rewinder *self, struct fl_error *err)
{
  bool full = false;
  int r = fl_inside_learn(&self->batch, &self->proc, &self->inside, err);

  if (r == 0)
    r = fl_files_learn(&self->proc, &self->files, err);
  if (r == 0)
    r = fl_process_limits_learn(&self->proc, &self->limits, err);
  if (r == 0)
    r = fl_scratch_learn(self->target.scratch, &self->scratch, err);
  if (r == 0)
    r = fl_state_begin(self, false, err);
  r = fl_state_put(self, r, err);              /* what a restore will do changes nothing now */
  r = fl_state_end(self, r, err);
  if (r == 0)
    r = tell_again(self, err);
  if (r == 0)
    r = fl_threads_spread(&self->threads, err);
  self->described = true;
  for (size_t i = 0; i < FL_COUNT(self->facts); i++)
    full = full || self->facts[i].full;
  return r == 0 && full ? fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "there is too much to describe") : r;
}

int fl_state_compare(struct fl_rewinder *self, struct fl_error *err)
{
  const char *name = NULL;
  int r = fl_threads_spread(&self->threads, err);

  if (r < 0)
    return r;
  for (size_t i = 0; i < FL_COUNT(self->facts) && !name; i++)
    name = fl_facts_differ(&self->facts[i]);
  return name ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "%s: not as it was", name) : 0;
}
