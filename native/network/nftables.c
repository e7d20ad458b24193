/* See nftables.h. Formats: linux/netfilter/nf_tables.h, whose numbers travel in network byte order. */
#include "network/nft_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE = NFNL_SUBSYS_NFTABLES << 8, ADDRESS_BYTES = 4 };

int fl_nft_open(struct fl_nft *ret_nft, const char *table, struct fl_error *err)
{
  *ret_nft = (struct fl_nft){ .netlink = fl_netlink_open(NETLINK_NETFILTER, err), .table = table };
  return ret_nft->netlink ? 0 : -EIO;
}

void fl_nft_close(struct fl_nft *nft)
{
  fl_netlink_close(nft->netlink);
  nft->netlink = NULL;
}

void fl_nft_message(struct fl_nft *nft, uint16_t type, uint16_t flags)
{
  const struct nfgenmsg header = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };

  fl_netlink_begin(nft->netlink, MESSAGE | type, flags, &header, sizeof header);
}

static void bracket(struct fl_nft *nft, uint16_t type)
{
  const struct nfgenmsg header = { .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES) };

  fl_netlink_begin(nft->netlink, type, 0, &header, sizeof header);
}

void fl_nft_begin(struct fl_nft *nft)
{
  fl_netlink_reset(nft->netlink);
  nft->sets = 0;
  bracket(nft, NFNL_MSG_BATCH_BEGIN);
}

int fl_nft_commit(struct fl_nft *nft, const char *op, struct fl_error *err)
{
  fl_netlink_want_ack(nft->netlink);
  bracket(nft, NFNL_MSG_BATCH_END);
  return fl_netlink_run(nft->netlink, op, err);
}

void fl_nft_table_add(struct fl_nft *nft, const void *note, size_t size)
{
  fl_nft_message(nft, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
  fl_netlink_put_text(nft->netlink, NFTA_TABLE_NAME, nft->table);
  fl_netlink_put(nft->netlink, NFTA_TABLE_USERDATA, note, size);
}

void fl_nft_table_delete(struct fl_nft *nft)
{
  fl_nft_message(nft, NFT_MSG_DELTABLE, 0);
  fl_netlink_put_text(nft->netlink, NFTA_TABLE_NAME, nft->table);
}

struct note { void *bytes; size_t size, got; };

static int take_note(const struct nlmsghdr *table, void *context)
{
  const struct nlattr *data = fl_netlink_find(table, sizeof(struct nfgenmsg), NFTA_TABLE_USERDATA);
  struct note *note = context;

  if (table->nlmsg_type == (MESSAGE | NFT_MSG_NEWTABLE) && data && fl_netlink_size(data) == note->size) {
    memcpy(note->bytes, fl_netlink_data(data), note->size);
    note->got = note->size;
  }
  return 0;
}

int fl_nft_table_note(struct fl_nft *nft, void *note, size_t size, size_t *ret_size, struct fl_error *err)
{
  struct note taken = { .bytes = note, .size = size };
  int result;

  fl_netlink_reset(nft->netlink);
  fl_nft_message(nft, NFT_MSG_GETTABLE, 0);
  fl_netlink_put_text(nft->netlink, NFTA_TABLE_NAME, nft->table);
  fl_netlink_want_ack(nft->netlink);
  result = fl_netlink_ask(nft->netlink, "look for nftables table", take_note, &taken, err);
  *ret_size = taken.got;
  return result;
}

struct dropped { char *where; size_t size; bool found; };

static uint32_t number(const struct nlattr *attribute)
{
  uint32_t value = UINT32_MAX;

  if (attribute && fl_netlink_size(attribute) == sizeof value)
    memcpy(&value, fl_netlink_data(attribute), sizeof value);
  return ntohl(value);
}

static int look_at_chain(const struct nlmsghdr *chain, void *context)
{
  const struct nfgenmsg *header = NLMSG_DATA(chain);
  const struct nlattr *hook = fl_netlink_find(chain, sizeof *header, NFTA_CHAIN_HOOK), *table = fl_netlink_find(chain, sizeof *header, NFTA_CHAIN_TABLE);
  const struct nlattr *name = fl_netlink_find(chain, sizeof *header, NFTA_CHAIN_NAME);
  struct dropped *dropped = context;

  if (!hook || !table || !name || (header->nfgen_family != NFPROTO_IPV4 && header->nfgen_family != NFPROTO_INET))
    return 0;
  if (number(fl_netlink_find_in(hook, NFTA_HOOK_HOOKNUM)) != NF_INET_FORWARD || number(fl_netlink_find(chain, sizeof *header, NFTA_CHAIN_POLICY)) != NF_DROP)
    return 0;
  snprintf(dropped->where, dropped->size, "%.*s %.*s", (int)strnlen(fl_netlink_data(table), fl_netlink_size(table)), (const char *)fl_netlink_data(table),
           (int)strnlen(fl_netlink_data(name), fl_netlink_size(name)), (const char *)fl_netlink_data(name));
  dropped->found = true;
  return 1;
}

bool fl_nft_forward_is_dropped(struct fl_nft *nft, char *ret_where, size_t size)
{
  const struct nfgenmsg any = { .version = NFNETLINK_V0 };
  struct dropped dropped = { .where = ret_where, .size = size };

  fl_netlink_reset(nft->netlink);
  fl_netlink_begin(nft->netlink, MESSAGE | NFT_MSG_GETCHAIN, NLM_F_DUMP, &any, sizeof any);
  fl_netlink_ask(nft->netlink, "list nftables chains", look_at_chain, &dropped, NULL);
  return dropped.found;
}

static void chain_message(struct fl_nft *nft, uint16_t type, uint16_t flags, const char *chain)
{
  fl_nft_message(nft, type, flags);
  fl_netlink_put_text(nft->netlink, NFTA_CHAIN_TABLE, nft->table);
  fl_netlink_put_text(nft->netlink, NFTA_CHAIN_NAME, chain);
}

void fl_nft_hook_add(struct fl_nft *nft, const char *chain, const char *type, uint32_t hook, int32_t priority)
{
  size_t nest;

  chain_message(nft, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, chain);
  nest = fl_netlink_nest(nft->netlink, NFTA_CHAIN_HOOK);
  fl_netlink_put_be32(nft->netlink, NFTA_HOOK_HOOKNUM, hook);
  fl_netlink_put_be32(nft->netlink, NFTA_HOOK_PRIORITY, (uint32_t)priority);
  fl_netlink_unnest(nft->netlink, nest);
  fl_netlink_put_be32(nft->netlink, NFTA_CHAIN_POLICY, NF_ACCEPT);
  fl_netlink_put_text(nft->netlink, NFTA_CHAIN_TYPE, type);
}

void fl_nft_chain_add(struct fl_nft *nft, const char *chain)
{
  chain_message(nft, NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain);
}

void fl_nft_chain_delete(struct fl_nft *nft, const char *chain)
{
  chain_message(nft, NFT_MSG_DELCHAIN, 0, chain);
}

static void rule_message(struct fl_nft *nft, uint16_t type, uint16_t flags, const char *chain)
{
  fl_nft_message(nft, type, flags);
  fl_netlink_put_text(nft->netlink, NFTA_RULE_TABLE, nft->table);
  fl_netlink_put_text(nft->netlink, NFTA_RULE_CHAIN, chain);
}

void fl_nft_chain_flush(struct fl_nft *nft, const char *chain)
{
  rule_message(nft, NFT_MSG_DELRULE, 0, chain);
}

struct fl_nft_expression fl_nft_expression_in(struct fl_nft *nft, uint16_t type, const char *name)
{
  struct fl_nft_expression opened = { .element = fl_netlink_nest(nft->netlink, type) };

  fl_netlink_put_text(nft->netlink, NFTA_EXPR_NAME, name);
  opened.data = fl_netlink_nest(nft->netlink, NFTA_EXPR_DATA);
  return opened;
}

static struct fl_nft_expression expression(struct fl_nft *nft, const char *name)
{
  return fl_nft_expression_in(nft, NFTA_LIST_ELEM, name);
}

void fl_nft_expression_end(struct fl_nft *nft, struct fl_nft_expression opened)
{
  fl_netlink_unnest(nft->netlink, opened.data);
  fl_netlink_unnest(nft->netlink, opened.element);
}

void fl_nft_put_value(struct fl_nft *nft, uint16_t type, const void *bytes, size_t size)
{
  size_t nest = fl_netlink_nest(nft->netlink, type);

  fl_netlink_put(nft->netlink, NFTA_DATA_VALUE, bytes, size);
  fl_netlink_unnest(nft->netlink, nest);
}

void fl_nft_put_verdict(struct fl_nft *nft, uint16_t type, int32_t code, const char *chain)
{
  size_t data = fl_netlink_nest(nft->netlink, type), verdict = fl_netlink_nest(nft->netlink, NFTA_DATA_VERDICT);

  fl_netlink_put_be32(nft->netlink, NFTA_VERDICT_CODE, (uint32_t)code);
  if (chain)
    fl_netlink_put_text(nft->netlink, NFTA_VERDICT_CHAIN, chain);
  fl_netlink_unnest(nft->netlink, verdict);
  fl_netlink_unnest(nft->netlink, data);
}

void fl_nft_rule(struct fl_nft *nft, const char *chain)
{
  rule_message(nft, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, chain);
  nft->rule = fl_netlink_nest(nft->netlink, NFTA_RULE_EXPRESSIONS);
}

void fl_nft_rule_end(struct fl_nft *nft)
{
  fl_netlink_unnest(nft->netlink, nft->rule);
}

static void meta_into(struct fl_nft *nft, uint32_t key, uint32_t target)
{
  struct fl_nft_expression meta = expression(nft, "meta");

  fl_netlink_put_be32(nft->netlink, NFTA_META_KEY, key);
  fl_netlink_put_be32(nft->netlink, NFTA_META_DREG, target);
  fl_nft_expression_end(nft, meta);
}

static void payload_into(struct fl_nft *nft, uint32_t base, uint32_t offset, uint32_t size, uint32_t target)
{
  struct fl_nft_expression payload = expression(nft, "payload");

  fl_netlink_put_be32(nft->netlink, NFTA_PAYLOAD_DREG, target);
  fl_netlink_put_be32(nft->netlink, NFTA_PAYLOAD_BASE, base);
  fl_netlink_put_be32(nft->netlink, NFTA_PAYLOAD_OFFSET, offset);
  fl_netlink_put_be32(nft->netlink, NFTA_PAYLOAD_LEN, size);
  fl_nft_expression_end(nft, payload);
}

void fl_nft_meta(struct fl_nft *nft, uint32_t key)
{
  meta_into(nft, key, NFT_REG_1);
}

void fl_nft_ct_state(struct fl_nft *nft)
{
  struct fl_nft_expression ct = expression(nft, "ct");

  fl_netlink_put_be32(nft->netlink, NFTA_CT_KEY, NFT_CT_STATE);
  fl_netlink_put_be32(nft->netlink, NFTA_CT_DREG, NFT_REG_1);
  fl_nft_expression_end(nft, ct);
}

void fl_nft_destination_kind(struct fl_nft *nft)
{
  struct fl_nft_expression fib = expression(nft, "fib");

  fl_netlink_put_be32(nft->netlink, NFTA_FIB_DREG, NFT_REG_1);
  fl_netlink_put_be32(nft->netlink, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  fl_netlink_put_be32(nft->netlink, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  fl_nft_expression_end(nft, fib);
}

void fl_nft_address(struct fl_nft *nft, enum fl_nft_field field)
{
  payload_into(nft, NFT_PAYLOAD_NETWORK_HEADER, field, ADDRESS_BYTES, NFT_REG_1);
}

void fl_nft_destination_port(struct fl_nft *nft)
{
  payload_into(nft, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
}

void fl_nft_icmp_type(struct fl_nft *nft)
{
  payload_into(nft, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
}

static void compare(struct fl_nft *nft, uint32_t operator, const void *bytes, size_t size)
{
  struct fl_nft_expression cmp = expression(nft, "cmp");

  fl_netlink_put_be32(nft->netlink, NFTA_CMP_SREG, NFT_REG_1);
  fl_netlink_put_be32(nft->netlink, NFTA_CMP_OP, operator);
  fl_nft_put_value(nft, NFTA_CMP_DATA, bytes, size);
  fl_nft_expression_end(nft, cmp);
}

void fl_nft_is(struct fl_nft *nft, const void *bytes, size_t size)
{
  compare(nft, NFT_CMP_EQ, bytes, size);
}

void fl_nft_is_not(struct fl_nft *nft, const void *bytes, size_t size)
{
  compare(nft, NFT_CMP_NEQ, bytes, size);
}

void fl_nft_mask(struct fl_nft *nft, uint32_t mask_in_memory)
{
  static const uint32_t zero;
  struct fl_nft_expression bitwise = expression(nft, "bitwise");

  fl_netlink_put_be32(nft->netlink, NFTA_BITWISE_SREG, NFT_REG_1);
  fl_netlink_put_be32(nft->netlink, NFTA_BITWISE_DREG, NFT_REG_1);
  fl_netlink_put_be32(nft->netlink, NFTA_BITWISE_LEN, sizeof zero);
  fl_nft_put_value(nft, NFTA_BITWISE_MASK, &mask_in_memory, sizeof mask_in_memory);
  fl_nft_put_value(nft, NFTA_BITWISE_XOR, &zero, sizeof zero);
  fl_nft_expression_end(nft, bitwise);
}

static void look_up(struct fl_nft *nft, const char *set, bool map, bool in)
{
  struct fl_nft_expression lookup = expression(nft, "lookup");

  fl_netlink_put_text(nft->netlink, NFTA_LOOKUP_SET, set);
  fl_netlink_put_be32(nft->netlink, NFTA_LOOKUP_SREG, NFT_REG_1);
  if (map)
    fl_netlink_put_be32(nft->netlink, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  fl_netlink_put_be32(nft->netlink, NFTA_LOOKUP_FLAGS, in ? 0 : NFT_LOOKUP_F_INV);
  fl_nft_expression_end(nft, lookup);
}

void fl_nft_source_not_in(struct fl_nft *nft, const char *set)
{
  /* Registers 1 and 2 have 16 bytes each and stand side by side: together they are the key. */
  meta_into(nft, NFT_META_IIFNAME, NFT_REG_1);
  payload_into(nft, NFT_PAYLOAD_NETWORK_HEADER, FL_NFT_SOURCE, ADDRESS_BYTES, NFT_REG_2);
  look_up(nft, set, false, false);
}

void fl_nft_target_in(struct fl_nft *nft, const char *set)
{
  payload_into(nft, NFT_PAYLOAD_NETWORK_HEADER, FL_NFT_DESTINATION, ADDRESS_BYTES, NFT_REG32_00);
  payload_into(nft, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_01);         /* the rest of these four bytes is zeroed by the kernel */
  look_up(nft, set, false, true);
}

void fl_nft_metered(struct fl_nft *nft, const char *meter, uint64_t bytes_per_second, uint32_t burst)
{
  struct fl_nft_expression dynset = expression(nft, "dynset");

  fl_netlink_put_text(nft->netlink, NFTA_DYNSET_SET_NAME, meter);
  fl_netlink_put_be32(nft->netlink, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
  fl_netlink_put_be32(nft->netlink, NFTA_DYNSET_SREG_KEY, NFT_REG_1);
  fl_nft_put_rate(nft, NFTA_DYNSET_EXPR, bytes_per_second, burst);
  fl_nft_expression_end(nft, dynset);
}

void fl_nft_in(struct fl_nft *nft, const char *set, bool in)
{
  look_up(nft, set, false, in);
}

void fl_nft_verdict_of(struct fl_nft *nft, const char *map)
{
  look_up(nft, map, true, true);
}

void fl_nft_connections_over(struct fl_nft *nft, uint32_t count)
{
  struct fl_nft_expression limit = expression(nft, "connlimit");

  fl_netlink_put_be32(nft->netlink, NFTA_CONNLIMIT_COUNT, count);
  fl_netlink_put_be32(nft->netlink, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
  fl_nft_expression_end(nft, limit);
}

void fl_nft_verdict(struct fl_nft *nft, int32_t code, const char *chain)
{
  struct fl_nft_expression immediate = expression(nft, "immediate");

  fl_netlink_put_be32(nft->netlink, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  fl_nft_put_verdict(nft, NFTA_IMMEDIATE_DATA, code, chain);
  fl_nft_expression_end(nft, immediate);
}

void fl_nft_reject(struct fl_nft *nft)
{
  struct fl_nft_expression reject = expression(nft, "reject");
  const uint8_t code = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;

  fl_netlink_put_be32(nft->netlink, NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
  fl_netlink_put(nft->netlink, NFTA_REJECT_ICMP_CODE, &code, sizeof code);
  fl_nft_expression_end(nft, reject);
}

void fl_nft_reset(struct fl_nft *nft)
{
  struct fl_nft_expression reject = expression(nft, "reject");

  fl_netlink_put_be32(nft->netlink, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
  fl_nft_expression_end(nft, reject);
}

void fl_nft_destination_nat(struct fl_nft *nft, uint32_t address_in_memory)
{
  struct fl_nft_expression immediate = expression(nft, "immediate"), nat;

  fl_netlink_put_be32(nft->netlink, NFTA_IMMEDIATE_DREG, NFT_REG_1);
  fl_nft_put_value(nft, NFTA_IMMEDIATE_DATA, &address_in_memory, sizeof address_in_memory);
  fl_nft_expression_end(nft, immediate);
  nat = expression(nft, "nat");
  fl_netlink_put_be32(nft->netlink, NFTA_NAT_TYPE, NFT_NAT_DNAT);
  fl_netlink_put_be32(nft->netlink, NFTA_NAT_FAMILY, NFPROTO_IPV4);
  fl_netlink_put_be32(nft->netlink, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
  fl_nft_expression_end(nft, nat);
}

void fl_nft_masquerade(struct fl_nft *nft)
{
  fl_nft_expression_end(nft, expression(nft, "masq"));
}
