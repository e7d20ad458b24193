/*
 * What the table says, in the order in which a packet meets it. Decisions are made on the destination that the sandbox wrote, before anybody's NAT could have changed it.
 *
 *   entry        prerouting, -150    not from one of ours → passes. IPv6, or a sender that is not its link's own address → dropped
 *                                    faster than its rate → dropped
 *                                    belongs to a connection → passes. No policy granted → refused
 *                                    ─▶ s<slot>: too many connections → refused
 *                                       ─▶ common: name server → passes; the host, other sandboxes, loopback, link-local, multicast → refused
 *                                       the policy's allow-list, and what its names stand for → passes
 *                                    ─▶ public, where the policy has it: private → refused; TCP, UDP, ICMP → passes
 *                                    refused
 *   names        prerouting, nat     name server → the host's; of those whose policy has names → the forwarder
 *   exit         postrouting, -150   to one of ours: faster than its rate → dropped; only what belongs to a connection that it has begun, the host's refusals, and questions to the forwarder
 *   masquerade   postrouting, nat    from our block → with the host's address, but for those questions
 *   guard        forward, 0          only where forwarding was off: what comes over the uplink is forwarded to ours and to nobody else
 *
 * Everything is refused unless granted: a slot without a policy, or one whose sandbox has ended, reaches nothing.
 */
#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "network/egress.h"

#define SOURCES "sources"                      /* link and address of each slot's sandbox */
#define SLOTS "slots"                          /* address → the slot's chain */
#define GRANTED "granted"                      /* addresses of those that have a policy */
#define PUBLIC "public"                        /* addresses that may reach the public internet; the chain that says what that is */
#define NAMED "named"                          /* addresses of those whose policy has names */
#define UP "up"                                /* addresses with the rate at which each may send … */
#define DOWN "down"                            /* … and at which it may be sent to */
#define COMMON "common"
#define REFUSE "refuse"

/* Priorities among the hooks of a place: after connection tracking (-200), before address translation (-100 and 100). */
/* What may come at once beyond a second's worth: one packet of the largest kind that a cable carries, or the slowest could not send any. */
enum { BURST_BYTES = 64 << 10 };
enum { PRIORITY_DECIDE = -150, PRIORITY_FROM = -100, PRIORITY_FILTER = 0, PRIORITY_TO = 100, DNS_PORT = 53, NAME_BYTES = 16, ADDRESS_BYTES = 4 };
/* For nft(8), which shows keys by these: ipv4_addr is 7, inet_service 13, ifname 41; a pair is both in six bits each. */
enum { TYPE_ADDRESS = 7, TYPE_SOURCE = 41 << 6 | 7, TYPE_TARGET = 7 << 6 | 13 };

/* The kernel's conntrack states as bits of `ct state`. */
enum { CT_INVALID = 1, CT_ESTABLISHED = 1 << (IP_CT_ESTABLISHED + 1), CT_RELATED = 1 << (IP_CT_RELATED + 1) };

/* Never reachable, whatever a policy says. The host's own addresses, broadcast and multicast are told by its routes. */
static const struct fl_prefix closed[] = {
  { 0x00000000, 8 },                           /* this network */
  { 0x7f000000, 8 },                           /* loopback */
  { 0xa9fe0000, 16 },                          /* link-local: the metadata services of clouds */
  { 0xe0000000, 3 },                           /* multicast, reserved, broadcast */
};

/* Not public: reachable only when an allow-list names it. */
static const struct fl_prefix private[] = {
  { 0x0a000000, 8 }, { 0xac100000, 12 }, { 0xc0a80000, 16 },                     /* RFC 1918 */
  { 0x64400000, 10 },                                                            /* carriers' NAT, RFC 6598 */
  { 0xc0000000, 24 }, { 0xc6120000, 15 },                                        /* IETF protocols, benchmarking: RFC 6890 */
};

bool fl_egress_is_public(uint32_t address)
{
  const struct fl_prefix exact = { address, 32 };
  bool found = false;

  for (size_t index = 0; index < FL_COUNT(closed); index++)
    found |= fl_prefix_overlaps(closed[index], exact);
  for (size_t index = 0; index < FL_COUNT(private); index++)
    found |= fl_prefix_overlaps(private[index], exact);
  return !found;
}

static void if_protocol_4(struct fl_nft *nft, bool is)
{
  const uint8_t protocol = NFPROTO_IPV4;

  fl_nft_meta(nft, NFT_META_NFPROTO);
  (is ? fl_nft_is : fl_nft_is_not)(nft, &protocol, sizeof protocol);
}

static void if_transport(struct fl_nft *nft, uint8_t protocol)
{
  fl_nft_meta(nft, NFT_META_L4PROTO);
  fl_nft_is(nft, &protocol, sizeof protocol);
}

static void if_to_port(struct fl_nft *nft, uint16_t port)
{
  const uint16_t wire = htons(port);

  fl_nft_destination_port(nft);
  fl_nft_is(nft, &wire, sizeof wire);
}

static void if_address(struct fl_nft *nft, enum fl_nft_field field, struct fl_prefix prefix)
{
  const uint32_t wire = htonl(prefix.address);

  fl_nft_address(nft, field);
  if (prefix.length < 32)
    fl_nft_mask(nft, htonl(fl_prefix_mask(prefix.length)));
  fl_nft_is(nft, &wire, sizeof wire);
}

static void if_ct_state(struct fl_nft *nft, uint32_t states)
{
  static const uint32_t none;

  fl_nft_ct_state(nft);
  fl_nft_mask(nft, states);
  fl_nft_is_not(nft, &none, sizeof none);
}

static void if_name_server(struct fl_nft *nft, uint8_t transport)
{
  if_address(nft, FL_NFT_DESTINATION, (struct fl_prefix){ FL_EGRESS_GATEWAY, 32 });
  if_transport(nft, transport);
  if_to_port(nft, DNS_PORT);
}

static void end(struct fl_nft *nft, int32_t code, const char *chain)
{
  fl_nft_verdict(nft, code, chain);
  fl_nft_rule_end(nft);
}

static void end_refused(struct fl_nft *nft)
{
  end(nft, NFT_GOTO, REFUSE);
}

/* At once, rather than by silence. A reset for TCP: an ICMP error that comes back within connect(2) is only noted by the kernel, and the next attempt is a second later. */
static void put_refuse(struct fl_nft *nft)
{
  fl_nft_chain_add(nft, REFUSE);
  fl_nft_rule(nft, REFUSE);
  if_transport(nft, IPPROTO_TCP);
  fl_nft_reset(nft);
  fl_nft_rule_end(nft);
  fl_nft_rule(nft, REFUSE);
  fl_nft_reject(nft);
  fl_nft_rule_end(nft);
}

static void refuse_each(struct fl_nft *nft, const char *chain, const struct fl_prefix *prefix, size_t count)
{
  for (size_t index = 0; index < count; index++) {
    fl_nft_rule(nft, chain);
    if_address(nft, FL_NFT_DESTINATION, prefix[index]);
    end_refused(nft);
  }
}

/* What the policy does not decide. */
static void put_common(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  static const uint8_t transports[] = { IPPROTO_UDP, IPPROTO_TCP };
  const uint32_t unicast = RTN_UNICAST;

  fl_nft_chain_add(nft, COMMON);
  for (size_t index = 0; index < FL_COUNT(transports); index++) {
    fl_nft_rule(nft, COMMON);
    if_name_server(nft, transports[index]);
    end(nft, NF_ACCEPT, NULL);
  }
  fl_nft_rule(nft, COMMON);
  fl_nft_destination_kind(nft);
  fl_nft_is_not(nft, &unicast, sizeof unicast);
  end_refused(nft);
  refuse_each(nft, COMMON, &rules->block, 1);
  refuse_each(nft, COMMON, closed, FL_COUNT(closed));
}

static void put_public(struct fl_nft *nft)
{
  static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };

  fl_nft_chain_add(nft, PUBLIC);
  refuse_each(nft, PUBLIC, private, FL_COUNT(private));
  for (size_t index = 0; index < FL_COUNT(protocols); index++) {
    fl_nft_rule(nft, PUBLIC);
    if_transport(nft, protocols[index]);
    end(nft, NF_ACCEPT, NULL);
  }
}

static void if_link(struct fl_nft *nft, uint32_t which, const char *links, bool is)
{
  fl_nft_meta(nft, which);
  (is ? fl_nft_is : fl_nft_is_not)(nft, links, strlen(links));
}

/* Dropped, not delayed: a sender that cares slows down, and one that does not costs no memory of the host's. */
static void drop_faster(struct fl_nft *nft, const char *chain, enum fl_nft_field field, const char *rates)
{
  fl_nft_rule(nft, chain);
  fl_nft_address(nft, field);
  fl_nft_in(nft, rates, true);
  end(nft, NF_DROP, NULL);
}

/* What belongs to a connection, and errors that do. Nothing else that somebody's protocol helper expects of one, such as a second connection to an address that a server has named. */
static void accept_connected(struct fl_nft *nft, const char *chain)
{
  fl_nft_rule(nft, chain);
  if_ct_state(nft, CT_ESTABLISHED);
  end(nft, NF_ACCEPT, NULL);
  fl_nft_rule(nft, chain);
  if_ct_state(nft, CT_RELATED);
  if_transport(nft, IPPROTO_ICMP);
  end(nft, NF_ACCEPT, NULL);
}

static void put_entry(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  fl_nft_hook_add(nft, "entry", "filter", NF_INET_PRE_ROUTING, PRIORITY_DECIDE);
  fl_nft_rule(nft, "entry");
  if_link(nft, NFT_META_IIFNAME, rules->links, false);
  end(nft, NF_ACCEPT, NULL);
  fl_nft_rule(nft, "entry");
  if_protocol_4(nft, false);
  end(nft, NF_DROP, NULL);
  fl_nft_rule(nft, "entry");
  fl_nft_source_not_in(nft, SOURCES);
  end(nft, NF_DROP, NULL);
  drop_faster(nft, "entry", FL_NFT_SOURCE, UP);
  accept_connected(nft, "entry");
  fl_nft_rule(nft, "entry");
  if_ct_state(nft, CT_INVALID);
  end(nft, NF_DROP, NULL);
  fl_nft_rule(nft, "entry");
  fl_nft_address(nft, FL_NFT_SOURCE);
  fl_nft_in(nft, GRANTED, false);
  end_refused(nft);
  fl_nft_rule(nft, "entry");
  fl_nft_address(nft, FL_NFT_SOURCE);
  fl_nft_verdict_of(nft, SLOTS);
  fl_nft_rule_end(nft);
  fl_nft_rule(nft, "entry");
  fl_nft_address(nft, FL_NFT_SOURCE);
  fl_nft_in(nft, PUBLIC, true);
  end(nft, NFT_JUMP, PUBLIC);
  fl_nft_rule(nft, "entry");
  end_refused(nft);
}

static void put_name_server(struct fl_nft *nft, const struct fl_egress_rules *rules, bool named)
{
  static const uint8_t transports[] = { IPPROTO_UDP, IPPROTO_TCP };

  for (size_t index = 0; index < FL_COUNT(transports); index++) {
    fl_nft_rule(nft, "names");
    if_link(nft, NFT_META_IIFNAME, rules->links, true);
    if_protocol_4(nft, true);
    if_name_server(nft, transports[index]);
    fl_nft_address(nft, FL_NFT_SOURCE);
    fl_nft_in(nft, NAMED, named);
    fl_nft_destination_nat(nft, htonl(named ? rules->forwarder : rules->nameserver));
    fl_nft_rule_end(nft);
  }
}

static void put_translation(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  const uint32_t forwarder = htonl(rules->forwarder);

  fl_nft_hook_add(nft, "names", "nat", NF_INET_PRE_ROUTING, PRIORITY_FROM);
  if (rules->nameserver) {
    put_name_server(nft, rules, false);
    put_name_server(nft, rules, true);
  }
  fl_nft_hook_add(nft, "masquerade", "nat", NF_INET_POST_ROUTING, PRIORITY_TO);
  fl_nft_rule(nft, "masquerade");
  if_protocol_4(nft, true);
  if_address(nft, FL_NFT_SOURCE, rules->block);
  fl_nft_address(nft, FL_NFT_DESTINATION);
  fl_nft_is_not(nft, &forwarder, sizeof forwarder);              /* which has to know who asks */
  fl_nft_masquerade(nft);
  fl_nft_rule_end(nft);
}

static void put_exit(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  const uint32_t nowhere = 0;                                    /* it comes over no link: the host says it */
  const uint8_t unreachable = ICMP_DEST_UNREACH;

  fl_nft_hook_add(nft, "exit", "filter", NF_INET_POST_ROUTING, PRIORITY_DECIDE);
  fl_nft_rule(nft, "exit");
  if_link(nft, NFT_META_OIFNAME, rules->links, false);
  end(nft, NF_ACCEPT, NULL);
  drop_faster(nft, "exit", FL_NFT_DESTINATION, DOWN);
  accept_connected(nft, "exit");
  /* A reset of the host's goes as related to what it refuses (nf_ct_attach). */
  fl_nft_rule(nft, "exit");
  fl_nft_meta(nft, NFT_META_IIF);
  fl_nft_is(nft, &nowhere, sizeof nowhere);
  if_ct_state(nft, CT_RELATED);
  end(nft, NF_ACCEPT, NULL);
  /* A refused packet never became a connection, so that the refusal belongs to none. */
  fl_nft_rule(nft, "exit");
  fl_nft_meta(nft, NFT_META_IIF);
  fl_nft_is(nft, &nowhere, sizeof nowhere);
  if_transport(nft, IPPROTO_ICMP);
  fl_nft_icmp_type(nft);
  fl_nft_is(nft, &unreachable, sizeof unreachable);
  end(nft, NF_ACCEPT, NULL);
  fl_nft_rule(nft, "exit");
  if_protocol_4(nft, true);
  if_address(nft, FL_NFT_DESTINATION, (struct fl_prefix){ rules->forwarder, 32 });
  fl_nft_address(nft, FL_NFT_SOURCE);
  fl_nft_in(nft, NAMED, true);
  end(nft, NF_ACCEPT, NULL);
  fl_nft_rule(nft, "exit");
  end(nft, NF_DROP, NULL);
}

static void put_guard(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  char uplink[NAME_BYTES] = "";

  snprintf(uplink, sizeof uplink, "%s", rules->uplink);
  fl_nft_hook_add(nft, "guard", "filter", NF_INET_FORWARD, PRIORITY_FILTER);
  fl_nft_rule(nft, "guard");
  fl_nft_meta(nft, NFT_META_IIFNAME);
  fl_nft_is(nft, uplink, sizeof uplink);
  if_link(nft, NFT_META_OIFNAME, rules->links, false);
  end(nft, NF_DROP, NULL);
}

void fl_egress_rules_put(struct fl_nft *nft, const struct fl_egress_rules *rules)
{
  fl_nft_set_add(nft, SOURCES, false, TYPE_SOURCE, NAME_BYTES + ADDRESS_BYTES);
  fl_nft_set_add(nft, GRANTED, false, TYPE_ADDRESS, ADDRESS_BYTES);
  fl_nft_set_add(nft, PUBLIC, false, TYPE_ADDRESS, ADDRESS_BYTES);
  fl_nft_set_add(nft, NAMED, false, TYPE_ADDRESS, ADDRESS_BYTES);
  fl_nft_rates_add(nft, UP, TYPE_ADDRESS, ADDRESS_BYTES);
  fl_nft_rates_add(nft, DOWN, TYPE_ADDRESS, ADDRESS_BYTES);
  fl_nft_set_add(nft, SLOTS, true, TYPE_ADDRESS, ADDRESS_BYTES);
  put_refuse(nft);
  put_common(nft, rules);
  put_public(nft);
  put_entry(nft, rules);
  put_translation(nft, rules);
  put_exit(nft, rules);
  if (rules->uplink)
    put_guard(nft, rules);
}

struct source { char link[NAME_BYTES]; uint32_t address; };

static struct source source_of(const char *link, uint32_t address)
{
  struct source source = { .address = htonl(address) };

  snprintf(source.link, sizeof source.link, "%s", link);
  return source;
}

void fl_egress_chain(uint32_t slot, char ret_chain[FL_EGRESS_CHAIN_BYTES])
{
  snprintf(ret_chain, FL_EGRESS_CHAIN_BYTES, "s%u", slot);
}

bool fl_egress_is_chain(const char *name, size_t size)
{
  return size > 1 && name[0] == 's' && name[1] >= '0' && name[1] <= '9';
}

void fl_egress_rules_put_slot(struct fl_nft *nft, const char *link, uint32_t slot, uint32_t address, uint32_t connections)
{
  const struct source source = source_of(link, address);
  char chain[FL_EGRESS_CHAIN_BYTES];

  fl_egress_chain(slot, chain);
  fl_nft_chain_add(nft, chain);
  fl_nft_chain_flush(nft, chain);                                /* a builder that died may have left one */
  fl_nft_rule(nft, chain);
  fl_nft_connections_over(nft, connections);
  end_refused(nft);
  fl_nft_rule(nft, chain);
  end(nft, NFT_JUMP, COMMON);
  fl_nft_element_add(nft, SOURCES, &source, sizeof source, NULL);
  fl_nft_element_add(nft, SLOTS, &source.address, sizeof source.address, chain);
}

void fl_egress_rules_delete_slot(struct fl_nft *nft, const char *link, uint32_t slot, uint32_t address)
{
  static const char *const granted[] = { GRANTED, PUBLIC, UP, DOWN };
  const struct source source = source_of(link, address);
  char chain[FL_EGRESS_CHAIN_BYTES];

  fl_egress_chain(slot, chain);
  /* Whether it stands in these depends on what it was granted: what is added first can be deleted in any case. */
  for (size_t index = 0; index < FL_COUNT(granted); index++) {
    fl_nft_element_add(nft, granted[index], &source.address, sizeof source.address, NULL);
    fl_nft_element_delete(nft, granted[index], &source.address, sizeof source.address);
  }
  fl_nft_element_delete(nft, SLOTS, &source.address, sizeof source.address);
  fl_nft_element_delete(nft, SOURCES, &source, sizeof source);
  fl_nft_chain_delete(nft, chain);
}

static void put_permission(struct fl_nft *nft, const char *chain, const struct fl_egress_rule *rule, uint8_t transport)
{
  fl_nft_rule(nft, chain);
  if_address(nft, FL_NFT_DESTINATION, (struct fl_prefix){ rule->address, rule->prefix });
  if_transport(nft, transport);
  if (rule->port)
    if_to_port(nft, rule->port);
  end(nft, NF_ACCEPT, NULL);
}

/* What names stand for at the moment, of one slot. */
enum { TARGETS_BYTES = 16, TARGET_BYTES = 8 };

static void name_targets(uint32_t slot, char ret_set[TARGETS_BYTES])
{
  snprintf(ret_set, TARGETS_BYTES, "t%u", slot);
}

static void put_names(struct fl_nft *nft, uint32_t slot, const char *chain, uint32_t source)
{
  static const uint8_t transports[] = { IPPROTO_TCP, IPPROTO_UDP };
  char set[TARGETS_BYTES];

  name_targets(slot, set);
  fl_nft_passing_set_add(nft, set, TYPE_TARGET, TARGET_BYTES, FL_EGRESS_OPENED_MAX);
  for (size_t index = 0; index < FL_COUNT(transports); index++) {
    fl_nft_rule(nft, chain);
    if_transport(nft, transports[index]);
    fl_nft_target_in(nft, set);
    end(nft, NF_ACCEPT, NULL);
  }
  fl_nft_element_add(nft, NAMED, &source, sizeof source, NULL);
}

void fl_egress_rules_put_target(struct fl_nft *nft, uint32_t slot, struct fl_egress_target target, uint32_t seconds)
{
  const struct { uint32_t address; uint16_t port, padding; } key = { .address = htonl(target.address), .port = htons(target.port) };
  char set[TARGETS_BYTES];

  name_targets(slot, set);
  fl_nft_passing_element_put(nft, set, &key, sizeof key, seconds);
}

void fl_egress_rules_revoke(struct fl_nft *nft, uint32_t slot, uint32_t address)
{
  const uint32_t source = htonl(address);
  char chain[FL_EGRESS_CHAIN_BYTES], set[TARGETS_BYTES];

  fl_egress_chain(slot, chain);
  name_targets(slot, set);
  fl_nft_chain_flush(nft, chain);
  fl_nft_element_delete(nft, NAMED, &source, sizeof source);
  fl_nft_set_delete(nft, set);
}

void fl_egress_rules_put_policy(struct fl_nft *nft, uint32_t slot, uint32_t address, const struct fl_egress_policy *policy)
{
  const uint32_t source = htonl(address);
  char chain[FL_EGRESS_CHAIN_BYTES];

  fl_egress_chain(slot, chain);
  for (uint32_t index = 0; index < policy->rules; index++) {
    put_permission(nft, chain, &policy->rule[index], IPPROTO_TCP);
    put_permission(nft, chain, &policy->rule[index], IPPROTO_UDP);
  }
  if (policy->flags & FL_EGRESS_NAMES)
    put_names(nft, slot, chain, source);
  if (policy->flags & FL_EGRESS_PUBLIC)
    fl_nft_element_add(nft, PUBLIC, &source, sizeof source, NULL);
  fl_nft_rate_set(nft, UP, &source, sizeof source, policy->bytes_per_second, BURST_BYTES);
  fl_nft_rate_set(nft, DOWN, &source, sizeof source, policy->bytes_per_second, BURST_BYTES);
  fl_nft_element_add(nft, GRANTED, &source, sizeof source, NULL);
}
