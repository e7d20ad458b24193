/*
 * From an instance that has loaded its function, and waits, to the image of a function template (parasite/image.h). The instance is hostile: it is asked only through the kernel, and
 * what cannot be carried, or cannot be seen, is refused with its name. Runs in a process of its own (sandboxd/functions.c): it may block.
 */
#ifndef FLASHD_CAPTURE_H
#define FLASHD_CAPTURE_H
#include <flashd/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/infect.h"

struct fl_capture {
  pid_t template, instance, init;              /* host pids; init: of the instance's sandbox */
  const struct fl_infection *infection;        /* the template's */
  const struct fl_hot *hot;                    /* pages that forks of it write to, or NULL */
};

struct fl_captured {
  uint64_t home, table_bytes, bytes;           /* bytes: of pages */
  int32_t pid;                                 /* the instance's, inside: its forks must not have it */
};

/* The instance is stopped, and is of no use afterwards. image_fd: a memfd, written on success. */
int fl_capture(const struct fl_capture *capture, int image_fd, struct fl_captured *ret_captured, struct fl_error *err);
#endif
