/* PAGEMAP_SCAN (kernel 6.7), which Debian 12's headers lack. */
#ifndef FLASHD_PAGEMAP_H
#define FLASHD_PAGEMAP_H
#include <stdint.h>

/* *ret_at: the first page in the range that is in memory or swapped out, or end. Negative errno where the kernel cannot tell. */
int fl_pagemap_next(int pagemap, uint64_t start, uint64_t end, uint64_t *ret_at);
#endif
