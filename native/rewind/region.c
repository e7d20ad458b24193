/* See region.h. */
#include "rewind/region.h"

#include <errno.h>
#include <string.h>

#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096, STRETCHES_MAX = 64 };

static const uint8_t nothing[PAGE_BYTES];

typedef int (*visit)(const struct fl_batch *batch, uint64_t page, struct fl_error *err);

/* Each page that there is. */
static int each_page(const struct fl_batch *batch, int pagemap, visit visit, struct fl_error *err)
{
  struct fl_page_region stretch[STRETCHES_MAX];
  uint64_t at = batch->region, end = batch->region + fl_batch_region_bytes();
  int stretches = fl_pagemap_scan(pagemap, at, end, stretch, STRETCHES_MAX), r = 0;

  for (int i = 0; i < stretches && stretch[i].start == at && (stretch[i].categories & FL_PAGE_WATCHED); i++) {
    bool populated = stretch[i].categories & (FL_PAGE_PRESENT | FL_PAGE_SWAPPED);

    for (; populated && at < stretch[i].end && r == 0; at += PAGE_BYTES)
      r = visit(batch, at, err);
    at = stretch[i].end;
  }
  return r < 0 || at == end ? r : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "the batch's region is not as it was mapped");
}

static int check_page(const struct fl_batch *batch, uint64_t page, struct fl_error *err)
{
  size_t code_bytes = page == batch->region ? fl_batch_code_bytes() : 0;
  uint8_t now[PAGE_BYTES];
  int r = fl_tracee_read(batch->tracee, page, now, sizeof now, err);

  if (r < 0)
    return r;
  return memcmp(now, fl_batch_code(), code_bytes) == 0 && memcmp(now + code_bytes, nothing, sizeof now - code_bytes) == 0 ? 0 : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "the batch's region was written to");
}

static int clean_page(const struct fl_batch *batch, uint64_t page, struct fl_error *err)
{
  return page == batch->region ? 0 : fl_tracee_write(batch->tracee, page, nothing, sizeof nothing, err);
}

int fl_region_check(const struct fl_batch *batch, int pagemap, struct fl_error *err)
{
  return each_page(batch, pagemap, check_page, err);
}

int fl_region_clean(const struct fl_batch *batch, int pagemap, struct fl_error *err)
{
  return each_page(batch, pagemap, clean_page, err);
}
