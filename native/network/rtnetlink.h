/* Links, addresses and routes, each one request of NETLINK_ROUTE in the network namespace that the socket was opened in. IPv4 only, addresses in host byte order. */
#ifndef FLASHD_RTNETLINK_H
#define FLASHD_RTNETLINK_H
#include "network/netlink.h"

struct fl_prefix { uint32_t address; uint8_t length; };
static inline uint32_t fl_prefix_mask(uint8_t length) { return length == 0 ? 0 : ~0u << (32 - length); }
static inline bool fl_prefix_overlaps(struct fl_prefix one, struct fl_prefix other)
{
  uint32_t mask = fl_prefix_mask(one.length < other.length ? one.length : other.length);

  return ((one.address ^ other.address) & mask) == 0;
}

/* A pair of virtual interfaces: `name` here, `peer` in the namespace peer_ns. Both have the same hardware address and ask nobody for one: see network/part.c. */
int fl_veth_add(struct fl_netlink *route, const char *name, const char *peer, int peer_ns, const uint8_t hardware[6], struct fl_error *err);
/* Up, without ARP. */
int fl_link_up(struct fl_netlink *route, const char *name, struct fl_error *err);
/* Waits until what is known of its other end has had its effect. */
int fl_link_settle(struct fl_netlink *route, const char *name, struct fl_error *err);
/* Whether what comes in there is forwarded. */
int fl_link_forward(struct fl_netlink *route, const char *name, bool on, struct fl_error *err);
int fl_link_delete(struct fl_netlink *route, const char *name, struct fl_error *err);
/* Deletes every link whose name begins so. */
int fl_links_sweep(struct fl_netlink *route, const char *prefix, struct fl_error *err);
/* address/32 on the link. */
int fl_address_add(struct fl_netlink *route, uint32_t index, uint32_t address, struct fl_error *err);
/* To the destination over the link; gateway 0: it is there at once. */
int fl_route_add(struct fl_netlink *route, struct fl_prefix to, uint32_t index, uint32_t gateway, struct fl_error *err);
/* A claim on addresses: what is sent to them, but for more precise routes, is refused. -EEXIST when the same is claimed already. */
int fl_route_claim(struct fl_netlink *route, struct fl_prefix prefix, struct fl_error *err);
int fl_route_unclaim(struct fl_netlink *route, struct fl_prefix prefix, struct fl_error *err);

/* The host's routes as far as they concern us. */
enum { FL_ROUTES_MAX = 16384 };
struct fl_routes {
  uint32_t count, uplink;                      /* uplink: index of the link that the best default route leads over, 0: there is none */
  uint32_t metric;                             /* of that route */
  struct fl_prefix prefix[FL_ROUTES_MAX];      /* all but default routes, local addresses included */
};
/* FL_ROUTES_MAX is enough, or it is an error: what is not known cannot be kept clear of. */
int fl_routes_read(struct fl_netlink *route, struct fl_routes *ret_routes, struct fl_error *err);
#endif
