/* What PAGEMAP_SCAN tells of a whole address space, in parts that helpers ask for at the same time. */
#ifndef FLASHD_REWIND_LIST_H
#define FLASHD_REWIND_LIST_H
#include <stdbool.h>
#include <stdint.h>

#include "rewind/helper.h"
#include "sys/pagemap.h"

enum { FL_LIST_STRETCHES_MAX = 65536, FL_LIST_PARTS = 3 };

/* fl_pagemap_scan, or another that leaves out what need not be told. */
typedef int (*fl_list_ask)(int pagemap, uint64_t start, uint64_t end, struct fl_page_region *ret, uint32_t most);

/* regions: how many there are, or a negative errno. */
struct fl_list_part { struct fl_job job; int pagemap; fl_list_ask ask; uint64_t start, end; struct fl_page_region *region; uint32_t room; int regions; };

struct fl_list {
  bool begun;
  uint64_t border[FL_LIST_PARTS - 1];          /* where the other parts begin; 0: not known yet, all is asked for at once */
  struct fl_list_part part[FL_LIST_PARTS];     /* ascending */
  struct fl_page_region region[FL_LIST_STRETCHES_MAX];
};

void fl_list_begin(struct fl_list *list, int pagemap, fl_list_ask ask, struct fl_helper *helper);
/* Negative errno; -E2BIG: there are more stretches than there is room for. */
int fl_list_end(struct fl_list *list, struct fl_helper *helper);
/* After the first one, of all: how many pages are in memory, or swapped out, and how many more of those that are not the kernel looks at. */
void fl_list_weigh(const struct fl_list *list, uint64_t *ret_populated, uint64_t *ret_empty);
/* Into parts that take about as long as each other, when so much is told of. */
void fl_list_divide(struct fl_list *list, bool populated, bool empty);
#endif
