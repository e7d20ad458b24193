/* See netlink.h. Formats: linux/netlink.h. */
#include "network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES = 64 << 10, RECEIVE_BYTES = 1 << 20 };

struct fl_netlink *fl_netlink_open(int protocol, struct fl_error *err)
{
  struct fl_netlink *netlink = calloc(1, sizeof *netlink);
  struct sockaddr_nl own = { .nl_family = AF_NETLINK };

  if (!netlink) {
    fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", "netlink");
    return NULL;
  }
  netlink->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (netlink->fd < 0 || bind(netlink->fd, (struct sockaddr *)&own, sizeof own) < 0) {
    fl_fail(err, FL_ERR_NETWORK, errno, "netlink", "protocol %d", protocol);
    fl_netlink_close(netlink);
    return NULL;
  }
  /* Errors in words, without the request's copy; both only help to explain. */
  setsockopt(netlink->fd, SOL_NETLINK, NETLINK_EXT_ACK, &(int){ 1 }, sizeof(int));
  setsockopt(netlink->fd, SOL_NETLINK, NETLINK_CAP_ACK, &(int){ 1 }, sizeof(int));
  setsockopt(netlink->fd, SOL_SOCKET, SO_RCVBUF, &(int){ RECEIVE_BYTES }, sizeof(int));
  return netlink;
}

void fl_netlink_close(struct fl_netlink *netlink)
{
  if (!netlink)
    return;
  if (netlink->fd >= 0)
    close(netlink->fd);
  free(netlink);
}

void fl_netlink_reset(struct fl_netlink *netlink)
{
  netlink->length = netlink->message = 0;
  netlink->overflow = false;
}

static struct nlmsghdr *newest(struct fl_netlink *netlink)
{
  return (struct nlmsghdr *)(netlink->bytes + netlink->message);
}

/* Room at the end, zeroed and aligned; the newest message grows by it. NULL when there is none. */
static void *grow(struct fl_netlink *netlink, size_t size)
{
  size_t aligned = NLMSG_ALIGN(size);
  uint8_t *at = netlink->bytes + netlink->length;

  if (netlink->overflow || aligned > sizeof netlink->bytes - netlink->length) {
    netlink->overflow = true;
    return NULL;
  }
  memset(at, 0, aligned);
  netlink->length += aligned;
  newest(netlink)->nlmsg_len = (uint32_t)(netlink->length - netlink->message);
  return at;
}

void fl_netlink_begin(struct fl_netlink *netlink, uint16_t type, uint16_t flags, const void *header, size_t size)
{
  size_t before = netlink->message;

  netlink->message = netlink->length;
  if (!grow(netlink, NLMSG_HDRLEN)) {
    netlink->message = before;
    return;
  }
  newest(netlink)->nlmsg_type = type;
  newest(netlink)->nlmsg_flags = NLM_F_REQUEST | flags;
  newest(netlink)->nlmsg_seq = ++netlink->sequence;
  fl_netlink_extend(netlink, header, size);
}

void fl_netlink_put(struct fl_netlink *netlink, uint16_t type, const void *bytes, size_t size)
{
  struct nlattr *attribute = grow(netlink, NLA_HDRLEN + size);

  if (!attribute)
    return;
  attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
  attribute->nla_type = type;
  if (size > 0)
    memcpy((uint8_t *)attribute + NLA_HDRLEN, bytes, size);
}

void fl_netlink_put_u32(struct fl_netlink *netlink, uint16_t type, uint32_t value)
{
  fl_netlink_put(netlink, type, &value, sizeof value);
}

void fl_netlink_put_be32(struct fl_netlink *netlink, uint16_t type, uint32_t value)
{
  fl_netlink_put_u32(netlink, type, htonl(value));
}

void fl_netlink_put_text(struct fl_netlink *netlink, uint16_t type, const char *text)
{
  fl_netlink_put(netlink, type, text, strlen(text) + 1);
}

size_t fl_netlink_nest(struct fl_netlink *netlink, uint16_t type)
{
  size_t at = netlink->length;

  fl_netlink_put(netlink, type | NLA_F_NESTED, NULL, 0);
  return at;
}

void fl_netlink_unnest(struct fl_netlink *netlink, size_t nest)
{
  if (!netlink->overflow)
    ((struct nlattr *)(netlink->bytes + nest))->nla_len = (uint16_t)(netlink->length - nest);
}

void fl_netlink_extend(struct fl_netlink *netlink, const void *bytes, size_t size)
{
  void *room = grow(netlink, size);

  if (room)
    memcpy(room, bytes, size);
}

void fl_netlink_want_ack(struct fl_netlink *netlink)
{
  if (netlink->overflow)
    return;
  newest(netlink)->nlmsg_flags |= NLM_F_ACK;
  netlink->awaited = netlink->sequence;
}

static const struct nlattr *find(const uint8_t *at, const uint8_t *end, uint16_t type)
{
  while (end - at >= NLA_HDRLEN) {
    const struct nlattr *attribute = (const struct nlattr *)at;

    if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > end - at)
      return NULL;
    if ((attribute->nla_type & NLA_TYPE_MASK) == type)
      return attribute;
    if (NLA_ALIGN(attribute->nla_len) > end - at)
      return NULL;
    at += NLA_ALIGN(attribute->nla_len);
  }
  return NULL;
}

const struct nlattr *fl_netlink_find(const struct nlmsghdr *message, size_t offset, uint16_t type)
{
  return find((const uint8_t *)message + NLMSG_HDRLEN + NLMSG_ALIGN(offset), (const uint8_t *)message + message->nlmsg_len, type);
}

const struct nlattr *fl_netlink_find_in(const struct nlattr *nest, uint16_t type)
{
  return find((const uint8_t *)nest + NLA_HDRLEN, (const uint8_t *)nest + nest->nla_len, type);
}

static int refused(const struct nlmsghdr *message, const char *op, struct fl_error *err)
{
  const struct nlmsgerr *answer = NLMSG_DATA(message);
  const struct nlattr *text = message->nlmsg_flags & NLM_F_ACK_TLVS ? fl_netlink_find(message, sizeof *answer, NLMSGERR_ATTR_MSG) : NULL;

  return fl_fail(err, FL_ERR_NETWORK, -answer->error, op, "%.*s", text ? (int)fl_netlink_size(text) : 0, text ? (const char *)fl_netlink_data(text) : "");
}

static int send_all(struct fl_netlink *netlink, const char *op, struct fl_error *err)
{
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  bool overflow = netlink->overflow;
  size_t length = netlink->length;

  fl_netlink_reset(netlink);
  if (overflow)
    return fl_fail(err, FL_ERR_NETWORK, E2BIG, op, "the request is longer than %d bytes", FL_NETLINK_BYTES);
  if (sendto(netlink->fd, netlink->bytes, length, 0, (struct sockaddr *)&kernel, sizeof kernel) != (ssize_t)length)
    return fl_fail(err, FL_ERR_NETWORK, errno, op, "netlink");
  return 0;
}

/* Takes answers until the acknowledgement, or the end of a dump. What is left of an earlier request is skipped by its number. */
static int take_answers(struct fl_netlink *netlink, uint32_t first, const char *op, fl_netlink_visit *visit, void *context, struct fl_error *err)
{
  static _Alignas(NLMSG_ALIGNTO) uint8_t answer[ANSWER_BYTES];
  bool stopped = false;
  int result = 0;

  for (;;) {
    ssize_t got = recv(netlink->fd, answer, sizeof answer, MSG_DONTWAIT);
    size_t left = got < 0 ? 0 : (size_t)got;

    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return result < 0 ? result : fl_fail(err, FL_ERR_NETWORK, errno == EAGAIN ? EPROTO : errno, op, "no answer");
    for (const struct nlmsghdr *message = (struct nlmsghdr *)answer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if ((int32_t)(message->nlmsg_seq - first) < 0)
        continue;
      if (message->nlmsg_type == NLMSG_ERROR) {
        if (((const struct nlmsgerr *)NLMSG_DATA(message))->error < 0 && result == 0)
          result = refused(message, op, err);
        if (message->nlmsg_seq == netlink->awaited || visit)
          return result;
      } else if (message->nlmsg_type == NLMSG_DONE) {
        return result;
      } else if (visit) {
        stopped = stopped || visit(message, context) != 0;       /* the rest is taken nevertheless: it must not lie there for the next question */
      }
    }
  }
}

int fl_netlink_run(struct fl_netlink *netlink, const char *op, struct fl_error *err)
{
  uint32_t first = ((struct nlmsghdr *)netlink->bytes)->nlmsg_seq;
  int result = send_all(netlink, op, err);

  return result < 0 ? result : take_answers(netlink, first, op, NULL, NULL, err);
}

int fl_netlink_ask(struct fl_netlink *netlink, const char *op, fl_netlink_visit *visit, void *context, struct fl_error *err)
{
  uint32_t first = ((struct nlmsghdr *)netlink->bytes)->nlmsg_seq;
  int result = send_all(netlink, op, err);

  return result < 0 ? result : take_answers(netlink, first, op, visit, context, err);
}
