/* See difference.h. */
#include "snapshot/difference.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "snapshot/mappings.h"
#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096, BATCH_PAGES = 512 };

/* Where homes are looked for, and how far apart. */
#define HOME_FIRST (1ull << 37)
#define HOME_STEP (1ull << 30)
#define HOME_LAST (1ull << 46)
/* Of an inaccessible mapping, more than this is an address-space reservation. */
#define INACCESSIBLE_BYTES_MAX (64ull << 20)

struct side { struct fl_mappings mappings; int memory, pagemap; };

struct survey {
  struct side old, new;
  uint64_t reserved, reserved_end;
  int image;
  struct fl_difference *to;
};

/* A stretch in which neither process has a mapping's border. */
struct stretch { uint64_t start, end; const struct fl_mapping *old, *new; bool kept; };

static int open_side(pid_t pid, struct side *ret, struct fl_error *err)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  ret->memory = open(path, O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
  ret->pagemap = open(path, O_RDONLY | O_CLOEXEC);
  if (ret->memory < 0 || ret->pagemap < 0)
    return fl_fail_errno(err, "open_memory");
  return fl_mappings_read(pid, &ret->mappings, err);
}

static void close_side(struct side *side)
{
  fl_close(&side->memory);
  fl_close(&side->pagemap);
  fl_mappings_free(&side->mappings);
}

static struct fl_image_op *last_op(struct survey *survey)
{
  return survey->to->ops ? &survey->to->op[survey->to->ops - 1] : NULL;
}

/* Joined with the one before it where that makes no difference. */
static int add(struct survey *survey, struct fl_image_op op, struct fl_error *err)
{
  struct fl_image_op *last = last_op(survey);
  bool joins = last && last->kind == op.kind && last->rights == op.rights && last->start + last->bytes == op.start;

  if (op.kind == FL_IMAGE_PAGES)
    joins = joins && last->offset + last->bytes == op.offset;
  if (op.kind == FL_IMAGE_FILE)
    joins = joins && last->path == op.path && last->offset + last->bytes == op.offset;
  if (joins) {
    last->bytes += op.bytes;
    return 0;
  }
  if (survey->to->ops == FL_IMAGE_OPS_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "freeze", "more than %d differences", FL_IMAGE_OPS_MAX);
  survey->to->op[survey->to->ops++] = op;
  return 0;
}

static int add_page(struct survey *survey, uint64_t address, const uint8_t *bytes, struct fl_error *err)
{
  uint64_t offset = FL_IMAGE_TABLE_BYTES_MAX + (uint64_t)survey->to->pages * PAGE_BYTES;

  if (survey->to->pages == FL_IMAGE_PAGES_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "freeze", "the function's own memory has more than %d pages", FL_IMAGE_PAGES_MAX);
  if (pwrite(survey->image, bytes, PAGE_BYTES, (off_t)offset) != PAGE_BYTES)
    return fl_fail_errno(err, "write_image");
  survey->to->pages++;
  return add(survey, (struct fl_image_op){.kind = FL_IMAGE_PAGES, .start = address, .bytes = PAGE_BYTES, .offset = offset}, err);
}

static bool is_private(uint64_t entry)
{
  return (entry & FL_PAGEMAP_SWAPPED) || ((entry & FL_PAGEMAP_PRESENT) && !(entry & FL_PAGEMAP_FILE));
}

static bool is_same_frame(uint64_t one, uint64_t other)
{
  return (one & FL_PAGEMAP_PRESENT) && (other & FL_PAGEMAP_PRESENT) && (one & FL_PAGEMAP_FRAME) == (other & FL_PAGEMAP_FRAME);
}

/* What the page would hold without us: the template's, or what a new mapping holds. False: not known. */
static bool read_base(const struct survey *survey, const struct stretch *stretch, uint64_t address, uint8_t *ret_bytes)
{
  memset(ret_bytes, 0, PAGE_BYTES);
  if (stretch->kept)
    return pread(survey->old.memory, ret_bytes, PAGE_BYTES, (off_t)address) == PAGE_BYTES;
  return stretch->new->backing == FL_ANONYMOUS;
}

static int compare_page(struct survey *survey, const struct stretch *stretch, uint64_t address, uint64_t old, uint64_t new, struct fl_error *err)
{
  uint8_t bytes[PAGE_BYTES], base[PAGE_BYTES];

  if (!is_private(new))
    return stretch->kept && is_private(old) ? add(survey, (struct fl_image_op){.kind = FL_IMAGE_DROP, .start = address, .bytes = PAGE_BYTES}, err) : 0;
  if (stretch->kept && is_same_frame(old, new))
    return 0;
  if (pread(survey->new.memory, bytes, PAGE_BYTES, (off_t)address) != PAGE_BYTES)
    return fl_fail_errno(err, "read_memory");
  return read_base(survey, stretch, address, base) && memcmp(bytes, base, PAGE_BYTES) == 0 ? 0 : add_page(survey, address, bytes, err);
}

static int compare_pages(struct survey *survey, const struct stretch *stretch, struct fl_error *err)
{
  uint64_t old[BATCH_PAGES], new[BATCH_PAGES];
  int r = 0;

  for (uint64_t at = stretch->start; at < stretch->end && r == 0; at += BATCH_PAGES * PAGE_BYTES) {
    size_t pages = (stretch->end - at) / PAGE_BYTES < BATCH_PAGES ? (stretch->end - at) / PAGE_BYTES : BATCH_PAGES;
    ssize_t size = (ssize_t)(pages * sizeof old[0]);
    off_t offset = (off_t)(at / PAGE_BYTES * sizeof old[0]);

    memset(old, 0, sizeof old);
    if (pread(survey->new.pagemap, new, (size_t)size, offset) != size || (stretch->kept && pread(survey->old.pagemap, old, (size_t)size, offset) != size))
      return fl_fail_errno(err, "read_pagemap");
    for (size_t i = 0; i < pages && r == 0; i++)
      r = compare_page(survey, stretch, at + i * PAGE_BYTES, old[i], new[i], err);
  }
  return r;
}

static int copy_path(struct survey *survey, const struct fl_mapping *mapping, uint32_t *ret_at, struct fl_error *err)
{
  const char *path = survey->new.mappings.paths + mapping->path;
  size_t bytes = strlen(path) + 1;
  char *grown = realloc(survey->to->paths, survey->to->paths_bytes + bytes);

  if (!grown)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "paths");
  memcpy(grown + survey->to->paths_bytes, path, bytes);
  *ret_at = (uint32_t)survey->to->paths_bytes;
  survey->to->paths = grown;
  survey->to->paths_bytes += bytes;
  return 0;
}

static int map(struct survey *survey, const struct stretch *stretch, struct fl_error *err)
{
  const struct fl_mapping *new = stretch->new;
  struct fl_image_op op = {.kind = FL_IMAGE_ANONYMOUS, .rights = new->rights, .start = stretch->start, .bytes = stretch->end - stretch->start};
  int r = 0;

  if (new->shared || (new->backing == FL_FILE && strstr(survey->new.mappings.paths + new->path, " (deleted)")))
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "the function maps shared or deleted memory at %#lx", new->start);
  if (new->backing == FL_FILE) {
    op.kind = FL_IMAGE_FILE;
    op.offset = new->offset + (stretch->start - new->start);
    r = copy_path(survey, new, &op.path, err);
  }
  return r < 0 ? r : add(survey, op, err);
}

/* Pages can be filled only where one may write. */
static int fill(struct survey *survey, const struct stretch *stretch, uint32_t rights, struct fl_error *err)
{
  struct fl_image_op open = {.kind = FL_IMAGE_RIGHTS, .rights = rights | PROT_READ | PROT_WRITE, .start = stretch->start, .bytes = stretch->end - stretch->start};
  struct fl_image_op closed = open;
  uint32_t before = survey->to->ops, pages = survey->to->pages;
  int r = rights & PROT_WRITE ? 0 : add(survey, open, err);

  closed.rights = stretch->new->rights;
  if (r == 0)
    r = compare_pages(survey, stretch, err);
  if (r == 0 && !(rights & PROT_WRITE) && survey->to->pages == pages && survey->to->ops == before + 1)
    survey->to->ops = before;                  /* nothing to fill */
  else if (r == 0 && !(rights & PROT_WRITE))
    return add(survey, closed, err);
  return r == 0 && rights != closed.rights ? add(survey, closed, err) : r;
}

static int compare_stretch(struct survey *survey, struct stretch *stretch, struct fl_error *err)
{
  const struct fl_mapping *old = stretch->old, *new = stretch->new;
  int r = 0;

  stretch->kept = fl_mappings_same(old, new);
  if (stretch->start >= survey->reserved && stretch->end <= survey->reserved_end)
    return new && new->backing == FL_ANONYMOUS && !new->shared && new->rights == PROT_NONE
               ? 0 : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "the function uses reserved memory at %#lx", stretch->start);
  if (!new)
    return old && old->backing != FL_KERNEL ? add(survey, (struct fl_image_op){.kind = FL_IMAGE_UNMAP, .start = stretch->start, .bytes = stretch->end - stretch->start}, err) : 0;
  if (new->backing == FL_KERNEL)
    return 0;
  if (stretch->kept && new->shared)
    return old->rights == new->rights ? 0 : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "the function changed shared memory at %#lx", new->start);
  if (!stretch->kept && !(new->grows && !old))
    r = map(survey, stretch, err);
  if (r < 0 || (new->rights == PROT_NONE && stretch->end - stretch->start > INACCESSIBLE_BYTES_MAX && !stretch->kept))
    return r;
  return fill(survey, stretch, stretch->kept ? old->rights : new->rights, err);
}

static int ascending(const void *a, const void *b)
{
  uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

  return one < other ? -1 : one > other;
}

static size_t add_borders(uint64_t *border, size_t count, const struct fl_mappings *mappings)
{
  for (uint32_t i = 0; i < mappings->count; i++) {
    border[count++] = mappings->mapping[i].start;
    border[count++] = mappings->mapping[i].end;
  }
  return count;
}

static int compare(struct survey *survey, struct fl_error *err)
{
  fl_autofree uint64_t *border = calloc(2 * (size_t)(survey->old.mappings.count + survey->new.mappings.count) + 2, sizeof *border);
  size_t count = 0;
  int r = 0;

  if (!border)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "borders");
  count = add_borders(border, add_borders(border, count, &survey->old.mappings), &survey->new.mappings);
  border[count++] = survey->reserved;
  border[count++] = survey->reserved_end;
  qsort(border, count, sizeof *border, ascending);
  for (size_t i = 0; i + 1 < count && r == 0; i++) {
    struct stretch stretch = {border[i], border[i + 1], fl_mappings_at(&survey->old.mappings, border[i]), fl_mappings_at(&survey->new.mappings, border[i]), false};

    if (stretch.start < stretch.end && (stretch.old || stretch.new))
      r = compare_stretch(survey, &stretch, err);
  }
  return r;
}

static bool is_free(const struct fl_mappings *mappings, uint64_t start, uint64_t end)
{
  for (uint32_t i = 0; i < mappings->count; i++)
    if (mappings->mapping[i].start < end && start < mappings->mapping[i].end)
      return false;
  return true;
}

static int find_home(struct survey *survey, struct fl_error *err)
{
  for (uint64_t home = HOME_FIRST; home < HOME_LAST; home += HOME_STEP)
    if (is_free(&survey->old.mappings, home, home + FL_IMAGE_TABLE_BYTES_MAX) && is_free(&survey->new.mappings, home, home + FL_IMAGE_TABLE_BYTES_MAX)) {
      survey->to->home = home;
      return 0;
    }
  return fl_fail(err, FL_ERR_UNSUPPORTED, ENOMEM, "freeze", "no room in the address space");
}

int fl_difference_find(pid_t template, pid_t fork, uint64_t reserved, uint64_t reserved_bytes, int image_fd, struct fl_difference *ret, struct fl_error *err)
{
  fl_autofree struct survey *survey = calloc(1, sizeof *survey);

  if (!survey)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "survey");
  survey->old = survey->new = (struct side){.memory = -1, .pagemap = -1};
  survey->reserved = reserved;
  survey->reserved_end = reserved + reserved_bytes;
  survey->image = image_fd;
  survey->to = ret;
  int r = open_side(template, &survey->old, err);
  if (r == 0)
    r = open_side(fork, &survey->new, err);
  if (r == 0)
    r = find_home(survey, err);
  if (r == 0)
    r = compare(survey, err);
  close_side(&survey->old);
  close_side(&survey->new);
  return r;
}

void fl_difference_free(struct fl_difference *difference)
{
  free(difference->paths);
  difference->paths = NULL;
}
