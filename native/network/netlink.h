/*
 * Netlink: messages built in one buffer, sent at once, answered at once. The kernel works on a request inside of sendmsg(2), so that every answer stands in the socket when
 * that returns: nothing here waits. What is put is bounded by the buffer; what did not fit is an error of the sending.
 */
#ifndef FLASHD_NETLINK_H
#define FLASHD_NETLINK_H
#include <flashd/error.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FL_NETLINK_BYTES = 32 << 10 };

struct fl_netlink {
  int fd;
  uint32_t sequence, awaited;                  /* number of the newest message; of the one that is acknowledged */
  size_t length, message;                      /* of what is built; where its newest message begins */
  bool overflow;
  _Alignas(NLMSG_ALIGNTO) uint8_t bytes[FL_NETLINK_BYTES];
};

/* In the current network namespace, where it stays. protocol: NETLINK_ROUTE, NETLINK_NETFILTER. Allocated here; NULL is an error that is told. */
struct fl_netlink *fl_netlink_open(int protocol, struct fl_error *err);
/* NULL is fine. */
void fl_netlink_close(struct fl_netlink *netlink);

/* Forgets what was built. */
void fl_netlink_reset(struct fl_netlink *netlink);
/* Begins a message; header: what stands before its attributes. NLM_F_REQUEST is understood. */
void fl_netlink_begin(struct fl_netlink *netlink, uint16_t type, uint16_t flags, const void *header, size_t size);
void fl_netlink_put(struct fl_netlink *netlink, uint16_t type, const void *bytes, size_t size);
void fl_netlink_put_u32(struct fl_netlink *netlink, uint16_t type, uint32_t value);
void fl_netlink_put_be32(struct fl_netlink *netlink, uint16_t type, uint32_t value);
void fl_netlink_put_text(struct fl_netlink *netlink, uint16_t type, const char *text);
/* An attribute of attributes: what is put up to fl_netlink_unnest stands inside. */
size_t fl_netlink_nest(struct fl_netlink *netlink, uint16_t type);
void fl_netlink_unnest(struct fl_netlink *netlink, size_t nest);
/* Bytes that are no attribute, where a format wants such. */
void fl_netlink_extend(struct fl_netlink *netlink, const void *bytes, size_t size);
/* The newest message is the one whose acknowledgement tells the end. */
void fl_netlink_want_ack(struct fl_netlink *netlink);

/* Sends everything and takes the answers. The first error is the result, with the kernel's own words if it has any. */
int fl_netlink_run(struct fl_netlink *netlink, const char *op, struct fl_error *err);
/* The same for a question (a dump, or one with an acknowledgement): visit sees each message of the answer, until it returns non-zero. */
typedef int fl_netlink_visit(const struct nlmsghdr *message, void *context);
int fl_netlink_ask(struct fl_netlink *netlink, const char *op, fl_netlink_visit *visit, void *context, struct fl_error *err);

/* An attribute among those that begin `offset` bytes into the message's payload, or NULL. Its size is checked against the message. */
const struct nlattr *fl_netlink_find(const struct nlmsghdr *message, size_t offset, uint16_t type);
const struct nlattr *fl_netlink_find_in(const struct nlattr *nest, uint16_t type);
static inline const void *fl_netlink_data(const struct nlattr *attribute) { return (const uint8_t *)attribute + NLA_HDRLEN; }
static inline size_t fl_netlink_size(const struct nlattr *attribute) { return (size_t)(attribute->nla_len - NLA_HDRLEN); }
#endif
