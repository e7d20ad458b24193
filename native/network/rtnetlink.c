/* See rtnetlink.h. Formats: rtnetlink(7), linux/if_link.h, linux/rtnetlink.h. */
#include "network/rtnetlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* Who made our routes (rtm_protocol): a number that no routing daemon uses. */
enum { ROUTE_PROTOCOL = 0xf1 };

static int run(struct fl_netlink *route, const char *op, struct fl_error *err)
{
  fl_netlink_want_ack(route);
  return fl_netlink_run(route, op, err);
}

int fl_veth_add(struct fl_netlink *route, const char *name, const char *peer, int peer_ns, const uint8_t hardware[6], struct fl_error *err)
{
  const struct ifinfomsg link = { 0 };
  size_t info, data, other;

  fl_netlink_begin(route, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, name);
  fl_netlink_put(route, IFLA_ADDRESS, hardware, 6);
  info = fl_netlink_nest(route, IFLA_LINKINFO);
  fl_netlink_put_text(route, IFLA_INFO_KIND, "veth");
  data = fl_netlink_nest(route, IFLA_INFO_DATA);
  /* The peer's attribute begins with a link's header, like a message. */
  other = fl_netlink_nest(route, VETH_INFO_PEER);
  fl_netlink_extend(route, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, peer);
  fl_netlink_put(route, IFLA_ADDRESS, hardware, 6);
  fl_netlink_put_u32(route, IFLA_NET_NS_FD, (uint32_t)peer_ns);
  fl_netlink_unnest(route, other);
  fl_netlink_unnest(route, data);
  fl_netlink_unnest(route, info);
  return run(route, "add veth", err);
}

int fl_link_up(struct fl_netlink *route, const char *name, struct fl_error *err)
{
  const struct ifinfomsg link = { .ifi_flags = IFF_UP | IFF_NOARP, .ifi_change = IFF_UP | IFF_NOARP };

  fl_netlink_begin(route, RTM_NEWLINK, 0, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, name);
  return run(route, "link up", err);
}

int fl_link_forward(struct fl_netlink *route, const char *name, bool on, struct fl_error *err)
{
  const struct ifinfomsg link = { 0 };

  fl_netlink_begin(route, RTM_SETLINK, 0, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, name);
  size_t families = fl_netlink_nest(route, IFLA_AF_SPEC), family = fl_netlink_nest(route, AF_INET), settings = fl_netlink_nest(route, IFLA_INET_CONF);
  fl_netlink_put_u32(route, IPV4_DEVCONF_FORWARDING, on);
  fl_netlink_unnest(route, settings);
  fl_netlink_unnest(route, family);
  fl_netlink_unnest(route, families);
  return run(route, "forward from link", err);
}

static int ignore(const struct nlmsghdr *message, void *context)
{
  (void)message;
  (void)context;
  return 0;
}

int fl_link_settle(struct fl_netlink *route, const char *name, struct fl_error *err)
{
  const struct ifinfomsg link = { 0 };

  fl_netlink_begin(route, RTM_GETLINK, 0, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, name);
  fl_netlink_want_ack(route);
  return fl_netlink_ask(route, "look at link", ignore, NULL, err);
}

int fl_link_delete(struct fl_netlink *route, const char *name, struct fl_error *err)
{
  const struct ifinfomsg link = { 0 };

  fl_netlink_begin(route, RTM_DELLINK, 0, &link, sizeof link);
  fl_netlink_put_text(route, IFLA_IFNAME, name);
  return run(route, "delete link", err);
}

enum { SWEEP_MAX = 64 };
struct found { const char *prefix; uint32_t count; char name[SWEEP_MAX][IFNAMSIZ]; };

static int note_link(const struct nlmsghdr *message, void *context)
{
  const struct nlattr *name = message->nlmsg_type == RTM_NEWLINK ? fl_netlink_find(message, sizeof(struct ifinfomsg), IFLA_IFNAME) : NULL;
  struct found *found = context;

  if (!name || fl_netlink_size(name) > IFNAMSIZ || strncmp(fl_netlink_data(name), found->prefix, strlen(found->prefix)) != 0)
    return 0;
  memcpy(found->name[found->count], fl_netlink_data(name), fl_netlink_size(name));
  found->name[found->count][IFNAMSIZ - 1] = 0;
  return ++found->count == SWEEP_MAX;
}

int fl_links_sweep(struct fl_netlink *route, const char *prefix, struct fl_error *err)
{
  const struct ifinfomsg any = { 0 };
  struct found found;
  int result;

  do {
    found = (struct found){ .prefix = prefix };
    fl_netlink_begin(route, RTM_GETLINK, NLM_F_DUMP, &any, sizeof any);
    result = fl_netlink_ask(route, "list links", note_link, &found, err);
    for (uint32_t index = 0; index < found.count && result == 0; index++) {
      result = fl_link_delete(route, found.name[index], NULL);
      if (result == -ENODEV)
        result = 0;                                              /* its namespace was just coming down by itself */
      else if (result < 0)
        fl_fail(err, FL_ERR_NETWORK, -result, "delete link", "%s", found.name[index]);
    }
  } while (result == 0 && found.count == SWEEP_MAX);
  return result;
}

int fl_address_add(struct fl_netlink *route, uint32_t index, uint32_t address, struct fl_error *err)
{
  const struct ifaddrmsg header = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = index };

  fl_netlink_begin(route, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
  fl_netlink_put_be32(route, IFA_LOCAL, address);
  return run(route, "add address", err);
}

static void begin_route(struct fl_netlink *route, uint16_t type, uint16_t flags, struct fl_prefix to, uint8_t kind, uint8_t scope, uint8_t route_flags)
{
  const struct rtmsg header = { .rtm_family = AF_INET, .rtm_dst_len = to.length, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = ROUTE_PROTOCOL, .rtm_type = kind,
                                .rtm_scope = scope, .rtm_flags = route_flags };

  fl_netlink_begin(route, type, flags, &header, sizeof header);
  if (to.length > 0)
    fl_netlink_put_be32(route, RTA_DST, to.address);
}

int fl_route_add(struct fl_netlink *route, struct fl_prefix to, uint32_t index, uint32_t gateway, struct fl_error *err)
{
  begin_route(route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, to, RTN_UNICAST, gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, gateway ? RTNH_F_ONLINK : 0);
  fl_netlink_put_u32(route, RTA_OIF, index);
  if (gateway)
    fl_netlink_put_be32(route, RTA_GATEWAY, gateway);
  return run(route, "add route", err);
}

int fl_route_claim(struct fl_netlink *route, struct fl_prefix prefix, struct fl_error *err)
{
  begin_route(route, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, prefix, RTN_UNREACHABLE, RT_SCOPE_UNIVERSE, 0);
  return run(route, "claim addresses", err);
}

int fl_route_unclaim(struct fl_netlink *route, struct fl_prefix prefix, struct fl_error *err)
{
  begin_route(route, RTM_DELROUTE, 0, prefix, RTN_UNREACHABLE, RT_SCOPE_UNIVERSE, 0);
  return run(route, "give addresses back", err);
}

static int note_route(const struct nlmsghdr *message, void *context)
{
  const struct rtmsg *header = NLMSG_DATA(message);
  const struct nlattr *to, *link, *priority;
  struct fl_routes *routes = context;
  uint32_t metric = 0;

  if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof *header) || header->rtm_family != AF_INET)
    return 0;
  to = fl_netlink_find(message, sizeof *header, RTA_DST);
  link = fl_netlink_find(message, sizeof *header, RTA_OIF);
  priority = fl_netlink_find(message, sizeof *header, RTA_PRIORITY);
  if (priority && fl_netlink_size(priority) == sizeof metric)
    memcpy(&metric, fl_netlink_data(priority), sizeof metric);
  if (header->rtm_dst_len == 0) {
    if (header->rtm_type == RTN_UNICAST && header->rtm_table == RT_TABLE_MAIN && link && fl_netlink_size(link) == sizeof(uint32_t) && (!routes->uplink || metric < routes->metric)) {
      memcpy(&routes->uplink, fl_netlink_data(link), sizeof routes->uplink);
      routes->metric = metric;
    }
    return 0;
  }
  if (!to || fl_netlink_size(to) != sizeof(uint32_t) || routes->count > FL_ROUTES_MAX)
    return 0;
  if (routes->count == FL_ROUTES_MAX) {
    routes->count++;
    return 1;
  }
  memcpy(&routes->prefix[routes->count].address, fl_netlink_data(to), sizeof(uint32_t));
  routes->prefix[routes->count].address = ntohl(routes->prefix[routes->count].address);
  routes->prefix[routes->count++].length = header->rtm_dst_len;
  return 0;
}

int fl_routes_read(struct fl_netlink *route, struct fl_routes *ret_routes, struct fl_error *err)
{
  const struct rtmsg any = { .rtm_family = AF_INET };
  int result;

  ret_routes->count = ret_routes->uplink = ret_routes->metric = 0;
  fl_netlink_begin(route, RTM_GETROUTE, NLM_F_DUMP, &any, sizeof any);
  result = fl_netlink_ask(route, "list routes", note_route, ret_routes, err);
  if (result == 0 && ret_routes->count > FL_ROUTES_MAX)
    return fl_fail(err, FL_ERR_NETWORK, E2BIG, "list routes", "the host has more than %d routes", FL_ROUTES_MAX);
  return result;
}
