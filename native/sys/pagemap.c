/* See pagemap.h. Structures and numbers: include/uapi/linux/fs.h. */
#include "sys/pagemap.h"

#include <errno.h>
#include <sys/ioctl.h>

struct page_region { uint64_t start, end, categories; };
struct scan_request { uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_mask, return_mask; };

enum { PAGE_IS_PRESENT = 1 << 3, PAGE_IS_SWAPPED = 1 << 4 };

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct scan_request)

int fl_pagemap_next(int pagemap, uint64_t start, uint64_t end, uint64_t *ret_at)
{
  struct page_region region = {.start = end};
  struct scan_request request = {.size = sizeof request, .start = start, .end = end, .vec = (uint64_t)(uintptr_t)&region, .vec_len = 1, .max_pages = 1,
                                 .any_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED, .return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED};
  int found = ioctl(pagemap, PAGEMAP_SCAN_IOCTL, &request);

  if (found < 0)
    return -errno;
  *ret_at = found ? region.start : end;
  return 0;
}
