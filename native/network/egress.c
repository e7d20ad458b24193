/* See egress.h. This is sandboxd's half: what there is once per daemon, and the policies. The builder's is part.c. */
#include "network/egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Routes as short as these say where the world is, not what is where: two of a half each are a VPN's default route. */
enum { DEFAULT_LIKE_MAX = 7, NEWS_BYTES = 32 << 10, NEWS_MAX = 64 };

static uint32_t hash(const char *text)
{
  uint32_t value = 0x811c9dc5;                                   /* FNV-1a */

  for (; *text; text++)
    value = (value ^ (uint8_t)*text) * 0x01000193;
  return value;
}

void fl_egress_links(const char *name, char ret_links[FL_EGRESS_PREFIX_BYTES + 1])
{
  snprintf(ret_links, FL_EGRESS_PREFIX_BYTES + 1, "f%08x-", hash(name));
}

/* In a container /proc/sys is often read-only, whoever may administer the network. */
static int set_forwarding(struct fl_egress *egress, const char *link, bool on)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/forwarding", link);
  int result = fl_file_write_number(AT_FDCWD, path, on);
  return result == -EROFS ? fl_link_forward(egress->route, link, on, NULL) : result;
}

static void undo(struct fl_egress *egress, struct fl_egress_note note)
{
  note.uplink[sizeof note.uplink - 1] = 0;
  if (note.uplink[0])
    set_forwarding(egress, note.uplink, false);                  /* the link may be gone: then so is its setting */
  if (note.block_length > 0 && note.block_length <= 32)
    fl_route_unclaim(egress->route, (struct fl_prefix){ note.block, (uint8_t)note.block_length }, NULL);
}

/* The links go first: without the table nothing would hold them back. */
static int remove_all(struct fl_egress *egress, struct fl_error *err)
{
  struct fl_egress_note note = { 0 };
  size_t noted = 0;
  int result = fl_links_sweep(egress->route, egress->links, err);

  if (result < 0)
    return result;
  undo(egress, egress->note);                                    /* ours, whatever has become of the table */
  egress->note = (struct fl_egress_note){ 0 };
  if (!egress->nft.netlink || fl_nft_table_note(&egress->nft, &note, sizeof note, &noted, NULL) < 0)
    return 0;                                                    /* there is no table, or no nftables at all: then there never was one */
  if (noted && note.kind == FL_EGRESS_NOTE)
    undo(egress, note);
  fl_nft_begin(&egress->nft);
  fl_nft_table_delete(&egress->nft);
  return fl_nft_commit(&egress->nft, "delete nftables table", err);
}

int fl_egress_start(const struct fl_egress_config *config, struct fl_egress *ret_egress, struct fl_error *err)
{
  *ret_egress = (struct fl_egress){ .config = *config };
  fl_egress_links(config->name, ret_egress->links);
  ret_egress->route = fl_netlink_open(NETLINK_ROUTE, err);
  if (!ret_egress->route)
    return -EIO;
  fl_nft_open(&ret_egress->nft, config->name, NULL);             /* a kernel without it is only a lack when egress is asked for */
  return remove_all(ret_egress, err);
}

static void close_news(struct fl_egress *egress)
{
  fl_netlink_close(egress->news);
  egress->news = NULL;
}

static int open_news(struct fl_egress *egress, struct fl_error *err)
{
  egress->news = fl_netlink_open(NETLINK_NETFILTER, err);
  if (!egress->news)
    return -EIO;
  return setsockopt(egress->news->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &(int){ NFNLGRP_NFTABLES }, sizeof(int)) < 0 ? fl_fail_errno(err, "listen to nftables") : 0;
}

void fl_egress_stop(struct fl_egress *egress)
{
  close_news(egress);
  if (egress->route)
    remove_all(egress, NULL);                                    /* what stays nevertheless is removed by the next generation */
  fl_netlink_close(egress->route);
  fl_nft_close(&egress->nft);
  *egress = (struct fl_egress){ 0 };
}

static bool is_clear(const struct fl_routes *routes, struct fl_prefix block)
{
  for (uint32_t index = 0; index < routes->count; index++)
    if (routes->prefix[index].length > DEFAULT_LIKE_MAX && fl_prefix_overlaps(routes->prefix[index], block))
      return false;
  return true;
}

/* The link that leads outside is to be forwarded from, and is not: then that is turned on, and the guard keeps it to ourselves. */
static void find_uplink(const struct fl_routes *routes, char ret_uplink[IF_NAMESIZE])
{
  char path[64], value[8] = "";

  memset(ret_uplink, 0, IF_NAMESIZE);
  if (!routes->uplink || !if_indextoname(routes->uplink, ret_uplink))
    return;
  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/forwarding", ret_uplink);
  if (fl_file_read(AT_FDCWD, path, value, sizeof value) < 0 || value[0] != '0')
    memset(ret_uplink, 0, IF_NAMESIZE);
}

static int make_table(struct fl_egress *egress, const struct fl_egress_note *note, struct fl_error *err)
{
  fl_nft_begin(&egress->nft);
  fl_nft_table_add(&egress->nft, note, sizeof *note);
  fl_egress_rules_put(&egress->nft, &(struct fl_egress_rules){ .links = egress->links, .block = egress->block, .nameserver = egress->nameserver,
                                                               .forwarder = fl_egress_address(egress, egress->config.slots), .uplink = note->uplink[0] ? note->uplink : NULL });
  return fl_nft_commit(&egress->nft, "make nftables table", err);
}

/* The table before the claim: whatever happens in between, the next generation finds its note. */
static int take_block(struct fl_egress *egress, struct fl_prefix block, const char uplink[IF_NAMESIZE], struct fl_error *err)
{
  struct fl_egress_note note = { .kind = FL_EGRESS_NOTE, .size = sizeof note - 2, .block = block.address, .block_length = block.length };
  int result;

  memcpy(note.uplink, uplink, sizeof note.uplink);
  egress->block = block;
  result = make_table(egress, &note, err);
  if (result < 0)
    return result;
  result = fl_route_claim(egress->route, block, NULL);
  if (result < 0) {
    fl_nft_begin(&egress->nft);
    fl_nft_table_delete(&egress->nft);
    fl_nft_commit(&egress->nft, "delete nftables table", NULL);
    return result == -EEXIST ? result : fl_fail(err, FL_ERR_NETWORK, -result, "claim addresses", "the block of this daemon");
  }
  egress->note = note;
  if (note.uplink[0] && (result = set_forwarding(egress, note.uplink, true)) < 0)
    return fl_fail(err, FL_ERR_NETWORK, -result, "turn forwarding on", "%s: set net.ipv4.ip_forward", note.uplink);
  return 0;
}

static uint8_t block_length(uint32_t slots)
{
  uint8_t length = 32;

  while (length > 0 && slots > 1u << (32 - length))
    length--;
  return length;
}

static int choose_block(struct fl_egress *egress, const struct fl_routes *routes, struct fl_error *err)
{
  const struct fl_prefix range = egress->config.range;
  uint8_t length = block_length(egress->config.slots + 1);
  char uplink[IF_NAMESIZE];
  struct in_addr shown = { htonl(range.address) };

  if (length < range.length)
    return fl_fail(err, FL_ERR_NETWORK, ERANGE, "egress range", "%s/%u has no address for each of %u sandboxes", inet_ntoa(shown), range.length, egress->config.slots);
  find_uplink(routes, uplink);
  egress->nameserver = egress->config.nameserver ? egress->config.nameserver : fl_resolver_host();
  uint32_t blocks = 1u << (length - range.length), first = hash(egress->config.name) % blocks;
  for (uint32_t tried = 0; tried < blocks; tried++) {
    struct fl_prefix block = { range.address + (((first + tried) % blocks) << (32 - length)), length };
    int result = is_clear(routes, block) ? take_block(egress, block, uplink, err) : -EEXIST;

    if (result != -EEXIST)
      return result;
  }
  return fl_fail(err, FL_ERR_NETWORK, EADDRINUSE, "egress range", "%s/%u: every /%u of it is in use by the host's routes; name another with egressRange", inet_ntoa(shown), range.length, length);
}

int fl_egress_open(struct fl_egress *egress, struct fl_error *err)
{
  fl_autofree struct fl_routes *routes = malloc(sizeof *routes);
  int result;

  if (egress->open)
    return 0;
  if (!egress->nft.netlink && fl_nft_open(&egress->nft, egress->config.name, err) < 0)
    return -EIO;
  if (!routes)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "routes");
  result = open_news(egress, err);                               /* first, so that no loss is missed */
  if (result == 0)
    result = fl_routes_read(egress->route, routes, err);
  if (result == 0)
    result = choose_block(egress, routes, err);
  if (result < 0) {
    close_news(egress);
    remove_all(egress, NULL);
    return result;
  }
  egress->open = true;
  if (!fl_nft_forward_is_dropped(&egress->nft, egress->obstacle, sizeof egress->obstacle))
    egress->obstacle[0] = 0;
  return 0;
}

int fl_egress_fd(const struct fl_egress *egress)
{
  return egress->open ? egress->news->fd : -1;
}

/* A slot's chain comes and goes with its sandbox; all other rules stay as long as the table does. */
static bool is_loss(const struct fl_egress *egress, const struct nlmsghdr *message)
{
  uint16_t kind = message->nlmsg_type & 0xff;
  const struct nlattr *table = fl_netlink_find(message, sizeof(struct nfgenmsg), kind == NFT_MSG_DELTABLE ? NFTA_TABLE_NAME : NFTA_RULE_TABLE);
  const struct nlattr *chain = fl_netlink_find(message, sizeof(struct nfgenmsg), NFTA_RULE_CHAIN);

  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || (kind != NFT_MSG_DELTABLE && kind != NFT_MSG_DELRULE))
    return false;
  if (!table || fl_netlink_size(table) != strlen(egress->config.name) + 1 || memcmp(fl_netlink_data(table), egress->config.name, fl_netlink_size(table)) != 0)
    return false;
  return kind == NFT_MSG_DELTABLE || !chain || !fl_egress_is_chain(fl_netlink_data(chain), fl_netlink_size(chain));
}

bool fl_egress_lost(struct fl_egress *egress)
{
  static _Alignas(NLMSG_ALIGNTO) uint8_t news[NEWS_BYTES];
  bool lost = false;

  for (int turn = 0; egress->open && !lost && turn < NEWS_MAX; turn++) {
    ssize_t got = recv(egress->news->fd, news, sizeof news, MSG_DONTWAIT);
    size_t left = got < 0 ? 0 : (size_t)got;

    if (got < 0 && errno != ENOBUFS)
      break;
    lost = got < 0;                                              /* too much has changed at once to be told: the worst is assumed */
    for (const struct nlmsghdr *message = (struct nlmsghdr *)news; NLMSG_OK(message, left) && !lost; message = NLMSG_NEXT(message, left))
      lost = is_loss(egress, message);
  }
  if (!lost)
    return false;
  remove_all(egress, NULL);
  close_news(egress);
  egress->open = false;
  return true;
}

uint32_t fl_egress_address(const struct fl_egress *egress, uint32_t slot)
{
  return egress->block.address + slot;
}

int fl_egress_grant(struct fl_egress *egress, uint32_t slot, const struct fl_egress_policy *policy, struct fl_error *err)
{
  fl_nft_begin(&egress->nft);
  fl_egress_rules_put_policy(&egress->nft, slot, fl_egress_address(egress, slot), policy);
  return fl_nft_commit(&egress->nft, "grant egress", err);
}

static int commit_targets(struct fl_egress *egress, uint32_t slot, const struct fl_egress_target *target, uint32_t count, uint32_t seconds, struct fl_error *err)
{
  fl_nft_begin(&egress->nft);
  for (uint32_t index = 0; index < count; index++)
    fl_egress_rules_put_target(&egress->nft, slot, target[index], seconds);
  return fl_nft_commit(&egress->nft, "open what a name stands for", err);
}

int fl_egress_open_targets(struct fl_egress *egress, uint32_t slot, const struct fl_egress_target *target, uint32_t count, uint32_t seconds, struct fl_error *err)
{
  int result;

  if (count > FL_EGRESS_TARGETS_MAX)
    return fl_fail(err, FL_ERR_BAD_LIMIT, E2BIG, "open what a name stands for", "%u targets", count);
  for (uint32_t index = 0; index < count; index++)
    if (!fl_egress_is_public(target[index].address))
      return fl_fail(err, FL_ERR_ISOLATION, EPERM, "open what a name stands for", "%#x is not public", target[index].address);
  result = commit_targets(egress, slot, target, count, seconds, err);
  if (result == -ENOENT) {                                       /* one of them passed just then */
    if (err)
      *err = (struct fl_error){ 0 };
    result = commit_targets(egress, slot, target, count, seconds, err);
  }
  return result;
}

void fl_egress_revoke(struct fl_egress *egress, uint32_t slot)
{
  if (!egress->open)
    return;
  fl_nft_begin(&egress->nft);
  fl_egress_rules_revoke(&egress->nft, slot, fl_egress_address(egress, slot));
  fl_nft_commit(&egress->nft, "take names back", NULL);          /* it fails when somebody has removed the table, and all with it */
}
