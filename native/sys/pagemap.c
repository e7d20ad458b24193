/* See pagemap.h. Structures and numbers: include/uapi/linux/fs.h. */
#include "sys/pagemap.h"

#include <errno.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PROTECT_MATCHING = 1 << 0, REGIONS = 64 };

int fl_pagemap_read(int pagemap, uint64_t address, uint64_t *ret)
{
  ssize_t got = pread(pagemap, ret, sizeof *ret, (off_t)(address / PAGE_BYTES * sizeof *ret));

  return got == (ssize_t)sizeof *ret ? 0 : got < 0 ? -errno : -EIO;
}

int fl_pagemap_next(int pagemap, uint64_t start, uint64_t end, uint64_t *ret_at)
{
  struct fl_page_region region = {.start = end};
  struct fl_page_scan request = {.size = sizeof request, .start = start, .end = end, .vec = (uint64_t)(uintptr_t)&region, .vec_len = 1, .max_pages = 1,
                                 .any_mask = FL_PAGE_PRESENT | FL_PAGE_SWAPPED, .return_mask = FL_PAGE_PRESENT | FL_PAGE_SWAPPED};
  int found = ioctl(pagemap, FL_PAGEMAP_SCAN, &request);

  if (found < 0)
    return -errno;
  *ret_at = found ? region.start : end;
  return 0;
}

/*
 * any: of these categories, of which some are inverted, a page has to have one. One call tells of all for which there is room; that it was not all shows only in that there is no room left: walk_end of a complete scan is
 * where the kernel's own buffer was full last (do_pagemap_scan in fs/proc/task_mmu.c), and what follows would be told twice.
 */
static int scan(int pagemap, uint64_t start, uint64_t end, uint64_t inverted, uint64_t any, struct fl_page_region *ret, uint32_t most)
{
  struct fl_page_scan request = {.size = sizeof request, .start = start, .end = end, .vec = (uint64_t)(uintptr_t)ret, .vec_len = most,
                                 .inverted = inverted, .any_mask = any, .return_mask = FL_PAGE_WATCHED | FL_PAGE_WRITTEN | FL_PAGE_PRESENT | FL_PAGE_SWAPPED};
  int found = ioctl(pagemap, FL_PAGEMAP_SCAN, &request);

  return found < 0 ? -errno : (uint32_t)found == most ? -E2BIG : found;
}

int fl_pagemap_scan(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most)
{
  return scan(pagemap, start, end, 0, 0, ret, most);
}

int fl_pagemap_changed(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most)
{
  return scan(pagemap, start, end, FL_PAGE_PRESENT | FL_PAGE_WATCHED, FL_PAGE_PRESENT | FL_PAGE_WATCHED | FL_PAGE_WRITTEN, ret, most);
}

int fl_pagemap_populated(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most)
{
  return scan(pagemap, start, end, FL_PAGE_WATCHED, FL_PAGE_WATCHED | FL_PAGE_PRESENT | FL_PAGE_SWAPPED, ret, most);
}

int fl_pagemap_protect(int pagemap, uint64_t start, uint64_t end)
{
  struct fl_page_region unused[REGIONS];

  while (start < end) {
    struct fl_page_scan request = {.size = sizeof request, .flags = PROTECT_MATCHING, .start = start, .end = end, .vec = (uint64_t)(uintptr_t)unused, .vec_len = REGIONS,
                                   .mask = FL_PAGE_WATCHED | FL_PAGE_WRITTEN, .any_mask = FL_PAGE_PRESENT | FL_PAGE_SWAPPED, .return_mask = FL_PAGE_WRITTEN};

    if (ioctl(pagemap, FL_PAGEMAP_SCAN, &request) < 0)
      return -errno;
    if (request.walk_end <= start)
      return -EIO;
    start = request.walk_end;
  }
  return 0;
}
