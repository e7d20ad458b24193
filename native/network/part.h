/*
 * One sandbox's network namespace with egress, as the builder makes and removes it. It is never used twice: what its connections have left in the host's tables is
 * told apart by its address, and is removed before anyone has that address again.
 */
#ifndef FLASHD_NETWORK_PART_H
#define FLASHD_NETWORK_PART_H
#include "network/egress.h"

struct fl_egress_maker {                       /* zeroed: nothing is open yet, the first part opens it */
  const char *name;                            /* the daemon's */
  int own;                                     /* the host's network namespace, in which this process lives */
  char links[FL_EGRESS_PREFIX_BYTES + 1];
  struct fl_nft nft;
  struct fl_netlink *route, *conntrack;
  uint32_t connections;                        /* that a sandbox may have at a time */
};

/* Leaves the process in the new namespace, complete and known to the table; after a failure in its own, and with nothing left. */
int fl_egress_part_make(struct fl_egress_maker *maker, uint32_t slot, uint32_t address, struct fl_error *err);
/* Its processes have ended. Also for one that was never made. */
void fl_egress_part_remove(struct fl_egress_maker *maker, uint32_t slot, uint32_t address);
#endif
