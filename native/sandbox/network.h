/*
 * Network namespaces, the dearest part: half of the cost of a sandbox is the kernel setting one up and taking it down (Mohan et al., "Agile Cold Starts for Scalable
 * Serverless", pool them for that reason). The builder makes them, loopback up, owned by the initial user namespace: no sandbox holds any capability over
 * its own. It keeps each one while it is in use, and uses it again only if it is proven untouched: no socket exists in it, and not one packet ever
 * passed its loopback. Everything else about it needs a capability that no sandbox has. A namespace that was used at all is not used again; one with egress (network/part.h) never is.
 */
#ifndef FLASHD_NETWORK_H
#define FLASHD_NETWORK_H
#include <flashd/error.h>
#include <stdint.h>

#include "network/part.h"

enum {
  FL_NETWORK_SPARES_MAX = 64,
  FL_NETWORK_BACKLOG_MAX = 128                  /* connections that wait to be accepted, of one socket */
};

struct fl_networks {
  int own;                                     /* the namespace the builder lives in */
  uint32_t spares, slots;
  int spare[FL_NETWORK_SPARES_MAX];
  int *taken;                                  /* per slot, or -1 */
  struct fl_egress_maker egress;
};

/* Which network: FL_NETWORK_*, and with egress the address of the sandbox. */
struct fl_network_want { uint32_t kind, address; };

/* name: the daemon's. */
int fl_networks_open(struct fl_networks *networks, const char *name, uint32_t slots, struct fl_error *err);
/* Moves the calling process into a clean namespace for the slot's sandbox, so that what it clones next lives there. fl_networks_leave goes back, always. */
int fl_networks_enter(struct fl_networks *networks, uint32_t slot, struct fl_network_want want, struct fl_error *err);
int fl_networks_leave(const struct fl_networks *networks, struct fl_error *err);
/* The slot's sandbox is gone: its namespace is kept when it is proven untouched, else dropped. want: as it was entered. */
void fl_networks_release(struct fl_networks *networks, uint32_t slot, struct fl_network_want want);

/* Sets the loopback interface of the current network namespace up. */
int fl_network_loopback(struct fl_error *err);
#endif
