/* See questions.h. Each question has a socket and a number of its own, both by chance: an answer from elsewhere than the name server would have to guess them. */
#include "names/questions.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

uint64_t fl_forwarder_now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t by_chance(void)
{
  uint32_t value;

  while (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
    ;
  return value;
}

static void reply(const struct fl_forwarder *forwarder, const struct fl_way *way, const struct fl_dns_query *query, const struct fl_dns_answer *answer)
{
  uint8_t bytes[FL_DNS_REPLY_MAX];
  size_t size = fl_dns_write_reply(query, answer, bytes);

  if (!way->connection)                                          /* lost when it cannot be sent, like any packet: whoever asked asks again */
    sendto(forwarder->socket, bytes, size, MSG_DONTWAIT, (const struct sockaddr *)&way->to, sizeof way->to);
  else if (way->connection->serial == way->serial)
    fl_connection_reply(way->connection, bytes, size);
}

void fl_question_refuse(const struct fl_forwarder *forwarder, const struct fl_way *way, const struct fl_dns_query *query, enum fl_dns_code code)
{
  reply(forwarder, way, query, &(struct fl_dns_answer){ .code = code });
}

/* A sandbox that has ended, or has another policy by now, is not answered. */
static bool is_current(const struct fl_forwarder *forwarder, const struct fl_question *question)
{
  return forwarder->asker[question->slot].grant == question->grant;
}

static void end(struct fl_forwarder *forwarder, struct fl_question *question)
{
  const struct fl_way way = question->way;

  if (is_current(forwarder, question)) {
    forwarder->asker[question->slot].asking--;
    reply(forwarder, &way, &question->query, &question->answer);
  }
  question->state = FL_QUESTION_FREE;
  forwarder->asked--;
  fl_connection_resume(forwarder, &way);
}

static void fail(struct fl_forwarder *forwarder, struct fl_question *question)
{
  question->answer = (struct fl_dns_answer){ .code = FL_DNS_FAILED };
  end(forwarder, question);
}

static bool send_question(struct fl_question *question)
{
  uint8_t bytes[FL_DNS_QUERY_MAX];
  size_t size = fl_dns_write_question(question->id, &question->query.name, bytes);

  question->tries++;
  question->deadline_ms = fl_forwarder_now_ms() + FL_NAMES_TRY_MS;
  return send(question->socket, bytes, size, MSG_DONTWAIT) == (ssize_t)size;
}

/* The kernel chooses another port when a socket without one is connected. */
static bool connect_again(int fd)
{
  static const struct sockaddr none = { .sa_family = AF_UNSPEC };
  const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(FL_DNS_PORT), .sin_addr.s_addr = htonl(FL_EGRESS_GATEWAY) };

  connect(fd, &none, sizeof none);
  return connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
}

static struct fl_question *find_free(struct fl_forwarder *forwarder)
{
  uint32_t first = by_chance();

  for (uint32_t index = 0; index < FL_NAMES_QUERIES_MAX; index++)
    if (forwarder->question[(first + index) % FL_NAMES_QUERIES_MAX].state == FL_QUESTION_FREE)
      return &forwarder->question[(first + index) % FL_NAMES_QUERIES_MAX];
  return NULL;
}

void fl_question_ask(struct fl_forwarder *forwarder, const struct fl_way *way, const struct fl_dns_query *query, uint32_t slot, uint32_t entries)
{
  struct fl_asker *asker = &forwarder->asker[slot];
  struct fl_question *question = asker->asking < FL_NAMES_SANDBOX_QUERIES_MAX ? find_free(forwarder) : NULL;

  if (!question) {
    fl_question_refuse(forwarder, way, query, FL_DNS_FAILED);
    return;
  }
  question->state = FL_QUESTION_ASKED;
  question->id = (uint16_t)by_chance();
  question->serial = ++forwarder->next_serial;
  question->slot = slot;
  question->entries = entries;
  question->tries = 0;
  question->grant = asker->grant;
  question->way = *way;
  question->query = *query;
  asker->asking++;
  forwarder->asked++;
  if ((question->served++ % FL_NAMES_SOCKET_QUERIES == 0 && !connect_again(question->socket)) || !send_question(question))
    fail(forwarder, question);
}

/* Numbers of tickets are never used twice in a life of the forwarder: an index, and above it the serial's low bits. */
static uint32_t ticket_of(const struct fl_forwarder *forwarder, const struct fl_question *question)
{
  return question->serial * FL_NAMES_QUERIES_MAX + (uint32_t)(question - forwarder->question);
}

/* Is it open for at least as long as the sandbox will be told? */
static bool is_open(const struct fl_asker *asker, uint32_t address, uint32_t entries, uint64_t until_ms)
{
  for (uint32_t index = 0; index < FL_NAMES_REMEMBERED; index++)
    if (asker->opened[index].address == address && (asker->opened[index].entries & entries) == entries && asker->opened[index].until_ms >= until_ms)
      return true;
  return false;
}

static void remember(struct fl_asker *asker, const struct fl_question *question, uint64_t until_ms)
{
  for (uint32_t index = 0; index < question->answer.count; index++)
    asker->opened[asker->next_opened++ % FL_NAMES_REMEMBERED] = (struct fl_opened_address){ question->answer.address[index], question->entries, until_ms };
}

static bool may_open(struct fl_asker *asker, uint64_t now)
{
  if (asker->opens_due_ms < now)
    asker->opens_due_ms = now;
  if (asker->opens_due_ms > now + FL_NAMES_OPEN_EVERY_MS * FL_NAMES_OPEN_BURST)
    return false;
  asker->opens_due_ms += FL_NAMES_OPEN_EVERY_MS;
  return true;
}

/* What is private stays in the answer, and closed: a rule may name it. */
static void open_answer(struct fl_forwarder *forwarder, struct fl_question *question)
{
  struct fl_names_open open = { .grant = question->grant, .slot = question->slot, .ticket = ticket_of(forwarder, question), .entries = question->entries, .seconds = question->answer.seconds };

  struct fl_asker *asker = &forwarder->asker[question->slot];
  uint64_t now = fl_forwarder_now_ms();

  question->answer.seconds = question->answer.seconds < FL_NAMES_SECONDS_MAX ? question->answer.seconds : FL_NAMES_SECONDS_MAX;
  for (uint32_t index = 0; index < question->answer.count; index++)
    if (fl_egress_is_public(question->answer.address[index]) && !is_open(asker, question->answer.address[index], question->entries, now + question->answer.seconds * 1000ull))
      open.address[open.count++] = question->answer.address[index];
  if (open.count == 0 || !is_current(forwarder, question)) {
    end(forwarder, question);
  } else if (!may_open(asker, now) || send(forwarder->control, &open, sizeof open, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof open) {
    fail(forwarder, question);
  } else {
    question->state = FL_QUESTION_OPENING;
    question->deadline_ms = fl_forwarder_now_ms() + FL_NAMES_TRY_MS;
  }
}

/* What a datagram had no room for. A name server that does not speak TCP has told some addresses, or none. */
static void ask_for_all(struct fl_forwarder *forwarder, struct fl_question *question)
{
  if (!fl_upstream_ask(forwarder, question)) {
    fl_question_completed(forwarder, question, false);
    return;
  }
  question->state = FL_QUESTION_CUT_SHORT;
  question->deadline_ms = fl_forwarder_now_ms() + FL_NAMES_TRY_MS;
}

void fl_question_readable(struct fl_forwarder *forwarder, uint32_t index)
{
  struct fl_question *question = &forwarder->question[index];
  uint8_t bytes[FL_DNS_ANSWER_MAX + 1];
  ssize_t got = recv(question->socket, bytes, sizeof bytes, MSG_DONTWAIT);

  if (question->state != FL_QUESTION_ASKED || (got < 0 && errno == EAGAIN))
    return;
  if (got < 0)
    fail(forwarder, question);                                   /* the name server is not there */
  else if (fl_dns_read_answer(bytes, (size_t)got, FL_DNS_ANSWER_MAX, question->id, &question->query.name, &question->answer) == 0)
    (question->answer.truncated ? ask_for_all : open_answer)(forwarder, question);
}

void fl_question_completed(struct fl_forwarder *forwarder, struct fl_question *question, bool answered)
{
  if (answered || question->answer.count > 0)
    open_answer(forwarder, question);
  else
    fail(forwarder, question);
}

void fl_question_opened(struct fl_forwarder *forwarder, const struct fl_names_opened *opened)
{
  struct fl_question *question = &forwarder->question[opened->ticket % FL_NAMES_QUERIES_MAX];

  if (question->state != FL_QUESTION_OPENING || ticket_of(forwarder, question) != opened->ticket)
    return;
  if (opened->result < 0) {
    fail(forwarder, question);
    return;
  }
  if (is_current(forwarder, question))         /* two seconds less than it is: it was opened a moment ago (FL_NAMES_TRY_MS at most) */
    remember(&forwarder->asker[question->slot], question, fl_forwarder_now_ms() + (fl_names_seconds(question->answer.seconds) - 2) * 1000ull);
  end(forwarder, question);
}

static void expire(struct fl_forwarder *forwarder, struct fl_question *question)
{
  if (question->state == FL_QUESTION_CUT_SHORT) {
    fl_upstream_release(question->upstream);
    fl_question_completed(forwarder, question, false);
  } else if (question->state == FL_QUESTION_OPENING || question->tries >= FL_NAMES_TRIES || !is_current(forwarder, question) || !send_question(question)) {
    fail(forwarder, question);
  }
}

void fl_questions_expire(struct fl_forwarder *forwarder, uint64_t now)
{
  for (uint32_t index = 0; index < FL_NAMES_QUERIES_MAX && forwarder->asked; index++)
    if (forwarder->question[index].state != FL_QUESTION_FREE && forwarder->question[index].deadline_ms <= now)
      expire(forwarder, &forwarder->question[index]);
}

uint64_t fl_questions_deadline(const struct fl_forwarder *forwarder)
{
  uint64_t nearest = UINT64_MAX;

  for (uint32_t index = 0; index < FL_NAMES_QUERIES_MAX && forwarder->asked; index++)
    if (forwarder->question[index].state != FL_QUESTION_FREE && forwarder->question[index].deadline_ms < nearest)
      nearest = forwarder->question[index].deadline_ms;
  return nearest;
}
