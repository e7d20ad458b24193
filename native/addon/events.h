/*
 * What happened in a turn of the event loop, queued by the pollers and told to JavaScript all at once, inside one callback scope, when the
 * loop has polled (uv_check) or is about to (uv_prepare, for what JavaScript itself caused since).
 *
 *   uv: poll ─▶ on_data, on_log … push ─▶ check: read control packets (so that they follow the data they end) ─▶ deliver ─▶ close callbacks
 */
#ifndef FLASHD_EVENTS_H
#define FLASHD_EVENTS_H
#include <flashd/error.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "addon/arena.h"

struct fl_channel;

enum fl_event_kind {
  FL_EVENT_RESPONSE, FL_EVENT_FAULT, FL_EVENT_BROKEN, FL_EVENT_LOG, FL_EVENT_CONTROL, FL_EVENT_CONTROL_END, FL_EVENT_LIFELINE, FL_EVENT_KINDS
};

struct fl_event {
  enum fl_event_kind kind;
  uint32_t number;                             /* RESPONSE: status. FAULT: enum fl_fault. LOG: stream. CONTROL, CONTROL_END: generation */
  int fd;                                      /* LIFELINE: owned by the event until it is told; -1: the supervisor is gone */
  struct fl_channel *channel;                  /* referenced by the event; NULL when it is about none */
  uint32_t id, load_us, handler_us;
  const void *bytes;                           /* headers, fault text, log chunk, packet; BROKEN: reason */
  size_t bytes_length;
  const char *detail;                          /* BROKEN */
  uint8_t *body;
  size_t body_length;
  void *owned_bytes;                           /* malloc'd memory behind bytes, or NULL: it lies in the arena */
  bool body_owned;                             /* body was malloc'd */
};

enum {
  FL_TURN_BYTES = 2 << 20,                     /* read from all data sockets in one turn: longer would hold up everyone else's requests */
  FL_TURN_LOG_BYTES = 256 << 10                /* read from all log pipes in one turn */
};

struct fl_turn {                               /* the running turn; one event loop per process */
  struct fl_arena arena;
  size_t data_bytes, log_bytes;                /* read so far */
};
extern struct fl_turn fl_turn;

/* Takes a reference on event->channel and owns what the event owns. */
void fl_events_push(const struct fl_event *event);
/* Callbacks are the methods of `receiver`. */
int fl_events_start(napi_env env, napi_value receiver, uv_loop_t *loop, struct fl_error *err);
/* Drops everything queued; nothing is told any more. */
void fl_events_stop(void);
#endif
