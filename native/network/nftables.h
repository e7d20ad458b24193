/*
 * nftables over netlink, as much of it as our rules are made of. One batch is one transaction: all of it comes to be, or nothing. A rule is its expressions in order: loads into
 * register 1, comparisons of what stands there, and a verdict at the end, which is reached when every comparison held.
 *
 *   fl_nft_begin(nft);
 *   fl_nft_rule(nft, "exit"); fl_nft_meta(nft, NFT_META_OIFNAME); fl_nft_is(nft, prefix, length); fl_nft_verdict(nft, NF_DROP, NULL); fl_nft_rule_end(nft);
 *   fl_nft_commit(nft, "…", err);
 */
#ifndef FLASHD_NFTABLES_H
#define FLASHD_NFTABLES_H
#include <netinet/in.h>                        /* before the kernel's own: it steps back */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "network/netlink.h"

struct fl_nft {
  struct fl_netlink *netlink;
  const char *table;                           /* of the family inet; every call is about this one */
  uint32_t sets;                               /* made in this batch */
  size_t rule;                                 /* its expressions, while they are put */
};

/* The table's name is kept, not copied. */
int fl_nft_open(struct fl_nft *ret_nft, const char *table, struct fl_error *err);
void fl_nft_close(struct fl_nft *nft);

void fl_nft_begin(struct fl_nft *nft);
int fl_nft_commit(struct fl_nft *nft, const char *op, struct fl_error *err);

/* note: kept with the table for whoever comes after us. */
void fl_nft_table_add(struct fl_nft *nft, const void *note, size_t size);
void fl_nft_table_delete(struct fl_nft *nft);
/* The table's note; -ENOENT when there is no table, ret_size 0 when it has none that fits. Not part of a batch. */
int fl_nft_table_note(struct fl_nft *nft, void *note, size_t size, size_t *ret_size, struct fl_error *err);

/* Whether a chain of somebody else drops what is forwarded unless a rule of his says otherwise; ret_where: "TABLE CHAIN". */
bool fl_nft_forward_is_dropped(struct fl_nft *nft, char *ret_where, size_t size);

/* hook: enum nf_inet_hooks; type "filter" or "nat". What no rule decides passes. */
void fl_nft_hook_add(struct fl_nft *nft, const char *chain, const char *type, uint32_t hook, int32_t priority);
/* A chain to be jumped to. It may exist. */
void fl_nft_chain_add(struct fl_nft *nft, const char *chain);
/* Its rules, too. */
void fl_nft_chain_delete(struct fl_nft *nft, const char *chain);
void fl_nft_chain_flush(struct fl_nft *nft, const char *chain);

/* A set of keys of that size; a map of them to verdicts. type: what nft(8) shows the keys as. */
void fl_nft_set_add(struct fl_nft *nft, const char *set, bool map, uint32_t type, uint32_t key_size);
/* jump: of a map. The element may exist. */
void fl_nft_element_add(struct fl_nft *nft, const char *set, const void *key, size_t size, const char *jump);
/* A set of keys each of which stands for a rate of its own: a packet is in it (fl_nft_in) only when it comes faster than that, counted by bytes. */
void fl_nft_rates_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size);
/* burst: bytes that may come at once beyond one second's worth, which the kernel always lets. */
void fl_nft_rate_set(struct fl_nft *nft, const char *set, const void *key, size_t size, uint64_t bytes_per_second, uint32_t burst);
void fl_nft_element_delete(struct fl_nft *nft, const char *set, const void *key, size_t size);
/* A set whose elements pass by themselves, at most so many at a time. Its rules have to go before it does. */
void fl_nft_passing_set_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size, uint32_t most);
void fl_nft_set_delete(struct fl_nft *nft, const char *set);
/* From now on for so long, whether it was there or not. When it passes in the midst of that, -ENOENT: once more. */
void fl_nft_passing_element_put(struct fl_nft *nft, const char *set, const void *key, size_t size, uint32_t seconds);
/* A set that packets join by themselves (fl_nft_metered), at most so many keys, each until it was not seen for so long. */
void fl_nft_meter_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size, uint32_t most, uint32_t seconds);

void fl_nft_rule(struct fl_nft *nft, const char *chain);
void fl_nft_rule_end(struct fl_nft *nft);

/* Loads. meta: 16 bytes of an interface's name, 4 of other numbers, 1 of a protocol. */
void fl_nft_meta(struct fl_nft *nft, uint32_t key);
void fl_nft_ct_state(struct fl_nft *nft);
void fl_nft_destination_kind(struct fl_nft *nft);                /* RTN_* of the destination, as the host's routes see it */
enum fl_nft_field { FL_NFT_SOURCE = 12, FL_NFT_DESTINATION = 16 };           /* offsets in the IPv4 header */
void fl_nft_address(struct fl_nft *nft, enum fl_nft_field field);
void fl_nft_destination_port(struct fl_nft *nft);
void fl_nft_icmp_type(struct fl_nft *nft);

/* Comparisons of register 1 with so many bytes. */
void fl_nft_is(struct fl_nft *nft, const void *bytes, size_t size);
void fl_nft_is_not(struct fl_nft *nft, const void *bytes, size_t size);
void fl_nft_mask(struct fl_nft *nft, uint32_t mask_in_memory);   /* what stands in register 1, four bytes, and … */
/* The interface it came over and its source address do not stand in the set together. Loads by itself. */
void fl_nft_source_not_in(struct fl_nft *nft, const char *set);
void fl_nft_in(struct fl_nft *nft, const char *set, bool in);
/* Destination and its port (of TCP and UDP) stand in the set together: four bytes, two, and two of padding. Loads by itself. */
void fl_nft_target_in(struct fl_nft *nft, const char *set);
/* Packets with what stands in register 1, four bytes, come faster than that. */
void fl_nft_metered(struct fl_nft *nft, const char *meter, uint64_t bytes_per_second, uint32_t burst);
/* The sender has more connections than that. */
void fl_nft_connections_over(struct fl_nft *nft, uint32_t count);

/* Ends of a rule. code: NF_ACCEPT, NF_DROP, NFT_JUMP, NFT_GOTO. */
void fl_nft_verdict(struct fl_nft *nft, int32_t code, const char *chain);
void fl_nft_verdict_of(struct fl_nft *nft, const char *map);     /* that of register 1 in the map; none: the next rule */
void fl_nft_reject(struct fl_nft *nft);                          /* by ICMP: administratively prohibited */
void fl_nft_reset(struct fl_nft *nft);                           /* by a TCP reset */
void fl_nft_destination_nat(struct fl_nft *nft, uint32_t address_in_memory);
void fl_nft_masquerade(struct fl_nft *nft);
#endif
