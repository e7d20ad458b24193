/* See connections.h. */
#include "network/connections.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The kernel's CTA_FILTER_FLAG(CTA_IP_SRC), which no header has: compare the source address of the original direction. */
enum { CTA_FILTER_SOURCE = 1 << 0 };

/* Whoever had the address had FL_EGRESS_CONNECTIONS_MAX of them at a time: a few rounds are enough. */
enum { TUPLE_BYTES = 96, LISTED_MAX = 256, ROUNDS_MAX = 64 };

static const struct nfgenmsg header = { .nfgen_family = AF_INET, .version = 1 };

/* zone: as the kernel writes it; 0, which it never names, is the one that all are in. */
struct listed { uint32_t address, count; struct { uint16_t zone, size; uint8_t bytes[TUPLE_BYTES]; } tuple[LISTED_MAX]; };

static void begin(struct fl_netlink *netlink, uint16_t kind, uint16_t flags)
{
  fl_netlink_begin(netlink, NFNL_SUBSYS_CTNETLINK << 8 | kind, flags, &header, sizeof header);
}

static void put_source(struct fl_netlink *netlink, uint32_t address)
{
  size_t nest = fl_netlink_nest(netlink, CTA_TUPLE_ORIG), ip = fl_netlink_nest(netlink, CTA_TUPLE_IP);

  fl_netlink_put_be32(netlink, CTA_IP_V4_SRC, address);
  fl_netlink_unnest(netlink, ip);
  fl_netlink_unnest(netlink, nest);
  nest = fl_netlink_nest(netlink, CTA_FILTER);
  fl_netlink_put_u32(netlink, CTA_FILTER_ORIG_FLAGS, CTA_FILTER_SOURCE);
  fl_netlink_put_u32(netlink, CTA_FILTER_REPLY_FLAGS, 0);
  fl_netlink_unnest(netlink, nest);
}

/* A kernel that knows no such filter tells of all connections. */
static int list(const struct nlmsghdr *message, void *context)
{
  struct listed *listed = context;
  const struct nlattr *tuple = fl_netlink_find(message, sizeof header, CTA_TUPLE_ORIG), *ip = tuple ? fl_netlink_find_in(tuple, CTA_TUPLE_IP) : NULL;
  const struct nlattr *source = ip ? fl_netlink_find_in(ip, CTA_IP_V4_SRC) : NULL, *zone = fl_netlink_find(message, sizeof header, CTA_ZONE);

  if (!source || fl_netlink_size(source) != sizeof listed->address || memcmp(fl_netlink_data(source), &listed->address, sizeof listed->address) || fl_netlink_size(tuple) > TUPLE_BYTES)
    return 0;
  listed->tuple[listed->count].zone = 0;
  if (zone && fl_netlink_size(zone) == sizeof listed->tuple[0].zone)
    memcpy(&listed->tuple[listed->count].zone, fl_netlink_data(zone), sizeof listed->tuple[0].zone);
  listed->tuple[listed->count].size = (uint16_t)fl_netlink_size(tuple);
  memcpy(listed->tuple[listed->count].bytes, fl_netlink_data(tuple), fl_netlink_size(tuple));
  return ++listed->count == LISTED_MAX;
}

/* One that has ended meanwhile is forgotten as well. */
static int forget(struct fl_netlink *netlink, const struct listed *listed, struct fl_error *err)
{
  for (uint32_t each = 0; each < listed->count; each++) {
    int result;

    begin(netlink, IPCTNL_MSG_CT_DELETE, 0);
    fl_netlink_put(netlink, CTA_TUPLE_ORIG | NLA_F_NESTED, listed->tuple[each].bytes, listed->tuple[each].size);
    if (listed->tuple[each].zone)
      fl_netlink_put(netlink, CTA_ZONE, &listed->tuple[each].zone, sizeof listed->tuple[each].zone);
    fl_netlink_want_ack(netlink);
    result = fl_netlink_run(netlink, "forget connection", err);
    if (result < 0 && result != -ENOENT)
      return result;
  }
  return 0;
}

int fl_connections_forget_each(struct fl_netlink *netlink, uint32_t address, struct fl_error *err)
{
  fl_autofree struct listed *listed = malloc(sizeof *listed);

  if (!listed)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "connections");
  listed->address = htonl(address);
  for (int round = 0; round < ROUNDS_MAX; round++) {
    int result;

    listed->count = 0;
    fl_netlink_reset(netlink);
    begin(netlink, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
    put_source(netlink, address);
    result = fl_netlink_ask(netlink, "list connections", list, listed, err);
    if (result == 0)
      result = forget(netlink, listed, err);
    if (result < 0 || listed->count == 0)                        /* of a table that changes meanwhile a list may miss some */
      return result;
  }
  return fl_fail(err, FL_ERR_NETWORK, EBUSY, "forget connections", "there are always more");
}

int fl_connections_forget(struct fl_netlink *netlink, uint32_t address, struct fl_error *err)
{
  struct fl_error whole = { 0 };
  int result;

  fl_netlink_reset(netlink);
  begin(netlink, IPCTNL_MSG_CT_DELETE, 0);
  put_source(netlink, address);
  fl_netlink_want_ack(netlink);
  result = fl_netlink_run(netlink, "forget connections", &whole);
  if (result == -EINVAL)
    return fl_connections_forget_each(netlink, address, err);
  if (result < 0 && err)
    *err = whole;
  return result;
}
