/*
 * Egress: sandboxes that may speak to the world outside, as far as their policy lets them. Each has a network namespace with one virtual cable (veth) to the host, an address of its own,
 * and no neighbour: the host routes, translates addresses (NAT) and decides by a table of nftables that is ours alone.
 *
 *   sandbox                              host
 *   ┌──────────────────────────┐        ┌─────────────────────────────────────────────────────────────────────────────────────┐
 *   │ eth0  10.x.y.z/32        │══veth══│ f<hash>-<slot>   route 10.x.y.z/32                                                  │
 *   │ default via 169.254.53.53│        │   entry (before any NAT): is it who it says, is it permitted? else refused           │
 *   │ nameserver 169.254.53.53 │        │   names: 169.254.53.53 port 53 → the host's name server, or the forwarder            │
 *   └──────────────────────────┘        │   exit: into a sandbox only answers     masquerade: out with the host's address      │
 *                                       └─────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Nothing of this exists before a function asks for it: fl_egress_open is called when the first one does. It is told apart from others' by a hash of the daemon's name, and by
 * that name a later generation finds and removes what a dead one left.
 */
#ifndef FLASHD_EGRESS_H
#define FLASHD_EGRESS_H
#include <flashd/protocol.h>

#include "network/nftables.h"
#include "network/rtnetlink.h"

/* What a sandbox has for a gateway and a name server. Link-local and never on any interface of the host: it is only a name for "the other end", so it is the same everywhere. */
#define FL_EGRESS_GATEWAY 0xa9fe3535u
#define FL_EGRESS_GATEWAY_TEXT "169.254.53.53"

enum {
  FL_EGRESS_CONNECTIONS_MAX = 1024,            /* of one sandbox at a time, … */
  FL_EGRESS_CONNECTIONS_MIN = 64,
  FL_EGRESS_CONNECTIONS_SHARE = 128,           /* … or this part of what the host tracks for everybody: as many instances as a function has at most by default leave half of it */
  FL_EGRESS_PREFIX_BYTES = 10,                 /* "f", eight digits of the hash, "-" */
  FL_EGRESS_TARGETS_MAX = 64,                  /* opened at once: the addresses of one name, with each of its ports */
  FL_EGRESS_OPENED_MAX = 512,                  /* open at a time for one sandbox, beside its rules */
};

struct fl_egress_config {
  const char *name;                            /* of this daemon, ours alone; also the table's */
  struct fl_prefix range;                      /* private addresses, out of which a block is taken that is clear of the host's routes */
  uint32_t slots;                              /* sandboxes: the block has an address for each, and one more, for the forwarder of names, which lives in a network like theirs */
  uint32_t nameserver;                         /* 0: the host's */
};

/* What there is to be undone. Kept with the table, for a later generation, in the form that nft(8) expects there: kind, size, value; kinds that it does not know it leaves alone. */
struct fl_egress_note {
  uint8_t kind, size;                          /* FL_EGRESS_NOTE; bytes that follow */
  uint16_t block_length;
  uint32_t block;
  char uplink[16];                             /* the link whose forwarding was turned on, or empty */
};
enum { FL_EGRESS_NOTE = 0xf1 };

struct fl_egress {
  struct fl_egress_config config;
  char links[FL_EGRESS_PREFIX_BYTES + 1];      /* how the names of our links begin */
  bool open;
  struct fl_prefix block;                      /* the rest: once it is open */
  uint32_t nameserver;                         /* 0: there is none */
  struct fl_egress_note note;
  char obstacle[64];                           /* the chain of somebody else that drops what is forwarded, as "TABLE CHAIN"; or empty */
  struct fl_nft nft;
  struct fl_netlink *route, *news;             /* news: of every change of nftables on this host */
};

/* Removes what a dead generation of this name left: links, table, claim, forwarding that it had turned on. Takes nothing yet; what cannot be removed is an error. */
int fl_egress_start(const struct fl_egress_config *config, struct fl_egress *ret_egress, struct fl_error *err);
/* Takes a block, makes the table, turns forwarding on where it must be. Again after a failure is fine. */
int fl_egress_open(struct fl_egress *egress, struct fl_error *err);
/* Removes all of it, on a half-made one too. */
void fl_egress_stop(struct fl_egress *egress);

/* Readable when nftables have changed: then ask fl_egress_lost. -1 while it is not open. */
int fl_egress_fd(const struct fl_egress *egress);
/* True when somebody has removed our rules, as `nft flush ruleset` does. All our links are gone then, so that no sandbox is left without rules, and it is not open any more. */
bool fl_egress_lost(struct fl_egress *egress);

uint32_t fl_egress_address(const struct fl_egress *egress, uint32_t slot);
/* FAST PATH. What the slot's sandbox may reach from now on; until then it is nothing, name servers included. */
int fl_egress_grant(struct fl_egress *egress, uint32_t slot, const struct fl_egress_policy *policy, struct fl_error *err);

/*
 * What host names stand for. A policy with FL_EGRESS_NAMES sends the sandbox's questions to the forwarder (names/forwarder.h) and permits no more than its rules, until targets are opened: for so many seconds, or that many more
 * when they are open already. Addresses that are not public are refused with -EPERM, and nothing is opened then; the kernel decides once more, since the host's own addresses and other sandboxes' come first.
 */
struct fl_egress_target { uint32_t address; uint16_t port; };
int fl_egress_open_targets(struct fl_egress *egress, uint32_t slot, const struct fl_egress_target *target, uint32_t count, uint32_t seconds, struct fl_error *err);
/* The sandbox of a policy with FL_EGRESS_NAMES has ended. */
void fl_egress_revoke(struct fl_egress *egress, uint32_t slot);
/* Neither private nor reserved, as far as that is the same on every host. */
bool fl_egress_is_public(uint32_t address);

/* How the names of links begin, and the chain of a slot. */
void fl_egress_links(const char *name, char ret_links[FL_EGRESS_PREFIX_BYTES + 1]);
enum { FL_EGRESS_CHAIN_BYTES = 16 };
void fl_egress_chain(uint32_t slot, char ret_chain[FL_EGRESS_CHAIN_BYTES]);
bool fl_egress_is_chain(const char *name, size_t size);

/* rules.c: the table's content. nameserver 0: there is none. uplink: whose forwarding is on only for us, or NULL. */
struct fl_egress_rules { const char *links; struct fl_prefix block; uint32_t nameserver, forwarder; const char *uplink; };
void fl_egress_rules_put(struct fl_nft *nft, const struct fl_egress_rules *rules);
/* A slot's part of it: who it is, and that it has not been granted anything. */
void fl_egress_rules_put_slot(struct fl_nft *nft, const char *link, uint32_t slot, uint32_t address, uint32_t connections);
void fl_egress_rules_delete_slot(struct fl_nft *nft, const char *link, uint32_t slot, uint32_t address);
void fl_egress_rules_put_policy(struct fl_nft *nft, uint32_t slot, uint32_t address, const struct fl_egress_policy *policy);
void fl_egress_rules_put_target(struct fl_nft *nft, uint32_t slot, struct fl_egress_target target, uint32_t seconds);
/* Takes the policy back, set and all. */
void fl_egress_rules_revoke(struct fl_nft *nft, uint32_t slot, uint32_t address);

/* resolver.c: the first IPv4 name server of a resolv.conf that is not a loopback address, or 0. */
uint32_t fl_resolver_parse(const char *text);
/* The host's. Where its own is a loopback address (systemd-resolved, dnsmasq), what systemd-resolved asks in turn; 0 when there is none. */
uint32_t fl_resolver_host(void);
#endif
