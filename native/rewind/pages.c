/* See pages.h. */
#include "rewind/pages.h"

#include <errno.h>
#include <sched.h>

enum { PAGE_BYTES = 4096, HEAP_TRIES = 2000 };

int fl_pages_remember(struct fl_rewinder *self, struct fl_error *err)
{
  return fl_shape_remember(&self->shape, self->proc.file[FL_PROC_MAPS], err);
}

bool fl_pages_heap_ends(const struct fl_rewinder *self)
{
  return fl_shape_ends_at(self->proc.file[FL_PROC_MAPS], (self->inside.heap.end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1));
}

static void begin_looking(struct fl_rewinder *self)
{
  fl_written_begin(&self->written);
  fl_shape_begin(&self->shape, self->proc.file[FL_PROC_MAPS], &self->helper);
}

/* The scan goes by the snapshot's mappings, so it counts for nothing when they are others. */
static void put_pages(void *context)
{
  struct fl_rewinder *self = context;
  struct fl_paged *paged = &self->paged;
  struct fl_side *side = &self->paging;
  struct fl_error scanning = {0};

  for (int tries = 0; paged->heap_comes && tries < HEAP_TRIES && !fl_pages_heap_ends(self); tries++)
    sched_yield();
  if (paged->heap_comes)
    begin_looking(self);
  int scanned = fl_written_scan(&self->written, &paged->counts, &paged->known, &scanning);

  side->r = fl_shape_end(&self->shape, self->proc.file[FL_PROC_MAPS], &self->helper, &paged->same_shape, &side->err);
  if (side->r < 0 || !paged->same_shape)
    return;
  if (scanned < 0)
    side->err = scanning;
  side->r = scanned;
  if (side->r == 0 && paged->known) {          /* what is dropped later is none of what is written now */
    side->r = fl_written_put(&self->written, &paged->counts, &side->err);
    paged->put = side->r == 0;
  }
}

void fl_pages_begin(struct fl_rewinder *self, bool heap_comes)
{
  if (self->written.watch < 0)
    return;
  self->paged.heap_comes = heap_comes;
  if (!heap_comes)
    begin_looking(self);
  fl_side_begin(self, &self->paging, put_pages);
}

/* With all flags, which the kernel tells slowly. */
static int restore_mappings(struct fl_rewinder *self, bool flagged, struct fl_rewind_report *report, struct fl_error *err)
{
  uint32_t repairs = 0;

  int r = fl_state_told(self, 0, err);

  if (r == 0)
    r = fl_state_layout(self, flagged, err);
  if (r < 0 || fl_layout_equal(&self->now, &self->then))
    return r;
  r = fl_layout_repair(&self->now, &self->then, &self->batch, &repairs, err);
  report->mappings += repairs;
  if (r == 0)
    r = fl_inside_put_memory(&self->batch, &self->inside, err);
  if (r == 0)
    r = fl_state_layout(self, flagged, err);
  return r < 0 || fl_layout_equal(&self->now, &self->then) ? r : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "its mappings cannot be put back");
}

/*
 * Flags of a mapping change with advice, which is sealed, with a lock, which is put back, or when another mapping takes its place, which then is not watched; and when it becomes writable, an accounting
 * mark that stays. So they are looked at where something is not watched, and compared each time only where nothing can be.
 */
int fl_pages_end(struct fl_rewinder *self, struct fl_rewind_report *report, struct fl_error *err)
{
  struct fl_paged *paged = &self->paged;

  if (self->written.watch < 0) {
    int r = restore_mappings(self, true, report, err);
    return r < 0 ? r : fl_memory_drop(&self->memory, &self->batch, &paged->counts, err);
  }
  int r = fl_side_end(self, &self->paging, 0, err);
  if (r == 0 && !paged->same_shape) {
    r = restore_mappings(self, false, report, err);
    if (r == 0)
      r = fl_pages_remember(self, err);
    if (r == 0)
      r = fl_written_scan(&self->written, &paged->counts, &paged->known, err);
  }
  if (r == 0 && !paged->known) {
    r = restore_mappings(self, true, report, err);
    if (r == 0)
      r = fl_written_rewatch(&self->written, err);
    if (r == 0)
      r = fl_written_scan(&self->written, &paged->counts, &paged->known, err);
    if (r == 0)
      r = paged->known ? fl_pages_remember(self, err) : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "its mappings cannot be watched");
  }
  if (r == 0 && self->memory.drops)
    r = fl_state_told(self, 0, err);
  return r < 0 ? r : fl_memory_run_drops(&self->memory, &self->batch, err);
}
