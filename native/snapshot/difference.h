/*
 * What a fork's memory has become since its template forked it, as operations that do the same to another fork of that template (parasite/image.h), and the pages they need.
 * Pages that fork left shared have the same frame in both (Documentation/admin-guide/mm/pagemap.rst), so only those that were copied or made are compared.
 */
#ifndef FLASHD_DIFFERENCE_H
#define FLASHD_DIFFERENCE_H
#include <flashd/error.h>
#include <sys/types.h>

#include "parasite/image.h"

enum {
  FL_IMAGE_OPS_MAX = 32768,
  FL_IMAGE_TABLE_BYTES_MAX = 4 << 20,          /* pages begin here in the image */
  FL_IMAGE_PAGES_MAX = 65536                   /* 256 MiB */
};

struct fl_difference {
  uint32_t ops;
  struct fl_image_op op[FL_IMAGE_OPS_MAX];
  char *paths;                                 /* of FILE operations */
  size_t paths_bytes;
  uint32_t pages;                              /* written to image_fd behind FL_IMAGE_TABLE_BYTES_MAX */
  uint64_t home;                               /* FL_IMAGE_TABLE_BYTES_MAX bytes of address space that neither process uses */
};

/* Both stopped, or at least idle. reserved: a range of the fork that must be empty and inaccessible, and is left out. */
int fl_difference_find(pid_t template, pid_t fork, uint64_t reserved, uint64_t reserved_bytes, int image_fd, struct fl_difference *ret, struct fl_error *err);
void fl_difference_free(struct fl_difference *difference);
#endif
