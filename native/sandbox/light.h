/*
 * The light class: instances without namespaces of their own, for functions that the operator trusts more. All of them live in one room, which stands between them and the host as a sandbox does: an init
 * that holds user, pid, mount, net (empty, loopback down), ipc, uts and cgroup namespaces. Between one and another stand a uid, a tree of directories of its own that it is chrooted into, Landlock,
 * a cgroup, and the seal (flashd/light_seal.h).
 *
 *   room             /base                    the read-only base, with a /proc that shows to each uid only its own processes
 *                    /slots/<slot>            tmpfs of the sandbox's size: the writable layer's directories
 *                    /slots/<slot>/root       the base again, the writable layer and later the bundle mounted in it: the instance's root
 *
 * The ruleset allows reading and executing what is below /slots/<slot>, writing what is in its writable layer and in the harmless devices, and nothing else: no TCP, no abstract socket and no signal beyond
 * the instance itself. What stands in another slot it does not name, so that it is out of reach even for whoever got out of the chroot.
 *
 * A tree is some forty mounts, most of them what covers parts of /proc: fs.mount-max (100,000, as kernels come) has room for more of them than there are slots by default.
 *
 * The builder makes rooms and trees, in the room's mount namespace; a room whose init has died is replaced, and everybody in it died with it.
 */
#ifndef FLASHD_LIGHT_H
#define FLASHD_LIGHT_H
#include <stdint.h>

#include "flashd/error.h"
#include "sandbox/network.h"
#include "sandbox/parts.h"

enum {
  FL_LIGHT_ABI = 6,                              /* of Landlock: abstract sockets and signals can be kept in (Linux 6.12) */
  FL_LIGHT_ABI_QUIET = 7,                        /* and refusals out of the audit log */
  FL_LIGHT_REPORT_MS = 5000                      /* for a room's init */
};

/* Landlock's version on this kernel; 0: there is none. */
uint32_t fl_light_abi(void);

struct fl_light {
  int own;                                       /* the mount namespace that the builder lives in */
  int room;                                      /* pidfd of the room's init, or -1 */
  pid_t pid;
  uint32_t number, *in;                          /* of the room; per slot, in which room its tree stands, or 0 */
};

struct fl_light_tree { int scratch_fd, root_fd, ruleset_fd; };

int fl_light_open(struct fl_light *light, uint32_t slots, struct fl_error *err);
/* Makes the slot's tree and ruleset, and first the room when there is none. *ret_tree is the caller's to close, after an error too. */
int fl_light_build(struct fl_light *light, const struct fl_parts_config *config, const struct fl_networks *networks, uint32_t slot, struct fl_light_tree *ret_tree, struct fl_error *err);
/* Kills whoever in the room has the slot's uid, however many they are and however fast they fork. */
void fl_light_kill(const struct fl_light *light, const struct fl_parts_config *config, uint32_t slot);
/* Nobody lives in the tree any more. */
void fl_light_remove(struct fl_light *light, uint32_t slot);

/* Mounts the bundle on the instance's /function: own: the caller's mount namespace, to which it returns. */
int fl_light_mount(int own, const struct fl_sandbox *sandbox, int bundle, struct fl_error *err);
/* The caller's mount namespace, to be returned to; refused when its root is not the caller's, which it would lose. */
int fl_light_own(struct fl_error *err);
#endif
