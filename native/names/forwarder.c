/* See forwarder.h: the loop, the questions that sandboxes send, and what sandboxd says. Per turn each of them has its share, sandboxd first: a policy is known before whoever has it can ask. */
#include "names/forwarder.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "names/questions.h"
#include "sys/packet.h"

enum { EVENTS_MAX = 64, QUESTIONS_PER_TURN = 64 };

static void take_grant(struct fl_forwarder *forwarder, const struct fl_names_grant *grant)
{
  if (grant->slot >= forwarder->slots)
    return;
  fl_connections_end(forwarder, grant->slot);
  forwarder->asker[grant->slot] = (struct fl_asker){ .grant = grant->names.count ? grant->grant : 0, .names = grant->names };
}

/* What it says is in a form that both know: it is the same program. */
static void take_orders(struct fl_forwarder *forwarder)
{
  union { struct fl_names_grant grant; struct fl_names_opened opened; } order;

  for (;;) {
    ssize_t size = recv(forwarder->control, &order, sizeof order, MSG_DONTWAIT);

    if (size == (ssize_t)sizeof order.grant)
      take_grant(forwarder, &order.grant);
    else if (size == (ssize_t)sizeof order.opened)
      fl_question_opened(forwarder, &order.opened);
    else if (size < 0 && errno == EAGAIN)
      return;
    else
      _exit(0);                                                  /* sandboxd is gone */
  }
}

bool fl_forwarder_take(struct fl_forwarder *forwarder, const struct fl_way *way, uint32_t slot, const void *bytes, size_t size)
{
  char text[FL_DNS_NAME_BYTES];
  struct fl_dns_query query;
  uint32_t entries = 0;
  int code = fl_dns_read_query(bytes, size, &query);

  if (code < 0)
    return false;
  if (code == FL_DNS_OK && query.class == FL_DNS_IN && forwarder->asker[slot].grant)
    entries = fl_names_match(&forwarder->asker[slot].names, text, fl_dns_text(&query.name, text));
  if (code != FL_DNS_OK || !entries)
    fl_question_refuse(forwarder, way, &query, code != FL_DNS_OK ? (enum fl_dns_code)code : FL_DNS_REFUSED);
  else if (query.type != FL_DNS_A)
    fl_question_refuse(forwarder, way, &query, FL_DNS_OK);       /* there is such a name, and nothing of that kind */
  else
    fl_question_ask(forwarder, way, &query, slot, entries);
  return true;
}

static void take_questions(struct fl_forwarder *forwarder)
{
  uint8_t bytes[FL_DNS_QUERY_MAX + 1];

  for (int count = 0; count < QUESTIONS_PER_TURN; count++) {
    struct fl_way way = { .connection = NULL };
    socklen_t length = sizeof way.to;
    ssize_t got = recvfrom(forwarder->socket, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&way.to, &length);
    uint32_t slot = ntohl(way.to.sin_addr.s_addr) - forwarder->first;

    if (got < 0)
      return;
    take_orders(forwarder);
    if (length == sizeof way.to && way.to.sin_family == AF_INET && slot < forwarder->slots)
      fl_forwarder_take(forwarder, &way, slot, bytes, (size_t)got);
  }
}

static void handle(struct fl_forwarder *forwarder, uint32_t index)
{
  if (index == FL_FORWARDER_SOCKET)
    take_questions(forwarder);
  else if (index == FL_FORWARDER_LISTENER)
    fl_connections_accept(forwarder);
  else if (index < FL_NAMES_QUERIES_MAX)
    fl_question_readable(forwarder, index);
  else if (index >= FL_FORWARDER_UPSTREAMS)
    fl_upstream_ready(forwarder, &forwarder->upstream[index - FL_FORWARDER_UPSTREAMS]);
  else if (index >= FL_FORWARDER_CONNECTIONS)
    fl_connection_readable(forwarder, &forwarder->connection[index - FL_FORWARDER_CONNECTIONS]);
}

/* Milliseconds, or -1. */
static int wait_ms(const struct fl_forwarder *forwarder)
{
  uint64_t questions = fl_questions_deadline(forwarder), connections = fl_connections_deadline(forwarder);
  uint64_t nearest = questions < connections ? questions : connections, now = nearest == UINT64_MAX ? 0 : fl_forwarder_now_ms();

  return nearest == UINT64_MAX ? -1 : nearest > now ? (int)(nearest - now) : 0;
}

static void loop(struct fl_forwarder *forwarder)
{
  struct epoll_event events[EVENTS_MAX];

  for (;;) {
    int count = epoll_wait(forwarder->epoll, events, EVENTS_MAX, wait_ms(forwarder));

    take_orders(forwarder);
    for (int index = 0; index < count; index++)
      handle(forwarder, events[index].data.u32);
    if (forwarder->asked || forwarder->connected) {
      uint64_t now = fl_forwarder_now_ms();

      fl_questions_expire(forwarder, now);
      fl_connections_expire(forwarder, now);
    }
  }
}

void fl_forwarder_run(const struct fl_forwarder_start *start)
{
  static struct fl_forwarder forwarder;
  struct fl_names_open ready = { 0 };
  int fds[FL_NAMES_READY_DESCRIPTORS] = { -1, -1, -1 };
  int result = fl_forwarder_prepare(start, &forwarder, fds);

  if (result == 0)
    result = fl_packet_send(start->control, &ready, sizeof ready, fds, start->network < 0 ? FL_COUNT(fds) : 0);
  if (result < 0)
    _exit(-result);
  loop(&forwarder);
  _exit(0);
}
