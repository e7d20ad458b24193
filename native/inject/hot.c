/* See hot.h. Format of the page maps: Documentation/admin-guide/mm/pagemap.rst */
#include "inject/hot.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"

/*
 * A fault on a file's page maps its neighbours too, as many as a window has, from the window's start or the mapping's on, not beyond a page table (do_fault_around in mm/memory.c):
 * one page brings them all.
 */
enum { PAGE_BYTES = 4096, BATCH_PAGES = 512, MAPPINGS_MAX = 1024, WINDOW_BYTES = 64 << 10, PAGE_TABLE_BYTES = 2 << 20 };

struct range { uint64_t start, end; };
struct mappings { uint32_t count; struct range range[MAPPINGS_MAX]; };

static FILE *open_maps(pid_t pid)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/maps", pid);
  return fopen(path, "re");
}

static int open_pagemap(pid_t pid)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static int read_mappings(pid_t pid, struct mappings *ret)
{
  char line[4352];
  fl_autofclose FILE *maps = open_maps(pid);

  if (!maps)
    return -1;
  ret->count = 0;
  while (ret->count < MAPPINGS_MAX && fgets(line, sizeof line, maps))
    ret->count += sscanf(line, "%lx-%lx", &ret->range[ret->count].start, &ret->range[ret->count].end) == 2;
  return 0;
}

static bool mapped(const struct mappings *mappings, uint64_t address)
{
  for (uint32_t i = 0; i < mappings->count; i++)
    if (mappings->range[i].start <= address && address < mappings->range[i].end)
      return true;
  return false;
}

/* Where what a fault at the address brings ends. */
static uint64_t brought_until(uint64_t mapping, uint64_t address)
{
  uint64_t window = address & ~(uint64_t)(WINDOW_BYTES - 1), table_end = (address | (PAGE_TABLE_BYTES - 1)) + 1;
  uint64_t end = (window > mapping ? window : mapping) + WINDOW_BYTES;

  return end < table_end ? end : table_end;
}

static void add_page(struct fl_hot_runs *runs, uint64_t address)
{
  struct iovec *last = runs->runs ? &runs->run[runs->runs - 1] : NULL;
  uint64_t end = last ? (uint64_t)(uintptr_t)last->iov_base + last->iov_len : 0;

  if (runs->pages == FL_HOT_PAGES_MAX)
    return;
  if (last && address == end)
    last->iov_len += PAGE_BYTES;
  else if (runs->runs == FL_HOT_RUNS_MAX)
    return;
  else
    runs->run[runs->runs++] = (struct iovec){(void *)(uintptr_t)address, PAGE_BYTES};
  runs->pages++;
}

static void compare_page(uint64_t address, uint64_t old, uint64_t new, bool file, struct fl_hot *hot)
{
  if (!(new & FL_PAGEMAP_PRESENT))
    return;
  if (!(old & FL_PAGEMAP_PRESENT)) {
    add_page(&hot->fresh, address);
  } else if ((old & FL_PAGEMAP_FRAME) != (new & FL_PAGEMAP_FRAME)) {
    add_page(file ? &hot->of_files : &hot->written, address);
  }
}

static int compare_range(int template, int child, struct range range, bool writable, bool file, struct fl_hot *hot)
{
  uint64_t old[BATCH_PAGES], new[BATCH_PAGES], brought = range.start;

  for (uint64_t at = range.start; at < range.end; at += BATCH_PAGES * PAGE_BYTES) {
    size_t pages = (range.end - at) / PAGE_BYTES < BATCH_PAGES ? (range.end - at) / PAGE_BYTES : BATCH_PAGES;
    off_t offset = (off_t)(at / PAGE_BYTES * sizeof old[0]);

    if (pread(template, old, pages * sizeof old[0], offset) != (ssize_t)(pages * sizeof old[0]) ||
        pread(child, new, pages * sizeof new[0], offset) != (ssize_t)(pages * sizeof new[0]))
      return -1;
    for (size_t i = 0; i < pages; i++) {
      uint64_t address = at + i * PAGE_BYTES;

      if (writable) {
        compare_page(address, old[i], new[i], file, hot);
      } else if (address >= brought && (new[i] & FL_PAGEMAP_PRESENT)) {
        add_page(&hot->read, address);
        brought = brought_until(range.start, address);
      }
    }
  }
  return 0;
}

int fl_hot_find(pid_t template, pid_t child, struct fl_hot *ret_hot, struct fl_error *err)
{
  char line[4352], rights[5], path[8];
  struct mappings before;
  struct range range;

  *ret_hot = (struct fl_hot){0};
  fl_autofclose FILE *maps = open_maps(child);
  fl_autoclose int old = open_pagemap(template), new = open_pagemap(child);
  if (!maps || old < 0 || new < 0 || read_mappings(template, &before) < 0)
    return fl_fail_errno(err, "open_pagemap");
  uint64_t looked_at = 0;
  for (uint32_t lines = 0; lines < MAPPINGS_MAX && fgets(line, sizeof line, maps); lines++) {
    bool file = sscanf(line, "%lx-%lx %4s %*s %*s %*s %7s", &range.start, &range.end, rights, path) == 4 && path[0] == '/', writable = rights[1] == 'w';

    if (rights[3] != 'p' || !(writable || (file && rights[0] == 'r')) || !mapped(&before, range.start))
      continue;
    looked_at += (range.end - range.start) / PAGE_BYTES;
    if (looked_at > FL_HOT_LOOKED_AT_MAX)
      return 0;
    if (compare_range(old, new, range, writable, file, ret_hot) < 0)
      return fl_fail_errno(err, "read_pagemap");
  }
  return 0;
}

struct fl_hot_writes *fl_hot_writes(const struct fl_hot *hot)
{
  const struct fl_hot_runs *const lists[] = {&hot->written, &hot->of_files, &hot->fresh};
  struct fl_hot_writes *writes = malloc(sizeof *writes + (hot->written.runs + hot->of_files.runs + hot->fresh.runs) * sizeof writes->run[0]);

  if (!writes)
    return NULL;
  writes->runs = 0;
  for (size_t i = 0; i < FL_COUNT(lists); i++) {
    memcpy(writes->run + writes->runs, lists[i]->run, lists[i]->runs * sizeof writes->run[0]);
    writes->runs += lists[i]->runs;
  }
  return writes;
}

static bool has(const struct fl_hot_writes *writes, const uint8_t *page)
{
  for (uint32_t i = 0; i < writes->runs; i++)
    if ((const uint8_t *)writes->run[i].iov_base <= page && page < (const uint8_t *)writes->run[i].iov_base + writes->run[i].iov_len)
      return true;
  return false;
}

static void add_missing(const struct fl_hot_runs *runs, const struct fl_hot_writes *before, uint32_t pages_max, struct fl_hot_runs *late)
{
  for (uint32_t i = 0; i < runs->runs; i++)
    for (size_t at = 0; at < runs->run[i].iov_len && late->pages < pages_max; at += PAGE_BYTES)
      if (!has(before, (const uint8_t *)runs->run[i].iov_base + at))
        add_page(late, (uint64_t)(uintptr_t)runs->run[i].iov_base + at);
}

void fl_hot_late(const struct fl_hot *hot, const struct fl_hot_writes *before, uint32_t pages_max, struct fl_hot_runs *ret)
{
  *ret = (struct fl_hot_runs){0};
  add_missing(&hot->written, before, pages_max, ret);
  add_missing(&hot->of_files, before, pages_max, ret);
  add_missing(&hot->fresh, before, pages_max, ret);
}
