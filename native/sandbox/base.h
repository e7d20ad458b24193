/*
 * Roots. The stage is a mount namespace with three things in it: /base, the read-only tree every sandbox shows; /scratch, where each sandbox mounts its own
 * writable layer; and a /proc, which the kernel wants to see before it lets a user namespace mount another. The builder lives in it, so that a clone of its
 * mount namespace copies a handful of mounts instead of the host's.
 */
#ifndef FLASHD_BASE_H
#define FLASHD_BASE_H
#include <stdint.h>
#include <sys/types.h>

#include "flashd/error.h"
#include "sandbox/pack.h"

enum {
  FL_BASE_BYTES_MAX = 512 << 20,                 /* of the base's own files: /etc and the runtimes' */
  FL_SCRATCH_INODES = 6                          /* the writable layer's own directories, on top of what a function may make */
};

/*
 * Moves the calling process (root, single-threaded) into a new mount namespace that is the stage. binary_fd: flashd's own binary, for runtimes whose program it is; else it may be -1.
 */
int fl_base_stage(const struct fl_pack *pack, int binary_fd, struct fl_error *err);

#define FL_ROOT_MAKER ((uid_t)-1)

struct fl_root {
  uint64_t tmp_bytes;
  uint32_t tmp_inodes;
  uid_t owner;                                   /* of $HOME, and group: as seen in the current user namespace; FL_ROOT_MAKER: the caller */
};

/*
 * In a private copy of the stage: makes the base the root, with a fresh /proc of the current pid namespace, masked, and a new writable layer at /tmp, /var/tmp,
 * /dev/shm and /home/function; everything else disappears. *ret_scratch_fd (may be NULL): O_PATH, the root of the writable layer.
 */
int fl_base_enter(const struct fl_root *root, int *ret_scratch_fd, struct fl_error *err);

/* In a private copy of the stage: makes a root of the base, at /base, with a /proc as above that shows to each uid its own processes alone, and an empty directory /slots (sandbox/light.h). */
int fl_base_room(struct fl_error *err);

/* The synthetic /etc, into the directory etc_fd. */
int fl_base_etc(int etc_fd, const struct fl_pack *pack, struct fl_error *err);
#endif
