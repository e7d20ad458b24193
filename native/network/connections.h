/* What the kernel remembers of connections through this host (conntrack), asked by netlink. Formats: linux/netfilter/nfnetlink_conntrack.h */
#ifndef FLASHD_NETWORK_CONNECTIONS_H
#define FLASHD_NETWORK_CONNECTIONS_H
#include "network/netlink.h"

/* Forgets every connection that this address has begun. It is nobody's now: none is begun meanwhile. netlink: NETLINK_NETFILTER. */
int fl_connections_forget(struct fl_netlink *netlink, uint32_t address, struct fl_error *err);
/* The same for a kernel that does not do it in one request (6.1): they are asked for, and forgotten one by one. */
int fl_connections_forget_each(struct fl_netlink *netlink, uint32_t address, struct fl_error *err);
#endif
