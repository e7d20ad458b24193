/* See written.h. */
#include "rewind/written.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rewind/watch.h"
#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096, BATCH_PAGES = 512, ENTRIES = 512, NEAR_PAGES = 32, SHARE_PAGES = 16, RUN_PAGES = 32 };
enum { POPULATED = FL_PAGE_PRESENT | FL_PAGE_SWAPPED };

static void add(struct fl_stretches *stretches, uint64_t start, uint64_t end)
{
  if (stretches->count && stretches->at[stretches->count - 1].end == start)
    stretches->at[stretches->count - 1].end = end;
  else if (stretches->count == FL_WRITTEN_STRETCHES_MAX)
    stretches->full = true;
  else
    stretches->at[stretches->count++] = (struct fl_stretch){start, end};
}

/* --- watching --- */

struct merge { struct fl_written *written; uint32_t saved; };

static void expect_saved(struct merge *merge, uint64_t below)
{
  const struct fl_memory *memory = merge->written->memory;

  for (; merge->saved < memory->saved && memory->saved_at[merge->saved] < below; merge->saved++)
    add(&merge->written->expected, memory->saved_at[merge->saved], memory->saved_at[merge->saved] + PAGE_BYTES);
}

static int expect_kept(void *context, uint64_t address, struct fl_error *err)
{
  struct merge *merge = context;

  expect_saved(merge, address);
  add(&merge->written->expected, address, address + PAGE_BYTES);
  return merge->written->expected.full ? fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "watch", "too many stretches of memory") : 0;
}

/* The kernel's code cannot be watched. */
static bool is_watched(const struct fl_layout *layout, const struct fl_area *area)
{
  return !area->special && (fl_memory_is_private(layout, area) || fl_layout_is_region(layout, area));
}

int fl_written_rewatch(const struct fl_written *written, struct fl_error *err)
{
  const struct fl_layout *layout = written->memory->layout;
  int r = 0;

  for (uint32_t i = 0; i < layout->areas && r == 0;) {
    uint64_t start = layout->area[i].start, end = start;

    for (; i < layout->areas && layout->area[i].start == end && is_watched(layout, &layout->area[i]); i++)
      end = layout->area[i].end;
    if (end > start)
      r = fl_watch_range(written->watch, start, end, err);
    else
      i++;
  }
  return r;
}

static int ascending(const void *a, const void *b)
{
  const struct fl_stretch *one = a, *other = b;

  return one->start < other->start ? -1 : one->start > other->start;
}

/* Neighbours together: what lies between them and is in memory is protected already. */
static int protect(struct fl_written *written, struct fl_error *err)
{
  const struct fl_stretch *at = written->protect.at;

  qsort(written->protect.at, written->protect.count, sizeof *at, ascending);
  for (uint32_t i = 0, last; i < written->protect.count; i = last + 1) {
    for (last = i; last + 1 < written->protect.count && at[last + 1].start - at[last].end <= NEAR_PAGES * PAGE_BYTES;)
      last++;
    int r = fl_pagemap_protect(written->proc->file[FL_PROC_PAGEMAP], at[i].start, at[last].end);
    if (r < 0)
      return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "watch", "pages at %#lx", at[i].start);
  }
  return 0;
}

/* Each stretch of pages of the same kind within a private mapping. */
typedef int (*visit)(struct fl_written *written, const struct fl_area *area, const struct fl_page_region *piece, struct fl_error *err);

/* In memory as it was when it was watched first, or protected last. */
static bool is_clean(const struct fl_page_region *region)
{
  return (region->categories & POPULATED) && (region->categories & FL_PAGE_WATCHED) && !(region->categories & FL_PAGE_WRITTEN);
}

static int visit_region(struct fl_written *written, uint32_t *at, const struct fl_page_region *region, visit visit, struct fl_error *err)
{
  const struct fl_layout *layout = written->memory->layout;
  int r = 0;

  while (*at < layout->areas && layout->area[*at].end <= region->start)
    (*at)++;
  for (uint32_t area = *at; area < layout->areas && layout->area[area].start < region->end && r == 0; area++) {
    const struct fl_area *mapped = &layout->area[area];
    const struct fl_page_region piece = {region->start > mapped->start ? region->start : mapped->start, region->end < mapped->end ? region->end : mapped->end, region->categories};

    if (fl_memory_is_private(layout, mapped))
      r = visit(written, mapped, &piece, err);
  }
  return r;
}

/* What was expected before it is of no interest any more: stretches ascend, and some runtimes have thousands. */
static uint32_t pass(struct fl_written *written, uint64_t start)
{
  while (written->passed < written->expected.count && written->expected.at[written->passed].end <= start)
    written->passed++;
  return written->passed;
}

/* What lies between two stretches that the kernel tells of, where it tells of what is there: it matters only where something was expected. */
static int visit_gap(struct fl_written *written, uint32_t *at, uint64_t start, uint64_t end, visit visit, struct fl_error *err)
{
  uint32_t next = pass(written, start);

  if (next == written->expected.count || written->expected.at[next].start >= end)
    return 0;
  return visit_region(written, at, &(const struct fl_page_region){start, end, FL_PAGE_WATCHED}, visit, err);
}

/* After fl_list_begin. populated: what the kernel has not told of is watched, and not there. */
static int scan(struct fl_written *written, bool populated, visit visit, struct fl_error *err)
{
  int r = fl_list_end(&written->list, written->helper);
  uint64_t told = 0;
  uint32_t at = 0;

  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "rewind", "its pages cannot be scanned");
  written->passed = 0;
  for (const struct fl_list_part *part = written->list.part; part < written->list.part + FL_LIST_PARTS; part++)
    for (int i = 0; i < part->regions && r == 0; told = part->region[i++].end) {
      if (populated)
        r = visit_gap(written, &at, told, part->region[i].start, visit, err);
      if (r == 0 && !(populated && is_clean(&part->region[i])))
        r = visit_region(written, &at, &part->region[i], visit, err);
    }
  return r == 0 && populated ? visit_gap(written, &at, told, FL_ADDRESSES_END, visit, err) : r;
}

static int visit_first(struct fl_written *written, const struct fl_area *area, const struct fl_page_region *piece, struct fl_error *err)
{
  if (area->special)
    return 0;
  if (!(piece->categories & FL_PAGE_WATCHED))
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "watch", "memory at %#lx is not watched", area->start);
  if (piece->categories & POPULATED)
    add(&written->protect, piece->start, piece->end);
  return 0;
}

int fl_written_watch(struct fl_written *written, struct fl_batch *batch, struct fl_error *err)
{
  struct merge merge = {written, 0};
  uint64_t populated, empty;
  int r = fl_memory_each_kept(written->memory, expect_kept, &merge, err);

  expect_saved(&merge, UINT64_MAX);
  written->watch = r < 0 ? r : fl_watch_open(batch, err);
  if (written->watch < 0)
    return written->watch;
  r = fl_written_rewatch(written, err);
  if (r == 0) {
    fl_list_begin(&written->list, written->proc->file[FL_PROC_PAGEMAP], fl_pagemap_scan, written->helper);
    r = scan(written, false, visit_first, err);
  }
  if (r == 0) {
    fl_list_weigh(&written->list, &populated, &empty);
    written->sparse = empty > populated;
    fl_list_divide(&written->list, written->sparse, !written->sparse);
  }
  if (r == 0)
    r = protect(written, err);
  if (r < 0)
    fl_close(&written->watch);
  return r;
}

/* --- what was written to --- */

static bool is_zeroed(const struct fl_written *written, uint64_t address)
{
  uint32_t at = fl_memory_first(written->zero_at, written->zeros, address);

  return at < written->zeros && written->zero_at[at] == address;
}

static void add_zero(struct fl_written *written, uint64_t address)
{
  uint32_t at = fl_memory_first(written->zero_at, written->zeros, address);

  memmove(written->zero_at + at + 1, written->zero_at + at, (written->zeros++ - at) * sizeof written->zero_at[0]);
  written->zero_at[at] = address;
}

/* New memory without a file. */
static int empty(struct fl_written *written, uint64_t start, uint64_t end, struct fl_error *err)
{
  for (; start < end && (is_zeroed(written, start) || written->zeros < FL_WRITTEN_ZEROS_MAX); start += PAGE_BYTES) {
    if (!is_zeroed(written, start))
      add_zero(written, start);
    add(&written->write, start, start + PAGE_BYTES);
  }
  return start < end ? fl_memory_add_drop(written->memory, start, end, err) : 0;
}

/* In a file's mapping: its own pages are none of ours, copies of them are dropped. */
static int uncopy(struct fl_written *written, const struct fl_area *area, uint64_t start, uint64_t end, struct fl_error *err)
{
  uint64_t entry[ENTRIES];
  int r = 0;

  while (start < end && r == 0) {
    size_t count = (end - start) / PAGE_BYTES < ENTRIES ? (end - start) / PAGE_BYTES : ENTRIES;
    ssize_t bytes = (ssize_t)(count * sizeof entry[0]);

    if (pread(written->proc->file[FL_PROC_PAGEMAP], entry, (size_t)bytes, (off_t)(start / PAGE_BYTES * sizeof entry[0])) != bytes)
      return fl_fail_errno(err, "read_pagemap");
    for (size_t i = 0; i < count && r == 0; i++, start += PAGE_BYTES)
      if ((entry[i] & FL_PAGEMAP_SWAPPED) || ((entry[i] & FL_PAGEMAP_PRESENT) && !(entry[i] & FL_PAGEMAP_FILE)))
        r = fl_memory_add_drop(written->memory, start, start + PAGE_BYTES, err);
      else if (!area->special)
        add(&written->protect, start, start + PAGE_BYTES);
  }
  return r;
}

static int visit_changed(struct fl_written *written, const struct fl_area *area, const struct fl_page_region *piece, struct fl_error *err)
{
  bool populated = piece->categories & POPULATED;
  int r = 0;

  if (is_clean(piece))
    return 0;
  uint32_t next = pass(written, piece->start);
  for (uint64_t at = piece->start; at < piece->end && r == 0;) {
    const struct fl_stretch *expected = next < written->expected.count && written->expected.at[next].start < piece->end ? &written->expected.at[next] : NULL;
    uint64_t known = expected ? (expected->start > at ? expected->start : at) : piece->end, end = expected && expected->end < piece->end ? expected->end : piece->end;

    if (populated && at < known)
      r = area->inode || area->special ? uncopy(written, area, at, known, err) : empty(written, at, known, err);
    if (expected)
      add(&written->write, known, end);
    at = end;
    next++;
  }
  return r;
}

static int visit_known(struct fl_written *written, const struct fl_area *area, const struct fl_page_region *piece, struct fl_error *err)
{
  if (!(piece->categories & FL_PAGE_WATCHED) && !area->special)
    return -EAGAIN;
  return visit_changed(written, area, piece, err);
}

void fl_written_begin(struct fl_written *written)
{
  fl_list_begin(&written->list, written->proc->file[FL_PROC_PAGEMAP], written->sparse ? fl_pagemap_populated : fl_pagemap_changed, written->helper);
}

int fl_written_scan(struct fl_written *written, struct fl_memory_counts *counts, bool *ret_known, struct fl_error *err)
{
  struct fl_memory *memory = written->memory;

  written->write.count = written->protect.count = memory->drops = 0;
  if (!written->list.begun)
    fl_written_begin(written);
  int r = scan(written, written->sparse, visit_known, err);
  *ret_known = r != -EAGAIN || err->code != FL_OK;
  if (r < 0 && *ret_known)
    return r;
  counts->dropped = 0;
  for (uint32_t i = 0; i < memory->drops; i++)
    counts->dropped += (uint32_t)((memory->drop[i].end - memory->drop[i].start) / PAGE_BYTES);
  return written->write.full || written->protect.full ? fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "too many stretches of memory have changed") : 0;
}

/* --- back --- */

/* Pages that are written by one call, ascending. */
struct batch {
  struct fl_written *written;
  uint32_t pages, runs, room;
  struct iovec from[BATCH_PAGES], to[BATCH_PAGES];
};

/* One by one, whatever rights the mapping has. */
static int write_forcibly(const struct fl_written_share *share, struct fl_error *err)
{
  uint32_t page = 0;

  for (uint32_t run = 0; run < share->runs; run++) {
    uint64_t at = (uint64_t)(uintptr_t)share->to[run].iov_base;

    for (uint64_t end = at + share->to[run].iov_len; at < end; at += PAGE_BYTES, page++)
      if (pwrite(share->written->proc->file[FL_PROC_MEM], share->from[page].iov_base, PAGE_BYTES, (off_t)at) != PAGE_BYTES)
        return fl_fail(err, FL_ERR_UNSUPPORTED, EFAULT, "write_memory", "page %#lx", at);
  }
  return 0;
}

static void write_share(void *context)
{
  struct fl_written_share *share = context;

  share->r = share->pages == 0 || process_vm_writev(share->written->proc->pid, share->from, share->pages, share->to, share->runs, 0) == (ssize_t)share->pages * PAGE_BYTES ? 0 : write_forcibly(share, &share->err);
}

/* Of so many pages at least; a run, of RUN_PAGES at most, is not divided. */
static uint32_t deal(struct batch *batch, uint32_t pages)
{
  struct fl_written *written = batch->written;
  uint32_t dealt = 0, page = 0;

  for (uint32_t run = 0; run < batch->runs; dealt++) {
    struct fl_written_share *share = &written->share[dealt];

    *share = (struct fl_written_share){.written = written, .from = batch->from + page, .to = batch->to + run};
    while (run < batch->runs && (share->pages < pages || dealt + 1 == FL_WRITTEN_SHARES)) {
      share->pages += (uint32_t)(batch->to[run++].iov_len / PAGE_BYTES);
      share->runs++;
    }
    page += share->pages;
  }
  return dealt;
}

/* Helpers begin with the second share, and we with the first and then from the last one on. */
static int flush(struct batch *batch, struct fl_error *err)
{
  struct fl_written *written = batch->written;
  uint32_t even = batch->pages / FL_WRITTEN_SHARES + 1, dealt = deal(batch, even < SHARE_PAGES ? SHARE_PAGES : even);
  int r = 0;

  for (uint32_t i = 1; i < dealt; i++)
    fl_helper_give(written->helper, &written->share[i].job, write_share, &written->share[i]);
  if (dealt)
    write_share(&written->share[0]);
  for (uint32_t i = dealt; i-- > 0;) {
    if (i > 0)
      fl_helper_wait(written->helper, &written->share[i].job);
    if (r == 0 && (r = written->share[i].r) < 0)
      *err = written->share[i].err;
  }
  batch->pages = batch->runs = batch->room = 0;
  return r;
}

/* again: it was written back last time too, so it is worth a copy. NULL: it cannot be read. */
static const uint8_t *templates(struct batch *batch, uint64_t address, bool again, struct fl_error *err)
{
  struct fl_written *written = batch->written;
  const uint8_t *copy = again ? fl_copies_page(written->copies, written->memory->template_memory, address) : NULL;

  if (copy)
    return copy;
  if (batch->room == FL_WRITTEN_ROOM && flush(batch, err) < 0)
    return NULL;
  uint8_t *room = written->room[batch->room++];
  if (pread(written->memory->template_memory, room, PAGE_BYTES, (off_t)address) == PAGE_BYTES)
    return room;
  fl_fail(err, FL_ERR_SYSTEM, EFAULT, "read_template", "page %#lx", address);
  return NULL;
}

static int write_page(struct batch *batch, uint64_t address, bool again, struct fl_error *err)
{
  static const uint8_t nothing[PAGE_BYTES];
  const uint8_t *bytes = fl_memory_saved(batch->written->memory, address);
  int r = batch->pages == BATCH_PAGES ? flush(batch, err) : 0;

  if (r == 0 && !bytes)
    bytes = is_zeroed(batch->written, address) ? nothing : templates(batch, address, again, err);
  if (r < 0 || !bytes)
    return r < 0 ? r : -EFAULT;
  struct iovec *last = batch->runs ? &batch->to[batch->runs - 1] : NULL;
  if (last && last->iov_len < RUN_PAGES * PAGE_BYTES && (uint64_t)(uintptr_t)last->iov_base + last->iov_len == address)
    last->iov_len += PAGE_BYTES;
  else
    batch->to[batch->runs++] = (struct iovec){(void *)(uintptr_t)address, PAGE_BYTES};
  batch->from[batch->pages++] = (struct iovec){(void *)bytes, PAGE_BYTES};
  return 0;
}

/* What the scan has found. Pages that were found last time as well are left unprotected, until they all cool. */
static int write_found(struct batch *batch, struct fl_memory_counts *counts, struct fl_error *err)
{
  struct fl_written *written = batch->written;
  bool cooling = written->restores++ % FL_WRITTEN_COOLING == 0;
  uint32_t passed = 0, kept = 0;
  uint64_t now[FL_WRITTEN_AGAIN_MAX];
  int r = 0;

  for (uint32_t i = 0; i < written->write.count; i++)
    for (uint64_t at = written->write.at[i].start; at < written->write.at[i].end && r == 0; at += PAGE_BYTES, counts->written++) {
      while (passed < written->last && written->last_at[passed] < at)
        passed++;
      bool again = passed < written->last && written->last_at[passed] == at;
      if (cooling || !again)
        add(&written->protect, at, at + PAGE_BYTES);
      if (kept < FL_WRITTEN_AGAIN_MAX)
        now[kept++] = at;
      r = write_page(batch, at, again, err);
    }
  memcpy(written->last_at, now, kept * sizeof now[0]);
  written->last = kept;
  return r;
}

int fl_written_put(struct fl_written *written, struct fl_memory_counts *counts, struct fl_error *err)
{
  fl_autofree struct batch *batch = malloc(sizeof *batch);

  if (!batch)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "pages");
  batch->written = written;
  batch->pages = batch->runs = batch->room = 0;
  int r = write_found(batch, counts, err);
  counts->own = counts->written;
  if (r == 0)
    r = flush(batch, err);
  return r < 0 ? r : protect(written, err);
}

/* By itself: pages may be written at the same time. */
int fl_written_put_last(const struct fl_written *written, struct fl_error *err)
{
  const struct fl_memory *memory = written->memory;
  struct iovec from[FL_REWIND_VOLATILE_MAX], to[FL_REWIND_VOLATILE_MAX];
  struct fl_written_share share = {.written = written, .from = from, .to = to};

  for (uint32_t i = 0; i < memory->changings; i++) {
    const uint8_t *bytes = fl_memory_saved(memory, memory->changing[i]);

    if (!bytes)
      continue;
    from[share.pages++] = (struct iovec){(void *)bytes, PAGE_BYTES};
    to[share.runs++] = (struct iovec){(void *)(uintptr_t)memory->changing[i], PAGE_BYTES};
  }
  write_share(&share);
  if (share.r < 0)
    *err = share.err;
  return share.r;
}
