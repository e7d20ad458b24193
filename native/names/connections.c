/*
 * Connections of sandboxes: DNS over TCP (RFC 7766) for whoever prefers it, or was told to come again by it. They are watched for edges, so that what a sandbox has sent ahead waits in the kernel, of which it has FL_NAMES_STREAM_BYTES.
 * Nothing is queued here: a sandbox that does not take its answers loses its connection.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "names/questions.h"

enum { ACCEPTED_PER_TURN = 16 };

static void end(struct fl_forwarder *forwarder, struct fl_connection *connection)
{
  close(connection->fd);                       /* leaves epoll; what is on its way for it finds another serial */
  connection->fd = -1;
  connection->serial++;
  forwarder->connected--;
}

/* Room for another one of this slot; NULL: there is none. */
static struct fl_connection *find_room(struct fl_forwarder *forwarder, uint32_t slot)
{
  struct fl_connection *room = NULL;
  uint32_t own = 0;

  for (uint32_t index = 0; index < FL_NAMES_STREAMS_MAX; index++) {
    struct fl_connection *connection = &forwarder->connection[index];

    if (connection->fd < 0)
      room = connection;
    else
      own += connection->slot == slot;
  }
  return own < FL_NAMES_SANDBOX_STREAMS_MAX ? room : NULL;
}

void fl_connections_accept(struct fl_forwarder *forwarder)
{
  for (int count = 0; count < ACCEPTED_PER_TURN; count++) {
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    struct sockaddr_in from = { 0 };
    socklen_t length = sizeof from;
    int fd = accept4(forwarder->listener, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    uint32_t slot = ntohl(from.sin_addr.s_addr) - forwarder->first;

    if (fd < 0)
      return;
    struct fl_connection *connection = slot < forwarder->slots && forwarder->asker[slot].grant ? find_room(forwarder, slot) : NULL;

    event.data.u32 = FL_FORWARDER_CONNECTIONS + (uint32_t)(connection ? connection - forwarder->connection : 0);
    if (!connection || epoll_ctl(forwarder->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
      close(fd);
      continue;
    }
    *connection = (struct fl_connection){ .fd = fd, .serial = connection->serial, .slot = slot, .from = from, .deadline_ms = fl_forwarder_now_ms() + FL_NAMES_STREAM_IDLE_MS };
    forwarder->connected++;
  }
}

/* One question; false: there is none yet, or the connection has ended. */
static bool take_question(struct fl_forwarder *forwarder, struct fl_connection *connection)
{
  struct fl_dns_frame *frame = &connection->frame;

  for (int wants; (wants = fl_dns_frame_wants(frame, FL_DNS_QUERY_MAX)) != 0;) {
    ssize_t got = wants < 0 ? 0 : recv(connection->fd, frame->bytes + frame->filled, (size_t)wants, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
      return false;
    if (got <= 0) {
      end(forwarder, connection);
      return false;
    }
    frame->filled += (size_t)got;
  }
  const struct fl_way way = { .to = connection->from, .connection = connection, .serial = connection->serial };
  size_t size = frame->filled - FL_DNS_PREFIX_BYTES;

  frame->filled = 0;
  connection->asks = true;
  connection->deadline_ms = UINT64_MAX;        /* the question has one */
  if (connection->served++ == FL_NAMES_STREAM_QUERIES_MAX || !fl_forwarder_take(forwarder, &way, connection->slot, frame->bytes + FL_DNS_PREFIX_BYTES, size)) {
    end(forwarder, connection);
    return false;
  }
  return connection->serial == way.serial;
}

void fl_connection_readable(struct fl_forwarder *forwarder, struct fl_connection *connection)
{
  if (connection->fd < 0 || connection->reading)
    return;
  connection->reading = true;
  while (!connection->asks && connection->deadline_ms && take_question(forwarder, connection))
    continue;
  connection->reading = false;
}

void fl_connection_reply(struct fl_connection *connection, const uint8_t *bytes, size_t size)
{
  uint8_t message[FL_DNS_PREFIX_BYTES + FL_DNS_REPLY_MAX] = { (uint8_t)(size >> 8), (uint8_t)size };

  memcpy(message + FL_DNS_PREFIX_BYTES, bytes, size);
  size += FL_DNS_PREFIX_BYTES;
  connection->asks = false;
  connection->deadline_ms = fl_forwarder_now_ms() + FL_NAMES_STREAM_IDLE_MS;
  if (send(connection->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
    connection->deadline_ms = 0;               /* half an answer is none: the connection ends with this turn */
}

void fl_connection_resume(struct fl_forwarder *forwarder, const struct fl_way *way)
{
  if (way->connection && way->connection->serial == way->serial)
    fl_connection_readable(forwarder, way->connection);
}

void fl_connections_end(struct fl_forwarder *forwarder, uint32_t slot)
{
  for (uint32_t index = 0; index < FL_NAMES_STREAMS_MAX && forwarder->connected; index++)
    if (forwarder->connection[index].fd >= 0 && forwarder->connection[index].slot == slot)
      end(forwarder, &forwarder->connection[index]);
}

void fl_connections_expire(struct fl_forwarder *forwarder, uint64_t now)
{
  for (uint32_t index = 0; index < FL_NAMES_STREAMS_MAX && forwarder->connected; index++)
    if (forwarder->connection[index].fd >= 0 && forwarder->connection[index].deadline_ms <= now)
      end(forwarder, &forwarder->connection[index]);
}

uint64_t fl_connections_deadline(const struct fl_forwarder *forwarder)
{
  uint64_t nearest = UINT64_MAX;

  for (uint32_t index = 0; index < FL_NAMES_STREAMS_MAX && forwarder->connected; index++)
    if (forwarder->connection[index].fd >= 0 && forwarder->connection[index].deadline_ms < nearest)
      nearest = forwarder->connection[index].deadline_ms;
  return nearest;
}
