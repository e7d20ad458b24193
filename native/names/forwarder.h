/*
 * The forwarder: the process that resolves host names for sandboxes whose policy has some. It is forked from sandboxd when the first of them is granted its policy, lives in a network like a sandbox's, from which it reaches the name
 * server and nothing else, and has a uid that nobody else has, no capability and a list of system calls (names/confine.c). What it can do is to ask sandboxd: it does not touch a rule, and knows no port.
 *
 *   sandbox                   forwarder                                        name server        sandboxd
 *      │ question ────────────▶ │ listed? else REFUSED                              │                │
 *      │                        │ question of its own ────────────────────────────▶ │                │
 *      │                        │ ◀────────────────────────────────────── answer    │                │
 *      │                        │ struct fl_names_open: these addresses, by these entries ────────▶  │ checks, opens
 *      │                        │ ◀──────────────────────────────────────────── struct fl_names_opened
 *      │ ◀──────────────── reply│ (never earlier)                                   │                │
 *
 * It says struct fl_names_open without addresses when it is ready, with three descriptors the first time: its network and the sockets that questions come to, datagrams and connections. sandboxd keeps them, so that a successor goes on with what has been asked meanwhile.
 */
#ifndef FLASHD_NAMES_FORWARDER_H
#define FLASHD_NAMES_FORWARDER_H
#include "names/dns.h"
#include "network/part.h"

enum {
  FL_NAMES_ID = 65001,                         /* in the range of the first sandbox's ids, where only root and 1000 exist */
  FL_NAMES_QUERIES_MAX = 256,                  /* on their way to the name server; further ones fail at once */
  FL_NAMES_SANDBOX_QUERIES_MAX = 32,           /* of those, of one sandbox */
  FL_NAMES_QUERY_RATE = 32 << 10, FL_NAMES_QUERY_BURST = 16 << 10,    /* bytes of questions a second of one sandbox, headers included, and at once: beyond, they are dropped before they get here */
  FL_NAMES_OPEN_EVERY_MS = 50, FL_NAMES_OPEN_BURST = 64,              /* addresses of one sandbox that are not open yet, by answers: each costs sandboxd a transaction */
  FL_NAMES_REMEMBERED = 16,                    /* addresses of one sandbox that are known to be open */
  FL_NAMES_STREAMS_MAX = 64,                   /* connections of sandboxes (TCP); further ones are closed at once */
  FL_NAMES_SANDBOX_STREAMS_MAX = 4,            /* of those, of one sandbox */
  FL_NAMES_STREAM_IDLE_MS = 5000,              /* without a whole question on one of them, however it drips */
  FL_NAMES_STREAM_QUERIES_MAX = 64,            /* on one connection, one after the other */
  FL_NAMES_STREAM_BYTES = 8 << 10,             /* that the kernel keeps of a connection, in each direction */
  FL_NAMES_UPSTREAMS_MAX = 16,                 /* connections to the name server, for answers that were cut short */
  FL_NAMES_SOCKET_QUERIES = 32,                /* after so many a socket gets another port */
  FL_NAMES_TRY_MS = 1500, FL_NAMES_TRIES = 3,  /* until a question is asked again; then it has failed */
  FL_NAMES_SECONDS_MIN = 60,                   /* that an address is open after an answer: runtimes keep answers longer than these say … */
  FL_NAMES_SECONDS_MAX = 3600,                 /* … and answers can be kept for years */
  FL_NAMES_GRACE_SECONDS = 5                   /* that it is open longer than the sandbox is told: for whoever connects in the last moment */
};

/* To the forwarder. */
struct fl_names_grant {                        /* the sandbox in this slot; without names: no more */
  uint64_t grant;                              /* never used twice */
  uint32_t slot, reserved;
  struct fl_names names;
};
struct fl_names_opened {
  uint32_t ticket;
  int32_t result;                              /* 0 or -errno */
};

/* From it. */
struct fl_names_open {
  uint64_t grant;
  uint32_t slot, ticket;
  uint32_t entries;                            /* of its names, as bits: whose ports */
  uint32_t seconds;
  uint32_t count;
  uint32_t address[FL_DNS_ADDRESSES_MAX];
  uint32_t reserved;
};
enum { FL_NAMES_READY_DESCRIPTORS = 3 };

struct fl_forwarder_start {
  int control;                                 /* its end */
  int network, socket, listener;               /* of the one before, or -1 */
  const char *name;                            /* the daemon's */
  uint32_t id, slots;                          /* uid and gid; addresses of sandboxes from `first` on, its own comes after them */
  uint32_t first;
  pid_t parent;
};
/* In the forwarder's process, just forked. Does not return. */
__attribute__((noreturn)) void fl_forwarder_run(const struct fl_forwarder_start *start);

/* For how long what was answered stays open. */
static inline uint32_t fl_names_seconds(uint32_t told)
{
  return (told < FL_NAMES_SECONDS_MIN ? FL_NAMES_SECONDS_MIN : told > FL_NAMES_SECONDS_MAX ? FL_NAMES_SECONDS_MAX : told) + FL_NAMES_GRACE_SECONDS;
}

/* confine.c: everything that is not needed for answering is refused from here on. 0 or -errno. */
int fl_forwarder_confine(void);
#endif
