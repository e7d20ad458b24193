/*
 * Connections to the name server, for answers that it cut short (TC): the question is asked once more, over TCP, with the same number. The sockets are there from the start, and are connected anew for each question.
 */
#include <errno.h>
#include <sys/socket.h>

#include "names/questions.h"

static void disconnect(int fd)
{
  static const struct sockaddr none = { .sa_family = AF_UNSPEC };

  connect(fd, &none, sizeof none);
}

void fl_upstream_release(struct fl_upstream *upstream)
{
  disconnect(upstream->fd);
  upstream->question->upstream = NULL;
  upstream->question = NULL;
}

bool fl_upstream_ask(struct fl_forwarder *forwarder, struct fl_question *question)
{
  const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(FL_DNS_PORT), .sin_addr.s_addr = htonl(FL_EGRESS_GATEWAY) };

  for (uint32_t index = 0; index < FL_NAMES_UPSTREAMS_MAX; index++) {
    struct fl_upstream *upstream = &forwarder->upstream[index];

    if (upstream->question)
      continue;
    if (connect(upstream->fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
      return false;
    upstream->question = question;
    upstream->sent = false;
    upstream->frame.filled = 0;
    question->upstream = upstream;
    return true;
  }
  return false;
}

static void complete(struct fl_forwarder *forwarder, struct fl_upstream *upstream)
{
  struct fl_question *question = upstream->question;
  const struct fl_dns_frame *frame = &upstream->frame;
  struct fl_dns_answer answer;
  bool answered = fl_dns_frame_wants(frame, FL_DNS_STREAM_ANSWER_MAX) == 0 &&
                  fl_dns_read_answer(frame->bytes + FL_DNS_PREFIX_BYTES, frame->filled - FL_DNS_PREFIX_BYTES, FL_DNS_STREAM_ANSWER_MAX, question->id, &question->query.name, &answer) == 0;

  if (answered)
    question->answer = answer;
  fl_upstream_release(upstream);
  fl_question_completed(forwarder, question, answered);
}

/* The question fits into a fresh socket's buffer, so that it is sent in one piece or not at all. */
static int send_question(struct fl_upstream *upstream)
{
  uint8_t message[FL_DNS_PREFIX_BYTES + FL_DNS_QUERY_MAX];
  size_t size = fl_dns_write_question(upstream->question->id, &upstream->question->query.name, message + FL_DNS_PREFIX_BYTES);

  message[0] = (uint8_t)(size >> 8);
  message[1] = (uint8_t)size;
  size += FL_DNS_PREFIX_BYTES;
  if (send(upstream->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size)
    upstream->sent = true;
  return upstream->sent ? 0 : -errno;
}

/* Connected, readable, refused or ended: what it is, the calls tell. */
void fl_upstream_ready(struct fl_forwarder *forwarder, struct fl_upstream *upstream)
{
  struct fl_dns_frame *frame = &upstream->frame;
  int result = !upstream->question || upstream->sent ? 0 : send_question(upstream);

  if (!upstream->question || result == -EAGAIN || result == -ENOTCONN || result == -EINPROGRESS)
    return;                                    /* nothing is asked; or it is not connected yet, and will be ready again */
  for (int wants; result == 0 && (wants = fl_dns_frame_wants(frame, FL_DNS_STREAM_ANSWER_MAX)) > 0;) {
    ssize_t got = recv(upstream->fd, frame->bytes + frame->filled, (size_t)wants, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
      return;
    if (got <= 0)
      break;
    frame->filled += (size_t)got;
  }
  complete(forwarder, upstream);
}
