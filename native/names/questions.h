/* The forwarder's state, shared by its rooms: start.c (what it is, and what it gives up), forwarder.c (the loop, sandboxes, sandboxd), questions.c (what has been asked and is not answered
 * yet), connections.c (of sandboxes, over TCP), upstreams.c (to the name server, over TCP). */
#ifndef FLASHD_NAMES_QUESTIONS_H
#define FLASHD_NAMES_QUESTIONS_H
#include <netinet/in.h>

#include "names/forwarder.h"
#include "names/list.h"

struct fl_opened_address { uint32_t address, entries; uint64_t until_ms; };
struct fl_asker {                              /* by slot */
  uint64_t grant;                              /* 0: none */
  uint64_t opens_due_ms;                       /* when it would have opened what it has, at the pace that it may */
  uint32_t asking, next_opened;
  struct fl_opened_address opened[FL_NAMES_REMEMBERED];
  struct fl_names names;
};

/* A sandbox's. One question after the other: the next one is read when the last one was answered. */
struct fl_connection {
  int fd;                                      /* -1: free */
  uint32_t serial, slot, served;
  bool asks, reading;                          /* its question is on its way; its loop runs */
  uint64_t deadline_ms;
  struct sockaddr_in from;
  struct fl_dns_frame frame;
};

/* Where an answer goes. */
struct fl_way {
  struct sockaddr_in to;
  struct fl_connection *connection;            /* NULL: a datagram */
  uint32_t serial;                             /* of the connection: another one has another */
};

struct fl_upstream {
  int fd;
  struct fl_question *question;                /* NULL: free */
  bool sent;
  struct fl_dns_frame frame;
};

struct fl_question {
  enum { FL_QUESTION_FREE = 0, FL_QUESTION_ASKED, FL_QUESTION_CUT_SHORT, FL_QUESTION_OPENING } state;
  int socket;
  uint32_t served;                             /* by this socket */
  uint16_t id;
  uint32_t serial;                             /* together with its index the ticket of what is opened for it */
  uint32_t slot, entries, tries;
  uint64_t grant, deadline_ms;
  struct fl_way way;
  struct fl_upstream *upstream;                /* that it is asked again by (CUT_SHORT) */
  struct fl_dns_query query;
  struct fl_dns_answer answer;
};

struct fl_forwarder {
  int epoll, control, socket, listener;
  uint32_t slots, first;
  uint32_t asked, next_serial, connected;
  struct fl_question question[FL_NAMES_QUERIES_MAX];
  struct fl_connection connection[FL_NAMES_STREAMS_MAX];
  struct fl_upstream upstream[FL_NAMES_UPSTREAMS_MAX];
  struct fl_asker *asker;                      /* slots entries */
};

/* In epoll, beside the questions' indices. */
enum {
  FL_FORWARDER_CONTROL = FL_NAMES_QUERIES_MAX, FL_FORWARDER_SOCKET, FL_FORWARDER_LISTENER, FL_FORWARDER_CONNECTIONS, FL_FORWARDER_UPSTREAMS = FL_FORWARDER_CONNECTIONS + FL_NAMES_STREAMS_MAX
};

/* start.c: everything but the loop. -errno: it cannot be. */
int fl_forwarder_prepare(const struct fl_forwarder_start *start, struct fl_forwarder *forwarder, int ret_fds[FL_NAMES_READY_DESCRIPTORS]);

/* forwarder.c: what a sandbox has sent. False: it is to be answered by nothing. */
bool fl_forwarder_take(struct fl_forwarder *forwarder, const struct fl_way *way, uint32_t slot, const void *bytes, size_t size);

/* Answers with a code alone. */
void fl_question_refuse(const struct fl_forwarder *forwarder, const struct fl_way *way, const struct fl_dns_query *query, enum fl_dns_code code);
/* A listed name, by these entries of its asker's. */
void fl_question_ask(struct fl_forwarder *forwarder, const struct fl_way *way, const struct fl_dns_query *query, uint32_t slot, uint32_t entries);
/* Something came to its socket. */
void fl_question_readable(struct fl_forwarder *forwarder, uint32_t index);
/* What was cut short was asked again: question->answer, or, with answered false, what there was before. */
void fl_question_completed(struct fl_forwarder *forwarder, struct fl_question *question, bool answered);
void fl_question_opened(struct fl_forwarder *forwarder, const struct fl_names_opened *opened);
void fl_questions_expire(struct fl_forwarder *forwarder, uint64_t now);
/* When the next of them expires, or UINT64_MAX. */
uint64_t fl_questions_deadline(const struct fl_forwarder *forwarder);

/* connections.c. Takes what waits to be accepted, or closes it. */
void fl_connections_accept(struct fl_forwarder *forwarder);
void fl_connection_readable(struct fl_forwarder *forwarder, struct fl_connection *connection);
void fl_connection_reply(struct fl_connection *connection, const uint8_t *bytes, size_t size);
/* After a reply to what was on its way: the next question. */
void fl_connection_resume(struct fl_forwarder *forwarder, const struct fl_way *way);
/* Those of a slot whose sandbox is another one from now on. */
void fl_connections_end(struct fl_forwarder *forwarder, uint32_t slot);
void fl_connections_expire(struct fl_forwarder *forwarder, uint64_t now);
uint64_t fl_connections_deadline(const struct fl_forwarder *forwarder);

/* upstreams.c. False: none is free, or there is no way. */
bool fl_upstream_ask(struct fl_forwarder *forwarder, struct fl_question *question);
void fl_upstream_ready(struct fl_forwarder *forwarder, struct fl_upstream *upstream);
void fl_upstream_release(struct fl_upstream *upstream);

uint64_t fl_forwarder_now_ms(void);
#endif
