/*
 * Whether the mappings of a stopped process are still the ones that were remembered, as quickly as its kernel tells: mapping by mapping as numbers (PROCMAP_QUERY, 6.11), names only of memory without a file, which
 * nothing else tells apart; else the whole text of /proc/PID/maps, where the kernel spends most of the time on the paths of files, which device and inode tell as well.
 */
#ifndef FLASHD_REWIND_SHAPE_H
#define FLASHD_REWIND_SHAPE_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rewind/helper.h"
#include "rewind/layout.h"

enum { FL_SHAPE_NAME = 96, FL_SHAPE_PARTS = 6 };

struct fl_shape_mapping { uint64_t start, end, flags, page_bytes, offset, inode; uint32_t major, minor; char name[FL_SHAPE_NAME]; };

struct fl_shape;
/* Of those that are remembered. */
struct fl_shape_part { struct fl_job job; const struct fl_shape *shape; int maps; uint32_t first, end; bool same; };

struct fl_shape {
  bool asked;                                  /* else it is the text */
  uint32_t mappings;
  size_t bytes;
  struct fl_shape_mapping mapping[FL_LAYOUT_MAX];
  struct fl_shape_part part[FL_SHAPE_PARTS];
  char text[FL_LAYOUT_TEXT_MAX], now[FL_LAYOUT_TEXT_MAX];
};

/* maps: /proc/PID/maps. */
int fl_shape_remember(struct fl_shape *shape, int maps, struct fl_error *err);
/* Without the question, as on older kernels. */
int fl_shape_remember_text(struct fl_shape *shape, int maps, struct fl_error *err);
/* Whether a mapping ends there, and no other one begins. Kernels that cannot be asked: no. */
bool fl_shape_ends_at(int maps, uint64_t address);
/* Each beginning has one end, and all parts are looked at at the same time, where there are helpers. What is the same may be told in another way, with mappings that the kernel has joined or split: then it differs here. */
void fl_shape_begin(struct fl_shape *shape, int maps, struct fl_helper *helper);
int fl_shape_end(struct fl_shape *shape, int maps, struct fl_helper *helper, bool *ret_same, struct fl_error *err);
#endif
