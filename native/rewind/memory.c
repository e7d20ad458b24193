/* See memory.h. Format of the page maps: Documentation/admin-guide/mm/pagemap.rst */
#include "rewind/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096, BATCH_PAGES = 512, SCANNED_FROM = 2 << 20, RUN_PAGES = 64 };

enum expected { UNTOUCHED, TEMPLATES, SAVED };

struct page { uint64_t address, old, new; const struct fl_area *area; bool kept; };

/* A walk over all pages that either process has of the instance's private mappings. */
struct walk {
  struct fl_memory *memory;
  int pages, content;                          /* of the instance */
  struct fl_memory_counts *counts;
  int (*visit)(struct walk *walk, const struct page *page, struct fl_error *err);
  fl_memory_visit each;
  void *context;
  uint64_t found;                              /* the first page that is not what it was, and what that is */
  const char *found_as;
  uint64_t run_at;                             /* pages to be written together */
  uint32_t run;
  uint8_t *run_bytes;                          /* room for RUN_PAGES */
};

static int open_proc(pid_t pid, const char *name, int flags, struct fl_error *err)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, flags | O_CLOEXEC);
  return fd < 0 ? fl_fail(err, FL_ERR_SYSTEM, errno, "open_memory", "%s", path) : fd;
}

static bool is_private(uint64_t entry)
{
  return (entry & FL_PAGEMAP_SWAPPED) || ((entry & FL_PAGEMAP_PRESENT) && !(entry & FL_PAGEMAP_FILE));
}

/* More than one process has it, and the template is one of them. */
static bool is_shared(const struct page *page)
{
  return page->kept && (page->new & FL_PAGEMAP_PRESENT) && (page->old & FL_PAGEMAP_PRESENT) && !(page->new & FL_PAGEMAP_EXCLUSIVE) && (page->new & FL_PAGEMAP_FRAME) &&
         (page->new & FL_PAGEMAP_FRAME) == (page->old & FL_PAGEMAP_FRAME);
}

uint32_t fl_memory_first(const uint64_t *addresses, uint32_t count, uint64_t address)
{
  uint32_t low = 0, high = count;

  while (low < high) {
    uint32_t middle = (low + high) / 2;

    if (addresses[middle] < address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

const uint8_t *fl_memory_saved(const struct fl_memory *memory, uint64_t address)
{
  uint32_t at = fl_memory_first(memory->saved_at, memory->saved, address);

  return at < memory->saved && memory->saved_at[at] == address ? memory->saved_bytes + (size_t)at * PAGE_BYTES : NULL;
}

/* Whether any page between the two addresses, of either process or saved, may need a look. Kernels that cannot tell: always. */
static uint64_t next_populated(int pages, uint64_t start, uint64_t end)
{
  uint64_t found = end;

  return fl_pagemap_next(pages, start, end, &found) < 0 ? start : found;
}

static int walk_pages(struct walk *walk, const struct fl_area *area, uint64_t start, uint64_t end, bool kept, struct fl_error *err)
{
  uint64_t old[BATCH_PAGES], new[BATCH_PAGES];
  int r = 0;

  for (uint64_t at = start; at < end && r == 0;) {
    if (end - start >= SCANNED_FROM) {
      uint64_t instance = next_populated(walk->pages, at, end), template = kept ? next_populated(walk->memory->template_pages, at, end) : end;

      at = instance < template ? instance : template;
      if (at >= end)
        break;
    }
    size_t count = (end - at) / PAGE_BYTES < BATCH_PAGES ? (end - at) / PAGE_BYTES : BATCH_PAGES;
    ssize_t size = (ssize_t)(count * sizeof new[0]);
    off_t offset = (off_t)(at / PAGE_BYTES * sizeof new[0]);

    memset(old, 0, sizeof old);
    if (pread(walk->pages, new, (size_t)size, offset) != size || (kept && pread(walk->memory->template_pages, old, (size_t)size, offset) != size))
      return fl_fail_errno(err, "read_pagemap");
    for (size_t i = 0; i < count && r == 0; i++)
      if (is_private(new[i]) || is_private(old[i]))
        r = walk->visit(walk, &(struct page){at + i * PAGE_BYTES, old[i], new[i], area, kept}, err);
    at += count * PAGE_BYTES;
  }
  return r;
}

static int walk_area(struct walk *walk, const struct fl_area *area, struct fl_error *err)
{
  const struct fl_memory *memory = walk->memory;
  int r = 0;

  for (uint64_t at = area->start; at < area->end && r == 0;) {
    const struct fl_area *base = fl_layout_from(memory->base, at);
    bool covered = base && base->start <= at;
    uint64_t end = covered ? base->end : base ? base->start : area->end;

    end = end < area->end ? end : area->end;
    r = walk_pages(walk, area, at, end, covered && fl_layout_same_thing(memory->base, base, memory->layout, area), err);
    at = end;
  }
  return r;
}

bool fl_memory_is_private(const struct fl_layout *layout, const struct fl_area *area)
{
  return !area->shared && !fl_layout_is_region(layout, area) && (!area->special || strcmp(layout->text + area->name, "[vdso]") == 0);
}

static int walk_all(struct walk *walk, struct fl_error *err)
{
  const struct fl_layout *layout = walk->memory->layout;
  int r = walk->pages = open_proc(walk->memory->instance, "pagemap", O_RDONLY, err);

  if (r >= 0)
    r = walk->content = open_proc(walk->memory->instance, "mem", O_RDWR, err);
  r = r < 0 ? r : 0;
  for (uint32_t i = 0; i < layout->areas && r == 0; i++)
    if (fl_memory_is_private(layout, &layout->area[i]))
      r = walk_area(walk, &layout->area[i], err);
  return r;
}

static void end_walk(struct walk *walk)
{
  fl_close(&walk->pages);
  fl_close(&walk->content);
}

static int read_page(int memory, uint64_t address, uint8_t *ret, struct fl_error *err)
{
  ssize_t got = pread(memory, ret, PAGE_BYTES, (off_t)address);

  return got == PAGE_BYTES ? 0 : fl_fail(err, FL_ERR_UNSUPPORTED, got < 0 ? errno : EFAULT, "read_memory", "page %#lx", address);
}

/* --- the snapshot --- */

static int save_page(struct fl_memory *memory, uint64_t address, const uint8_t *bytes, struct fl_error *err)
{
  if (memory->saved == FL_REWIND_SAVED_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "snapshot", "more than %d pages differ from the template's", FL_REWIND_SAVED_MAX);
  memory->saved_at[memory->saved] = address;
  memcpy(memory->saved_bytes + (size_t)memory->saved++ * PAGE_BYTES, bytes, PAGE_BYTES);
  return 0;
}

void fl_memory_changes_at(struct fl_memory *memory, uint64_t address, uint64_t bytes)
{
  for (uint64_t page = address & ~(uint64_t)(PAGE_BYTES - 1); bytes && page < address + bytes && memory->changings < FL_REWIND_VOLATILE_MAX; page += PAGE_BYTES)
    memory->changing[memory->changings++] = page;
}

static bool changes(const struct fl_memory *memory, uint64_t address)
{
  for (uint32_t i = 0; i < memory->changings; i++)
    if (memory->changing[i] == address)
      return true;
  return false;
}

static int visit_to_save(struct walk *walk, const struct page *page, struct fl_error *err)
{
  uint8_t now[PAGE_BYTES], before[PAGE_BYTES] = {0};
  bool constant = !changes(walk->memory, page->address), templates = page->kept && is_private(page->old), known = constant && (templates || page->area->inode == 0);

  if (constant && is_shared(page))
    return 0;
  int r = read_page(walk->content, page->address, now, err);
  if (r == 0 && templates)
    r = read_page(walk->memory->template_memory, page->address, before, err);
  return r < 0 || (known && memcmp(now, before, PAGE_BYTES) == 0) ? r : save_page(walk->memory, page->address, now, err);
}

/* Of which no more is in memory than is used. */
static void *reserve(size_t bytes)
{
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int fl_memory_save(struct fl_memory *memory, struct fl_error *err)
{
  struct walk walk = {.memory = memory, .pages = -1, .content = -1, .visit = visit_to_save};

  memory->saved_at = reserve(FL_REWIND_SAVED_MAX * sizeof *memory->saved_at);
  memory->saved_bytes = reserve((size_t)FL_REWIND_SAVED_MAX * PAGE_BYTES);
  if (memory->saved_at == MAP_FAILED || memory->saved_bytes == MAP_FAILED)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "saved pages");
  int r = memory->template_memory = open_proc(memory->template, "mem", O_RDONLY, err);
  if (r >= 0)
    r = memory->template_pages = open_proc(memory->template, "pagemap", O_RDONLY, err);
  r = r < 0 ? r : walk_all(&walk, err);
  end_walk(&walk);
  return r;
}

static int visit_kept(struct walk *walk, const struct page *page, struct fl_error *err)
{
  return page->kept && is_private(page->old) && !fl_memory_saved(walk->memory, page->address) ? walk->each(walk->context, page->address, err) : 0;
}

int fl_memory_each_kept(struct fl_memory *memory, fl_memory_visit visit, void *context, struct fl_error *err)
{
  struct walk walk = {.memory = memory, .pages = -1, .content = -1, .visit = visit_kept, .each = visit, .context = context};
  int r = walk_all(&walk, err);

  end_walk(&walk);
  return r;
}

/* --- the restore --- */

static enum expected expected_of(const struct walk *walk, const struct page *page, const uint8_t **ret_saved)
{
  *ret_saved = fl_memory_saved(walk->memory, page->address);
  return *ret_saved ? SAVED : page->kept && is_private(page->old) ? TEMPLATES : UNTOUCHED;
}

int fl_memory_add_drop(struct fl_memory *memory, uint64_t start, uint64_t end, struct fl_error *err)
{
  if (memory->drops && memory->drop[memory->drops - 1].end == start) {
    memory->drop[memory->drops - 1].end = end;
    return 0;
  }
  if (memory->drops == FL_REWIND_DROPS_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "more than %d stretches of new memory", FL_REWIND_DROPS_MAX);
  memory->drop[memory->drops].start = start;
  memory->drop[memory->drops++].end = end;
  return 0;
}

static int visit_to_drop(struct walk *walk, const struct page *page, struct fl_error *err)
{
  const uint8_t *saved;

  if (!is_private(page->new) || expected_of(walk, page, &saved) != UNTOUCHED)
    return 0;
  walk->counts->dropped++;
  return fl_memory_add_drop(walk->memory, page->address, page->address + PAGE_BYTES, err);
}

int fl_memory_run_drops(struct fl_memory *memory, struct fl_batch *batch, struct fl_error *err)
{
  int r = 0;

  for (uint32_t i = 0; i < memory->drops && r == 0;) {
    fl_batch_begin(batch);
    fl_batch_add(batch, SYS_munlockall, 0, 0, 0, 0, 0);      /* what is locked into place is not dropped */
    for (; i < memory->drops && batch->calls < FL_BATCH_CALLS_MAX; i++)
      fl_batch_add(batch, SYS_madvise, memory->drop[i].start, memory->drop[i].end - memory->drop[i].start, MADV_DONTNEED, 0, 0);
    r = fl_batch_run(batch, 0, err);
    for (uint32_t call = 0; call < batch->calls && r == 0; call++)
      if (batch->call[call].result < 0)
        r = fl_fail(err, FL_ERR_UNSUPPORTED, (int)-batch->call[call].result, "rewind", "memory at %#lx cannot be dropped", batch->call[call].argument[0]);
  }
  return r;
}

int fl_memory_drop(struct fl_memory *memory, struct fl_batch *batch, struct fl_memory_counts *counts, struct fl_error *err)
{
  struct walk walk = {.memory = memory, .pages = -1, .content = -1, .counts = counts, .visit = visit_to_drop};

  memory->drops = 0;
  int r = walk_all(&walk, err);
  end_walk(&walk);
  return r < 0 ? r : fl_memory_run_drops(memory, batch, err);
}

static int flush_run(struct walk *walk, struct fl_error *err)
{
  ssize_t size = (ssize_t)walk->run * PAGE_BYTES;

  if (walk->run && pwrite(walk->content, walk->run_bytes, (size_t)size, (off_t)walk->run_at) != size)
    return fl_fail(err, FL_ERR_SYSTEM, errno, "write_memory", "%u pages at %#lx", walk->run, walk->run_at);
  walk->counts->written += walk->run;
  walk->run = 0;
  return 0;
}

static int write_page(struct walk *walk, uint64_t address, const uint8_t *bytes, struct fl_error *err)
{
  if (walk->run == RUN_PAGES || (walk->run && walk->run_at + (uint64_t)walk->run * PAGE_BYTES != address)) {
    int r = flush_run(walk, err);
    if (r < 0)
      return r;
  }
  if (walk->run == 0)
    walk->run_at = address;
  memcpy(walk->run_bytes + (size_t)walk->run++ * PAGE_BYTES, bytes, PAGE_BYTES);
  return 0;
}

static int visit_to_write(struct walk *walk, const struct page *page, struct fl_error *err)
{
  uint8_t now[PAGE_BYTES], before[PAGE_BYTES];
  const uint8_t *saved;
  enum expected expected = expected_of(walk, page, &saved);

  if (expected == SAVED)                       /* all of them are looked at together */
    return 0;
  if (expected == UNTOUCHED)
    return is_private(page->new) ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "page %#lx is there again", page->address) : 0;
  if (is_shared(page))
    return 0;
  if (++walk->counts->own > FL_REWIND_OWN_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "more than %d pages are its own", FL_REWIND_OWN_MAX);
  int r = read_page(walk->content, page->address, now, err);
  if (r == 0)
    r = read_page(walk->memory->template_memory, page->address, before, err);
  return r < 0 || memcmp(now, before, PAGE_BYTES) == 0 ? r : write_page(walk, page->address, before, err);
}

static int write_saved(struct walk *walk, struct fl_error *err)
{
  const struct fl_memory *memory = walk->memory;
  uint8_t now[PAGE_BYTES];
  int r = 0;

  for (uint32_t i = 0; i < memory->saved && r == 0; i++) {
    const uint8_t *bytes = memory->saved_bytes + (size_t)i * PAGE_BYTES;

    walk->counts->own++;
    r = read_page(walk->content, memory->saved_at[i], now, err);
    if (r == 0 && memcmp(now, bytes, PAGE_BYTES) != 0)
      r = write_page(walk, memory->saved_at[i], bytes, err);
  }
  return r;
}

int fl_memory_write(struct fl_memory *memory, struct fl_memory_counts *counts, struct fl_error *err)
{
  fl_autofree uint8_t *run_bytes = malloc(RUN_PAGES * PAGE_BYTES);
  struct walk walk = {.memory = memory, .pages = -1, .content = -1, .counts = counts, .visit = visit_to_write, .run_bytes = run_bytes};

  if (!run_bytes)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "pages");
  int r = walk_all(&walk, err);
  if (r == 0)
    r = write_saved(&walk, err);
  if (r == 0)
    r = flush_run(&walk, err);
  end_walk(&walk);
  return r;
}

/* --- the proof --- */

static int visit_to_compare(struct walk *walk, const struct page *page, struct fl_error *err)
{
  uint8_t now[PAGE_BYTES], before[PAGE_BYTES] = {0};
  const uint8_t *saved;
  enum expected expected = expected_of(walk, page, &saved);

  if (walk->found || expected == SAVED)
    return 0;
  if (expected == UNTOUCHED && page->area->inode) {             /* a file's page, and this is a copy of it */
    walk->found = page->address;
    walk->found_as = "a file's";
    return 0;
  }
  int r = read_page(walk->content, page->address, now, err);
  if (r == 0 && expected == TEMPLATES)
    r = read_page(walk->memory->template_memory, page->address, before, err);
  if (r == 0 && memcmp(now, before, PAGE_BYTES) != 0) {
    walk->found = page->address;
    walk->found_as = expected == TEMPLATES ? "the template's" : "empty";
  }
  return r;
}

int fl_memory_compare(struct fl_memory *memory, struct fl_error *err)
{
  struct walk walk = {.memory = memory, .pages = -1, .content = -1, .visit = visit_to_compare};
  uint8_t now[PAGE_BYTES];
  int r = walk_all(&walk, err);

  for (uint32_t i = 0; i < memory->saved && r == 0 && !walk.found; i++) {
    r = read_page(walk.content, memory->saved_at[i], now, err);
    if (r == 0 && memcmp(now, memory->saved_bytes + (size_t)i * PAGE_BYTES, PAGE_BYTES) != 0) {
      walk.found = memory->saved_at[i];
      walk.found_as = "its own";
    }
  }
  end_walk(&walk);
  return r == 0 && walk.found ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "verify", "memory at %#lx, which was %s: not as it was", walk.found, walk.found_as) : r;
}
