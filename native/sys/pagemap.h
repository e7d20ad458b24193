/* /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst), and PAGEMAP_SCAN (kernel 6.7), which Debian 12's headers lack. */
#ifndef FLASHD_PAGEMAP_H
#define FLASHD_PAGEMAP_H
#include <stdint.h>
#include <sys/ioctl.h>

struct fl_page_region { uint64_t start, end, categories; };
struct fl_page_scan { uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, any_mask, return_mask; };

#define FL_PAGEMAP_SCAN _IOWR('f', 16, struct fl_page_scan)

/* What reading tells of a page, in one number. */
#define FL_PAGEMAP_FRAME ((1ull << 55) - 1)
#define FL_PAGEMAP_SOFT_DIRTY (1ull << 55)
#define FL_PAGEMAP_EXCLUSIVE (1ull << 56)
#define FL_PAGEMAP_FILE (1ull << 61)
#define FL_PAGEMAP_SWAPPED (1ull << 62)
#define FL_PAGEMAP_PRESENT (1ull << 63)

enum { FL_PAGE_WATCHED = 1 << 0, FL_PAGE_WRITTEN = 1 << 1, FL_PAGE_PRESENT = 1 << 3, FL_PAGE_SWAPPED = 1 << 4 };       /* PAGE_IS_WPALLOWED, PAGE_IS_… */

/* What reading tells of the page that the address is in. Negative errno. */
int fl_pagemap_read(int pagemap, uint64_t address, uint64_t *ret);
/* *ret_at: the first page in the range that is in memory or swapped out, or end. Negative errno where the kernel cannot tell. */
int fl_pagemap_next(int pagemap, uint64_t start, uint64_t end, uint64_t *ret_at);
/* Everything that is mapped between the two addresses, as stretches of pages of the same categories, ascending. How many; negative errno, -E2BIG when there are not fewer than most. */
int fl_pagemap_scan(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most);
/*
 * The same in less time, since a page that is told of takes twice as long as one that is passed over: without the pages that are in memory, watched, and not written to; or without those that are watched, and neither in
 * memory nor swapped out.
 */
int fl_pagemap_changed(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most);
int fl_pagemap_populated(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most);
/* From here on a write to any of the pages that are in memory there, and watched (userfaultfd, asynchronously), makes it a written one. */
int fl_pagemap_protect(int pagemap, uint64_t start, uint64_t end);
#endif
