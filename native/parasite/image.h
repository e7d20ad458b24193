/*
 * The image of a function template: what distinguishes an instance that has loaded its function from the language template that it was forked from. Made by
 * native/snapshot, applied by the parasite in a fresh fork of that language template, which so becomes a template of its own without ever executing an
 * instruction of the function's.
 *
 *   memfd   ┌────────┬────────────┬───────┬───────────────┐
 *           │ header │ operations │ paths │ pages         │     header, operations and paths are mapped at `home` while it is applied
 *           └────────┴────────────┴───────┴───────────────┘
 *
 * The operations are done in order. Their numbers come from sandboxd, which took them from the kernel; what the function can choose is only what the pages contain.
 */
#ifndef FLASHD_PARASITE_IMAGE_H
#define FLASHD_PARASITE_IMAGE_H
#include <stdint.h>

#include "parasite/parasite.h"

enum { FL_IMAGE_SIGNALS = 64 };

enum fl_image_op_kind {
  FL_IMAGE_UNMAP = 1,
  FL_IMAGE_ANONYMOUS,                          /* private and empty */
  FL_IMAGE_FILE,                               /* private, of the file at `path`, from `offset` */
  FL_IMAGE_DROP,                               /* back to what a new mapping holds */
  FL_IMAGE_RIGHTS,
  FL_IMAGE_PAGES                               /* filled from the image, at `offset` */
};

struct fl_image_op {
  uint32_t kind, rights;                       /* enum fl_image_op_kind; PROT_* */
  uint64_t start, bytes, offset;
  uint32_t path, reserved;                     /* FILE: where its NUL-terminated path stands behind the operations */
};

struct fl_image_action { uint64_t handler, flags, restorer, mask; };      /* the kernel's struct sigaction */

struct fl_image {
  uint64_t home, table_bytes;                  /* page-rounded */
  uint64_t brk;
  uint32_t ops, paths_at;                      /* offset of the paths in the table */
  struct fl_image_action action[FL_IMAGE_SIGNALS];
  struct fl_parasite self;                     /* as it is to be in the function template: threads, descriptors, touches; numbers for socket and bell that nothing else has */
};

/* Order of the descriptors that come with it, behind that of sandboxd itself. */
enum fl_image_fd { FL_IMAGE_SOCKET = 1, FL_IMAGE_BELL, FL_IMAGE_MEMORY, FL_IMAGE_BUNDLE, FL_IMAGE_FDS };

/* In a fresh, single-threaded fork: memory, signal actions, the bundle's mount, numbers of descriptors. On success self is the
 * image's, and its socket and bell are all that is left of fds. 0 or a negative errno. */
long fl_image_apply(struct fl_parasite *self, const struct fl_fork *fork, const int32_t *fds);
#endif
