/* The forwarder's state, shared by its rooms: start.c (what it is, and what it gives up), forwarder.c (the loop, sandboxes, sandboxd), questions.c (what has been asked and is not answered yet). */
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

struct fl_question {
  enum { FL_QUESTION_FREE = 0, FL_QUESTION_ASKED, FL_QUESTION_OPENING } state;
  int socket;
  uint32_t served;                             /* by this socket */
  uint16_t id;
  uint32_t serial;                             /* together with its index the ticket of what is opened for it */
  uint32_t slot, entries, tries;
  uint64_t grant, deadline_ms;
  struct sockaddr_in from;
  struct fl_dns_query query;
  struct fl_dns_answer answer;
};

struct fl_forwarder {
  int epoll, control, socket;
  uint32_t slots, first;
  uint32_t asked, next_serial;
  struct fl_question question[FL_NAMES_QUERIES_MAX];
  struct fl_asker *asker;                      /* slots entries */
};

enum { FL_FORWARDER_CONTROL = FL_NAMES_QUERIES_MAX, FL_FORWARDER_SOCKET };     /* in epoll, beside the questions' indices */

/* start.c: everything but the loop. -errno: it cannot be. */
int fl_forwarder_prepare(const struct fl_forwarder_start *start, struct fl_forwarder *forwarder, int ret_fds[FL_NAMES_READY_DESCRIPTORS]);

/* Answers with a code alone. */
void fl_question_refuse(const struct fl_forwarder *forwarder, const struct sockaddr_in *to, const struct fl_dns_query *query, enum fl_dns_code code);
/* A listed name, by these entries of its asker's. */
void fl_question_ask(struct fl_forwarder *forwarder, const struct sockaddr_in *from, const struct fl_dns_query *query, uint32_t slot, uint32_t entries);
/* Something came to its socket. */
void fl_question_readable(struct fl_forwarder *forwarder, uint32_t index);
void fl_question_opened(struct fl_forwarder *forwarder, const struct fl_names_opened *opened);
void fl_questions_expire(struct fl_forwarder *forwarder);
/* Milliseconds, or -1. */
int fl_questions_wait(const struct fl_forwarder *forwarder);
#endif
