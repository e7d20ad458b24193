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
  fl_helper_wait(&self->helper, &side->job);
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

/* A segment of shared memory is gone when it is not mapped any more. */
static int unmap_segments(struct fl_rewinder *self, struct fl_error *err)
{
  uint32_t repairs;
  int r = fl_layout_read(self->target.instance, false, self->home, fl_batch_region_bytes(), &self->now, err);

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
  fl_inside_facts(&self->batch, &self->inside, &self->inner);
  return fl_process_registrations(&self->tracee, &self->inner, err);
}

/* --- what the helper does --- */

static void put_outside(void *context)
{
  struct fl_rewinder *self = context;
  struct fl_side *side = &self->outside;

  side->r = fl_files_put(&self->proc, &self->files, &self->outer, &side->err);
  if (side->r == 0)
    side->r = fl_scratch_put(self->target.scratch, &self->scratch, &side->err);
  if (side->r == 0)
    side->r = fl_scratch_facts(&self->scratch, &self->outer, &side->err);
}

static void ask_kernel(void *context)
{
  struct fl_rewinder *self = context;

  self->telling.r = fl_process_put(&self->proc, self->threads.count, &self->limits, &self->told, &self->telling.err);
}

/* Everything but memory and registers is put back, and gone through: what is inside by the process itself, meanwhile what is outside by the helper. What the kernel tells then is asked for apart (ask_kernel). */
int fl_state_put(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_files_close(&self->batch, &self->proc, &self->files, err);

  if (r < 0)
    return r;
  begin_facts(self, &self->inner);             /* all of them: a list that nobody goes through is not the same */
  begin_facts(self, &self->outer);
  begin_facts(self, &self->told);
  fl_side_begin(self, &self->outside, put_outside);
  r = fl_inside_start(&self->batch, &self->proc, &self->inside, err);
  if (r == 0)
    r = finish_inside(self, err);
  return fl_side_end(self, &self->outside, r, err);
}

void fl_state_ask(struct fl_rewinder *self)
{
  fl_side_begin(self, &self->telling, ask_kernel);
}

int fl_state_describe(struct fl_rewinder *self, struct fl_error *err)
{
  int r = fl_inside_learn(&self->batch, &self->proc, &self->inside, err);

  if (r == 0)
    r = fl_files_learn(&self->proc, &self->files, err);
  if (r == 0)
    r = fl_process_limits_get(self->target.instance, &self->limits, err);
  if (r == 0)
    r = fl_scratch_learn(self->target.scratch, &self->scratch, err);
  if (r == 0)
    r = fl_state_put(self, err);                  /* what a restore will do changes nothing now */
  if (r < 0)
    return r;
  fl_state_ask(self);
  r = fl_side_end(self, &self->telling, 0, err);
  self->described = true;
  return r == 0 && (self->inner.full || self->outer.full || self->told.full) ? fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "there is too much to describe") : r;
}

void fl_state_let_tell(struct fl_rewinder *self)
{
  fl_helper_wait(&self->helper, &self->telling.job);
}

int fl_state_compare(struct fl_rewinder *self, struct fl_error *err)
{
  const struct fl_facts *facts[] = {&self->inner, &self->outer, &self->told};
  const char *name = NULL;

  for (size_t i = 0; i < FL_COUNT(facts) && !name; i++)
    name = fl_facts_differ(facts[i]);
  return name ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "%s: not as it was", name) : 0;
}
