/* See part.h. */
#include "network/part.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "network/connections.h"

#define INSIDE "eth0"

enum { CARRIER_US = 1000 };

static uint32_t connections_each(void)
{
  uint64_t tracked = 0;

  fl_file_read_number(AT_FDCWD, "/proc/sys/net/netfilter/nf_conntrack_max", &tracked);
  tracked /= FL_EGRESS_CONNECTIONS_SHARE;
  return tracked > FL_EGRESS_CONNECTIONS_MAX ? FL_EGRESS_CONNECTIONS_MAX : tracked < FL_EGRESS_CONNECTIONS_MIN ? FL_EGRESS_CONNECTIONS_MIN : (uint32_t)tracked;
}

static int open_all(struct fl_egress_maker *maker, struct fl_error *err)
{
  if (maker->route && maker->conntrack && maker->nft.netlink)
    return 0;
  fl_egress_links(maker->name, maker->links);
  maker->connections = connections_each();
  if (!maker->route && !(maker->route = fl_netlink_open(NETLINK_ROUTE, err)))
    return -EIO;
  if (!maker->conntrack && !(maker->conntrack = fl_netlink_open(NETLINK_NETFILTER, err)))
    return -EIO;
  return maker->nft.netlink ? 0 : fl_nft_open(&maker->nft, maker->name, err);
}

static void name_link(const struct fl_egress_maker *maker, uint32_t slot, char ret_link[IF_NAMESIZE])
{
  snprintf(ret_link, IF_NAMESIZE, "%s%u", maker->links, slot);
}

/* In the new namespace. Both ends have the same hardware address and no ARP, so each takes what the other sends, and nobody ever asks: not one packet passes by itself. */
static int furnish_inside(struct fl_egress_maker *maker, struct fl_netlink *route, const char *link, uint32_t address, struct fl_error *err)
{
  const uint8_t hardware[6] = { 0x02, 0xf1, address >> 24, address >> 16, address >> 8, address };
  int result = fl_veth_add(route, INSIDE, link, maker->own, hardware, NULL);

  if (result == -EEXIST) {                                       /* of a builder that died */
    fl_link_delete(maker->route, link, NULL);
    result = fl_veth_add(route, INSIDE, link, maker->own, hardware, NULL);
  }
  if (result < 0)
    return fl_fail(err, FL_ERR_NETWORK, -result, "add veth", "%s", link);
  /* Not there on a kernel without IPv6. */
  fl_file_write(AT_FDCWD, "/proc/sys/net/ipv6/conf/" INSIDE "/disable_ipv6", "1");
  return fl_address_add(route, if_nametoindex(INSIDE), address, err);
}

/* In the host's. */
static int furnish_outside(struct fl_egress_maker *maker, const char *link, uint32_t slot, uint32_t address, struct fl_error *err)
{
  char path[80];
  int result;

  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", link);
  fl_file_write(AT_FDCWD, path, "1");
  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/forwarding", link);
  result = fl_file_write(AT_FDCWD, path, "1");
  if (result < 0)
    return fl_fail(err, FL_ERR_NETWORK, -result, "turn forwarding on", "%s", link);
  /* The table knows it before it can send. */
  fl_nft_begin(&maker->nft);
  fl_egress_rules_put_slot(&maker->nft, link, slot, address, maker->connections);
  result = fl_nft_commit(&maker->nft, "add sandbox to nftables table", err);
  if (result == 0)
    result = fl_link_up(maker->route, link, err);
  return result < 0 ? result : fl_route_add(maker->route, (struct fl_prefix){ address, 32 }, if_nametoindex(link), 0, err);
}

/* Linux 6.9 or later: asking for a link's state waits until it is settled. */
static bool is_told_when_settled(void)
{
  unsigned major = 0, minor = 0;
  struct utsname kernel;

  return uname(&kernel) == 0 && sscanf(kernel.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 9));
}

/*
 * In the new namespace. The end that comes up second works at once; the other one, the host's, when a kernel thread has noticed. What is sent to it before that is lost, and a lost
 * first packet costs a connection a second. Asking for the link's state waits for that thread, since Linux 6.9; before, it is given a millisecond.
 */
static int connect_ends(struct fl_egress_maker *maker, struct fl_netlink *route, const char *link, struct fl_error *err)
{
  int result = fl_link_up(route, INSIDE, err);

  if (result == 0)
    result = fl_route_add(route, (struct fl_prefix){ 0, 0 }, if_nametoindex(INSIDE), FL_EGRESS_GATEWAY, err);
  if (result == 0 && !is_told_when_settled())
    usleep(CARRIER_US);
  if (result == 0)
    result = fl_link_settle(maker->route, link, err);
  return result < 0 ? result : fl_link_settle(route, INSIDE, err);
}

static void enter(int network)
{
  if (setns(network, CLONE_NEWNET) < 0)
    _exit(1);                                                    /* sandboxd starts another builder; better none than one in a wrong network */
}

static int make(struct fl_egress_maker *maker, struct fl_netlink *route, int inside, uint32_t slot, uint32_t address, struct fl_error *err)
{
  char link[IF_NAMESIZE];

  name_link(maker, slot, link);
  int result = furnish_inside(maker, route, link, address, err);
  if (result < 0)
    return result;
  enter(maker->own);
  result = furnish_outside(maker, link, slot, address, err);
  enter(inside);
  return result < 0 ? result : connect_ends(maker, route, link, err);
}

int fl_egress_part_make(struct fl_egress_maker *maker, uint32_t slot, uint32_t address, struct fl_error *err)
{
  fl_autoclose int inside = -1;
  struct fl_netlink *route;
  int result = open_all(maker, err);

  if (result == 0)
    result = fl_connections_forget(maker->conntrack, address, err);
  if (result < 0)
    return result;
  if (unshare(CLONE_NEWNET) < 0)
    return fl_fail_errno(err, "unshare network");
  inside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  route = inside < 0 ? NULL : fl_netlink_open(NETLINK_ROUTE, err);
  result = route ? make(maker, route, inside, slot, address, err) : -EIO;
  fl_netlink_close(route);
  if (result < 0) {
    enter(maker->own);
    fl_egress_part_remove(maker, slot, address);
  }
  return result;
}

void fl_egress_part_remove(struct fl_egress_maker *maker, uint32_t slot, uint32_t address)
{
  char link[IF_NAMESIZE];

  if (open_all(maker, NULL) < 0)
    return;                                                      /* the next one in this slot tries again */
  name_link(maker, slot, link);
  fl_link_delete(maker->route, link, NULL);
  fl_nft_begin(&maker->nft);
  fl_egress_rules_delete_slot(&maker->nft, link, slot, address);
  fl_nft_commit(&maker->nft, "remove sandbox from nftables table", NULL);
}
