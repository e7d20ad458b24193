/*
 * As much of DNS (RFC 1035, 3596, 6891, 7766) as the forwarder speaks: one question per message, over UDP and TCP, addresses of IPv4. What goes on is never what came, but written anew from what was understood, in both directions: a sandbox's
 * packet reaches no name server, and a name server's reaches no sandbox. Pure, and fuzzed: both sides are hostile.
 */
#ifndef FLASHD_NAMES_DNS_H
#define FLASHD_NAMES_DNS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  FL_DNS_NAME_BYTES = 255,                     /* of a name in a packet */
  FL_DNS_QUERY_MAX = 512,                      /* of a sandbox's packet; longer ones are not read */
  FL_DNS_ANSWER_MAX = 1232,                    /* of a name server's datagram, as it is told; longer ones are not read */
  FL_DNS_STREAM_ANSWER_MAX = 8192,             /* of what it says over TCP */
  FL_DNS_PREFIX_BYTES = 2,                     /* of each message over TCP: its length */
  FL_DNS_REPLY_MAX = 512,                      /* of what a sandbox is answered */
  FL_DNS_ADDRESSES_MAX = 8,                    /* that are taken of an answer */
  FL_DNS_RECORDS_MAX = 64,                     /* that are looked at */
  FL_DNS_ALIASES_MAX = 8                       /* names on the way from the one asked for to its addresses */
};

enum fl_dns_code { FL_DNS_OK = 0, FL_DNS_FORMAT = 1, FL_DNS_FAILED = 2, FL_DNS_NO_NAME = 3, FL_DNS_NOT_IMPLEMENTED = 4, FL_DNS_REFUSED = 5 };
enum { FL_DNS_A = 1, FL_DNS_IN = 1, FL_DNS_PORT = 53 };

struct fl_dns_name {
  uint8_t size;                                /* bytes, the root's included */
  uint8_t bytes[FL_DNS_NAME_BYTES];            /* as in a packet, without pointers */
};

struct fl_dns_query {
  uint16_t id, type, class;
  bool recursion, extended;                    /* it wants recursion; it has an OPT */
  struct fl_dns_name name;                     /* in the spelling that it was asked in */
};

/* FL_DNS_OK; a code that is to be answered, with as much of the query as could be read; or negative: not to be answered at all. */
int fl_dns_read_query(const void *bytes, size_t size, struct fl_dns_query *ret_query);
/* In lower case, with dots; the length, 0 for the root. A byte that no listed name has, a dot in a label above all, becomes "?". */
size_t fl_dns_text(const struct fl_dns_name *name, char ret_text[FL_DNS_NAME_BYTES]);

/* A question for the addresses of a name, with recursion. */
size_t fl_dns_write_question(uint16_t id, const struct fl_dns_name *name, uint8_t ret_bytes[FL_DNS_QUERY_MAX]);

struct fl_dns_answer {
  enum fl_dns_code code;                       /* FL_DNS_OK, FL_DNS_NO_NAME or FL_DNS_FAILED */
  bool truncated;                              /* there is more, over TCP */
  uint32_t count, seconds;                     /* seconds: the shortest of those that it may be kept for */
  uint32_t address[FL_DNS_ADDRESSES_MAX];      /* in host byte order */
};
/* 0, or negative: it is no answer to that question, or malformed. max: what it may have, by the way that it came. */
int fl_dns_read_answer(const void *bytes, size_t size, size_t max, uint16_t id, const struct fl_dns_name *name, struct fl_dns_answer *ret_answer);

/* One message over TCP, as it comes in: never more of it is asked for than belongs to it, so that the next one begins with an empty frame. */
struct fl_dns_frame {
  size_t filled;
  uint8_t bytes[FL_DNS_PREFIX_BYTES + FL_DNS_STREAM_ANSWER_MAX];
};
/* How many bytes are to be put behind those that are there; 0: the message is whole; -EMSGSIZE: it is longer than max, which is at most FL_DNS_STREAM_ANSWER_MAX, or empty. */
int fl_dns_frame_wants(const struct fl_dns_frame *frame, size_t max);

size_t fl_dns_write_reply(const struct fl_dns_query *query, const struct fl_dns_answer *answer, uint8_t ret_bytes[FL_DNS_REPLY_MAX]);
#endif
