/* See region.h. */
#include "rewind/region.h"

#include <errno.h>
#include <string.h>

#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096, STRETCHES_MAX = 64, STEP_BYTES = 16 * PAGE_BYTES };

static const uint8_t nothing[STEP_BYTES];

/* Of what is there of the region: so many bytes from there on. */
typedef int (*visit)(const struct fl_batch *batch, uint64_t at, size_t bytes, struct fl_error *err);

static int each_step(const struct fl_batch *batch, uint64_t at, uint64_t end, visit visit, struct fl_error *err)
{
  int r = 0;

  for (size_t bytes; at < end && r == 0; at += bytes) {
    bytes = end - at < STEP_BYTES ? end - at : STEP_BYTES;
    r = visit(batch, at, bytes, err);
  }
  return r;
}

static int each(const struct fl_batch *batch, int pagemap, visit visit, struct fl_error *err)
{
  struct fl_page_region stretch[STRETCHES_MAX];
  uint64_t at = batch->region, end = batch->region + fl_batch_region_bytes();
  int stretches = fl_pagemap_scan(pagemap, at, end, stretch, STRETCHES_MAX), r = 0;

  for (int i = 0; i < stretches && r == 0 && stretch[i].start == at && (stretch[i].categories & FL_PAGE_WATCHED); i++) {
    if (stretch[i].categories & (FL_PAGE_PRESENT | FL_PAGE_SWAPPED))
      r = each_step(batch, at, stretch[i].end, visit, err);
    at = stretch[i].end;
  }
  return r < 0 || at == end ? r : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "the batch's region is not as it was mapped");
}

static int check_code(const struct fl_batch *batch, uint64_t at, size_t bytes, struct fl_error *err)
{
  uint8_t now[PAGE_BYTES];
  size_t code_bytes = fl_batch_code_bytes();

  (void)bytes;
  if (at != batch->region)
    return 0;
  int r = fl_tracee_read(batch->tracee, at, now, sizeof now, err);
  if (r < 0)
    return r;
  return memcmp(now, fl_batch_code(), code_bytes) == 0 && memcmp(now + code_bytes, nothing, sizeof now - code_bytes) == 0 ? 0 : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "the batch's code was written to");
}

static int clean(const struct fl_batch *batch, uint64_t at, size_t bytes, struct fl_error *err)
{
  size_t code_bytes = at == batch->region ? PAGE_BYTES : 0;

  return bytes > code_bytes ? fl_tracee_write(batch->tracee, at + code_bytes, nothing, bytes - code_bytes, err) : 0;
}

static int compare(const struct fl_batch *batch, uint64_t at, size_t bytes, struct fl_error *err)
{
  uint8_t now[STEP_BYTES];
  size_t code_bytes = at == batch->region ? PAGE_BYTES : 0;
  int r = check_code(batch, at, bytes, err);

  if (r == 0)
    r = fl_tracee_read(batch->tracee, at, now, bytes, err);
  return r < 0 || memcmp(now + code_bytes, nothing, bytes - code_bytes) == 0 ? r : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "the batch's region is not empty");
}

int fl_region_check(const struct fl_batch *batch, int pagemap, struct fl_error *err)
{
  return each(batch, pagemap, check_code, err);
}

int fl_region_clean(const struct fl_batch *batch, int pagemap, struct fl_error *err)
{
  return each(batch, pagemap, clean, err);
}

int fl_region_compare(const struct fl_batch *batch, int pagemap, struct fl_error *err)
{
  return each(batch, pagemap, compare, err);
}
