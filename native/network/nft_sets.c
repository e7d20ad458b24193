/* See nftables.h: sets and maps, their elements, and what stands with these. */
#include "network/nft_message.h"

#include <endian.h>
#include <errno.h>

void fl_nft_put_rate(struct fl_nft *nft, uint16_t type, uint64_t bytes_per_second, uint32_t burst)
{
  const uint64_t rate = htobe64(bytes_per_second), second = htobe64(1);
  struct fl_nft_expression limit = fl_nft_expression_in(nft, type, "limit");

  fl_netlink_put(nft->netlink, NFTA_LIMIT_RATE, &rate, sizeof rate);
  fl_netlink_put(nft->netlink, NFTA_LIMIT_UNIT, &second, sizeof second);
  fl_netlink_put_be32(nft->netlink, NFTA_LIMIT_BURST, burst);
  fl_netlink_put_be32(nft->netlink, NFTA_LIMIT_TYPE, NFT_LIMIT_PKT_BYTES);
  fl_netlink_put_be32(nft->netlink, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
  fl_nft_expression_end(nft, limit);
}

static void set_message(struct fl_nft *nft, const char *set, uint32_t flags, uint32_t type, uint32_t key_size)
{
  fl_nft_message(nft, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
  fl_netlink_put_text(nft->netlink, NFTA_SET_TABLE, nft->table);
  fl_netlink_put_text(nft->netlink, NFTA_SET_NAME, set);
  fl_netlink_put_be32(nft->netlink, NFTA_SET_FLAGS, flags);
  fl_netlink_put_be32(nft->netlink, NFTA_SET_KEY_TYPE, type);
  fl_netlink_put_be32(nft->netlink, NFTA_SET_KEY_LEN, key_size);
  if (flags & NFT_SET_MAP)
    fl_netlink_put_be32(nft->netlink, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
  fl_netlink_put_be32(nft->netlink, NFTA_SET_ID, ++nft->sets);
}

void fl_nft_set_add(struct fl_nft *nft, const char *set, bool map, uint32_t type, uint32_t key_size)
{
  set_message(nft, set, map ? NFT_SET_MAP : 0, type, key_size);
}

/* What stands with the set says only of which kind each element's own is. */
void fl_nft_rates_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size)
{
  set_message(nft, set, 0, type, key_size);
  fl_nft_put_rate(nft, NFTA_SET_EXPR, 1, 0);
}

static void bound_set(struct fl_nft *nft, uint32_t most)
{
  size_t description = fl_netlink_nest(nft->netlink, NFTA_SET_DESC);

  fl_netlink_put_be32(nft->netlink, NFTA_SET_DESC_SIZE, most);
  fl_netlink_unnest(nft->netlink, description);
}

static void put_milliseconds(struct fl_nft *nft, uint16_t type, uint32_t seconds)
{
  const uint64_t wire = htobe64(seconds * 1000ull);

  fl_netlink_put(nft->netlink, type, &wire, sizeof wire);
}

void fl_nft_passing_set_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size, uint32_t most)
{
  set_message(nft, set, NFT_SET_TIMEOUT, type, key_size);
  bound_set(nft, most);
}

void fl_nft_meter_add(struct fl_nft *nft, const char *set, uint32_t type, uint32_t key_size, uint32_t most, uint32_t seconds)
{
  set_message(nft, set, NFT_SET_TIMEOUT | NFT_SET_EVAL, type, key_size);
  bound_set(nft, most);
  put_milliseconds(nft, NFTA_SET_TIMEOUT, seconds);
}

void fl_nft_set_delete(struct fl_nft *nft, const char *set)
{
  fl_nft_message(nft, NFT_MSG_DELSET, 0);
  fl_netlink_put_text(nft->netlink, NFTA_SET_TABLE, nft->table);
  fl_netlink_put_text(nft->netlink, NFTA_SET_NAME, set);
}

struct element { size_t list, element; };

static struct element element_begin(struct fl_nft *nft, uint16_t type, const char *set, const void *key, size_t size)
{
  struct element opened;

  fl_nft_message(nft, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
  fl_netlink_put_text(nft->netlink, NFTA_SET_ELEM_LIST_TABLE, nft->table);
  fl_netlink_put_text(nft->netlink, NFTA_SET_ELEM_LIST_SET, set);
  opened.list = fl_netlink_nest(nft->netlink, NFTA_SET_ELEM_LIST_ELEMENTS);
  opened.element = fl_netlink_nest(nft->netlink, NFTA_LIST_ELEM);
  fl_nft_put_value(nft, NFTA_SET_ELEM_KEY, key, size);
  return opened;
}

static void element_end(struct fl_nft *nft, struct element opened)
{
  fl_netlink_unnest(nft->netlink, opened.element);
  fl_netlink_unnest(nft->netlink, opened.list);
}

void fl_nft_element_add(struct fl_nft *nft, const char *set, const void *key, size_t size, const char *jump)
{
  struct element opened = element_begin(nft, NFT_MSG_NEWSETELEM, set, key, size);

  if (jump)
    fl_nft_put_verdict(nft, NFTA_SET_ELEM_DATA, NFT_JUMP, jump);
  element_end(nft, opened);
}

void fl_nft_rate_set(struct fl_nft *nft, const char *set, const void *key, size_t size, uint64_t bytes_per_second, uint32_t burst)
{
  struct element opened = element_begin(nft, NFT_MSG_NEWSETELEM, set, key, size);

  fl_nft_put_rate(nft, NFTA_SET_ELEM_EXPR, bytes_per_second, burst);
  element_end(nft, opened);
}

void fl_nft_element_delete(struct fl_nft *nft, const char *set, const void *key, size_t size)
{
  element_end(nft, element_begin(nft, NFT_MSG_DELSETELEM, set, key, size));
}

/* Kernels before 6.12 leave the time of an element that is there alone: so it goes first, and to be sure that it can, it is added before. */
void fl_nft_passing_element_put(struct fl_nft *nft, const char *set, const void *key, size_t size, uint32_t seconds)
{
  struct element opened;

  fl_nft_element_add(nft, set, key, size, NULL);
  fl_nft_element_delete(nft, set, key, size);
  opened = element_begin(nft, NFT_MSG_NEWSETELEM, set, key, size);
  put_milliseconds(nft, NFTA_SET_ELEM_TIMEOUT, seconds);
  element_end(nft, opened);
}
