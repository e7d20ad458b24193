/* See layout.h. Format: Documentation/filesystems/proc.rst. */
#include "rewind/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

enum { BATCH_ROOM = 8, PAGE_BYTES = 4096 };

/* Where gaps are looked for. */
#define GAP_FIRST (1ull << 37)
#define GAP_STEP (1ull << 30)
#define GAP_LAST (1ull << 46)

/* What one table of the kernel's covers; and how far the stack may come down. */
#define TABLE_BYTES (2ull << 20)
#define STACK_ROOM (64ull << 20)

#define WATCHED " uw"

/* What a private mapping without a file can be given again by madvise. */
static const struct { const char *flag; int advice; } advices[] = {
    {" dc", MADV_DONTFORK}, {" dd", MADV_DONTDUMP}, {" hg", MADV_HUGEPAGE}, {" nh", MADV_NOHUGEPAGE}, {" wf", MADV_WIPEONFORK}, {" rr", MADV_RANDOM}, {" sr", MADV_SEQUENTIAL}, {" mg", MADV_MERGEABLE}};

static int keep(struct fl_layout *layout, const char *text, uint32_t *ret_at)
{
  size_t length = strcspn(text, "\n");

  if (length + 1 > FL_LAYOUT_TEXT_MAX - layout->text_bytes)
    return -E2BIG;
  *ret_at = layout->text_bytes;
  memcpy(layout->text + layout->text_bytes, text, length);
  layout->text[layout->text_bytes + length] = 0;
  layout->text_bytes += (uint32_t)length + 1;
  return 0;
}

/* Without the one that says that it is watched (watch.h), which is ours. */
static int keep_flags(struct fl_layout *layout, char *flags, uint32_t *ret_at)
{
  char *watched = strstr(flags, WATCHED);

  if (watched)
    memmove(watched, watched + sizeof WATCHED - 1, strlen(watched + sizeof WATCHED - 1) + 1);
  return keep(layout, flags, ret_at);
}

/* Of a line that begins a mapping; other lines of smaps begin with a capital letter. */
static int parse_area(struct fl_layout *layout, const char *line, struct fl_area *ret)
{
  unsigned major, minor;
  char rights[5];
  int name_at = 0;

  *ret = (struct fl_area){0};
  if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &ret->start, &ret->end, rights, &ret->offset, &major, &minor, &ret->inode, &name_at) < 7)
    return -EPROTO;
  const char *name = line + name_at;
  ret->device = (uint64_t)major << 32 | minor;
  ret->rights = (rights[0] == 'r' ? PROT_READ : 0u) | (rights[1] == 'w' ? PROT_WRITE : 0u) | (rights[2] == 'x' ? PROT_EXEC : 0u);
  ret->shared = rights[3] == 's';
  ret->special = strncmp(name, "[v", 2) == 0;
  if (name[0] != '/')
    ret->offset = 0;
  return keep(layout, name, &ret->name);
}

int fl_layout_read(pid_t pid, bool flagged, uint64_t but_from, uint64_t but_bytes, struct fl_layout *ret, struct fl_error *err)
{
  char path[64], line[PATH_MAX + 128];
  bool skipped = false;
  int r = 0;

  ret->areas = ret->text_bytes = 0;
  ret->flagged = flagged;
  snprintf(path, sizeof path, "/proc/%d/%s", pid, flagged ? "smaps" : "maps");
  fl_autofclose FILE *maps = fopen(path, "re");
  if (!maps)
    return fl_fail_errno(err, "open_maps");
  while (r == 0 && fgets(line, sizeof line, maps)) {
    if (strncmp(line, "VmFlags:", 8) == 0) {
      r = skipped ? 0 : ret->areas ? keep_flags(ret, line + 8, &ret->area[ret->areas - 1].flags) : -EPROTO;
    } else if (line[0] < 'A' || line[0] > 'Z') {
      r = ret->areas == FL_LAYOUT_MAX ? -E2BIG : parse_area(ret, line, &ret->area[ret->areas]);
      skipped = r == 0 && ret->area[ret->areas].start - but_from < but_bytes;
      ret->areas += r == 0 && !skipped;
    }
  }
  return r < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_maps", "after %u mappings", ret->areas) : 0;
}

bool fl_layout_is_region(const struct fl_layout *layout, const struct fl_area *area)
{
  return area->start - layout->region < layout->region_bytes;
}

const struct fl_area *fl_layout_from(const struct fl_layout *layout, uint64_t address)
{
  uint32_t low = 0, high = layout->areas;

  while (low < high) {
    uint32_t middle = (low + high) / 2;

    if (layout->area[middle].end <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low < layout->areas ? &layout->area[low] : NULL;
}

uint64_t fl_layout_kernels_own(const struct fl_layout *layout)
{
  for (uint32_t i = 0; i < layout->areas; i++)
    if (layout->area[i].special)
      return layout->area[i].start;
  return 0;
}

bool fl_layout_same_thing(const struct fl_layout *one, const struct fl_area *a, const struct fl_layout *other, const struct fl_area *b)
{
  if (a->shared != b->shared || a->special != b->special || a->device != b->device || a->inode != b->inode || strcmp(one->text + a->name, other->text + b->name) != 0)
    return false;
  return a->inode == 0 || a->offset - a->start == b->offset - b->start;
}

static bool same(const struct fl_layout *one, const struct fl_area *a, const struct fl_layout *other, const struct fl_area *b)
{
  return a->rights == b->rights && fl_layout_same_thing(one, a, other, b) && (!one->flagged || !other->flagged || strcmp(one->text + a->flags, other->text + b->flags) == 0);
}

/* The kernel may have joined or split neighbours: what counts is what there is at each address. */
bool fl_layout_equal(const struct fl_layout *one, const struct fl_layout *other)
{
  const struct fl_area *a = one->area, *b = other->area, *a_end = a + one->areas, *b_end = b + other->areas;
  uint64_t at = 0;

  while (a < a_end && b < b_end) {
    uint64_t a_start = a->start > at ? a->start : at, b_start = b->start > at ? b->start : at;

    if (a_start != b_start || !same(one, a, other, b))
      return false;
    at = a->end < b->end ? a->end : b->end;
    a += a->end == at;
    b += b->end == at;
  }
  return a == a_end && b == b_end;
}

static bool is_free(const struct fl_layout *layout, uint64_t start, uint64_t bytes)
{
  const struct fl_area *area = fl_layout_from(layout, start);

  return !area || area->start >= start + bytes;
}

/* Behind the last mapping below the stack, the program's loader most often: mappings are made by themselves below it. There the kernel has its tables already, if need be all but one. */
static uint64_t below_stack(const struct fl_layout *layout, uint64_t bytes)
{
  for (uint32_t i = 1; i < layout->areas; i++) {
    uint64_t at = layout->area[i - 1].end + PAGE_BYTES, table = (at + TABLE_BYTES - 1) & ~(TABLE_BYTES - 1);

    if (strcmp(layout->text + layout->area[i].name, "[stack]") != 0)
      continue;
    at = at + bytes <= table ? at : table;
    return layout->area[i].start > at + bytes + STACK_ROOM ? at : 0;
  }
  return 0;
}

uint64_t fl_layout_gap(const struct fl_layout *layout, uint64_t bytes)
{
  uint64_t near = bytes <= TABLE_BYTES ? below_stack(layout, bytes) : 0;

  if (near)
    return near;
  for (uint64_t at = GAP_FIRST; at < GAP_LAST; at += GAP_STEP)
    if (is_free(layout, at, bytes))
      return at;
  return 0;
}

struct repair {
  const struct fl_layout *now, *then;
  struct fl_batch *batch;
  uint32_t calls;
};

static int flush(struct repair *repair, struct fl_error *err)
{
  int r = repair->batch->calls ? fl_batch_run(repair->batch, 0, err) : 0;

  repair->calls += repair->batch->calls;
  fl_batch_begin(repair->batch);
  if (r == 0 && repair->calls > FL_LAYOUT_REPAIRS_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "more than %d mappings have changed", FL_LAYOUT_REPAIRS_MAX);
  return r;
}

static int map_file(struct repair *repair, const struct fl_area *area, uint64_t start, uint64_t end, struct fl_error *err)
{
  const char *path = repair->then->text + area->name;
  int r = flush(repair, err);

  if (r < 0)
    return r;
  uint64_t at = fl_batch_memory(repair->batch, path, strlen(path) + 1);
  uint32_t opened = fl_batch_add(repair->batch, SYS_open, at, O_RDONLY | O_CLOEXEC, 0, 0, 0);
  if ((r = fl_batch_run(repair->batch, 0, err)) < 0)
    return r;
  int64_t fd = repair->batch->call[opened].result;
  fl_batch_begin(repair->batch);
  if (fd < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-fd, "rewind", "%.80s is not there any more", path);
  struct fl_batch_call *call = &repair->batch->call[fl_batch_add(repair->batch, SYS_mmap, start, end - start, area->rights, MAP_FIXED | (area->shared ? MAP_SHARED : MAP_PRIVATE), (uint64_t)fd)];
  call->argument[5] = area->offset + (start - area->start);
  fl_batch_add(repair->batch, SYS_close, (uint64_t)fd, 0, 0, 0, 0);
  return 0;
}

static int map_again(struct repair *repair, const struct fl_area *area, uint64_t start, uint64_t end, struct fl_error *err)
{
  const char *flags = repair->then->text + area->flags;

  if (area->inode)
    return map_file(repair, area, start, end, err);
  fl_batch_add(repair->batch, SYS_mmap, start, end - start, area->rights, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | (strstr(flags, " nr") ? MAP_NORESERVE : 0), (uint64_t)-1);
  for (size_t i = 0; i < FL_COUNT(advices); i++)
    if (strstr(flags, advices[i].flag))
      fl_batch_add(repair->batch, SYS_madvise, start, end - start, (uint64_t)advices[i].advice, 0, 0);
  return 0;
}

/* A stretch in which neither has a mapping's border. */
static int repair_stretch(struct repair *repair, const struct fl_area *now, const struct fl_area *then, uint64_t start, uint64_t end, struct fl_error *err)
{
  if (!then)
    fl_batch_add(repair->batch, SYS_munmap, start, end - start, 0, 0, 0);
  else if (now && same(repair->now, now, repair->then, then))
    return 0;
  else if (then->special || (then->shared && !then->inode))
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "%.40s at %#lx was changed", repair->then->text + then->name, start);
  else if (now && fl_layout_same_thing(repair->now, now, repair->then, then) && strcmp(repair->now->text + now->name, "[heap]") == 0)
    fl_batch_add(repair->batch, SYS_mprotect, start, end - start, then->rights, 0, 0);
  else if (now && now->rights != then->rights && fl_layout_same_thing(repair->now, now, repair->then, then) && then->inode)
    fl_batch_add(repair->batch, SYS_mprotect, start, end - start, then->rights, 0, 0);
  else {
    int r = map_again(repair, then, start, end, err);
    if (r < 0)
      return r;
  }
  return repair->batch->calls + BATCH_ROOM + FL_COUNT(advices) > FL_BATCH_CALLS_MAX ? flush(repair, err) : 0;
}

int fl_layout_repair(const struct fl_layout *now, const struct fl_layout *then, struct fl_batch *batch, uint32_t *ret_repairs, struct fl_error *err)
{
  struct repair repair = {now, then, batch, 0};
  uint64_t at = 0;
  int r = 0;

  fl_batch_begin(batch);
  for (;;) {
    const struct fl_area *a = fl_layout_from(now, at), *b = fl_layout_from(then, at);
    uint64_t start, end;

    if (r < 0 || (!a && !b))
      break;
    if (a && a->start > at && !(b && b->start <= at)) {
      at = b && b->start < a->start ? b->start : a->start;
      continue;
    }
    if (!a && b->start > at) {
      at = b->start;
      continue;
    }
    start = at;
    bool in_now = a && a->start <= at, in_then = b && b->start <= at;
    end = UINT64_MAX;
    if (a)
      end = in_now ? a->end : a->start;
    if (b && (in_then ? b->end : b->start) < end)
      end = in_then ? b->end : b->start;
    r = repair_stretch(&repair, in_now ? a : NULL, in_then ? b : NULL, start, end, err);
    at = end;
  }
  if (r == 0)
    r = flush(&repair, err);
  *ret_repairs = repair.calls;
  return r;
}
