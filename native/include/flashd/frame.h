/*
 * Data frames: the stream between the gateway and one instance.
 *
 *   gateway                                   instance (descriptor 3)
 *      │ INIT   meta: key=value\0 …                │   once, first
 *      │ REQUEST id, meta: event, body: raw bytes  │
 *      │──────────────────────────────────────────▶│
 *      │◀──────────────────────────────────────────│
 *      │ STARTED meta: struct fl_started           │   first, before the runtime itself goes on; not from an instance that nobody forked
 *      │ RESPONSE id, aux: status, meta: headers, body
 *      │ or ERROR id, aux: enum fl_fault, meta: type\0message\0stack
 *
 * PING is a REQUEST that is answered by a RESPONSE (whatever is in it) without the handler being called: it goes through the very code that a request goes through, so that
 * an instance that stands by has its pages. FREEZE is a PING too, the last one before the instance is frozen: the function's hooks run first, and a failure of theirs is answered
 * by an ERROR. Its forks get an INIT of their own, in which the hooks for that run.
 *
 * INIT and the first REQUEST are usually written together, before the instance exists. A load failure is an ERROR with the id
 * of the first request (or 0 when there is none yet). An instance answers the ids it was given, once each, in any order.
 * All integers are little-endian. Everything an instance sends is hostile: lengths are capped before anything is allocated.
 *
 * A language's bootstrap also speaks this protocol while its template boots: it writes one READY frame when it is warm and then waits in
 * poll() on descriptor 3 for INIT. The fork wakes up in that very poll().
 */
#ifndef FLASHD_FRAME_H
#define FLASHD_FRAME_H
#include <stdint.h>

enum {
  FL_DATA_FD = 3,                              /* the instance's end of the data socket */
  FL_FRAME_HEADER_BYTES = 32,
  FL_FRAME_META_MAX = 1 << 20,                 /* bytes of meta, either direction */
  FL_FRAME_BODY_MAX = 64 << 20                 /* hard ceiling for a body; the configured limit is lower */
};

enum fl_frame_type {
  FL_FRAME_INIT = 1,                           /* gateway → instance */
  FL_FRAME_REQUEST = 2,
  FL_FRAME_PING = 3,
  FL_FRAME_FREEZE = 4,
  FL_FRAME_READY = 129,                        /* instance → gateway (in a template: → sandboxd) */
  FL_FRAME_RESPONSE = 130,
  FL_FRAME_ERROR = 131,
  FL_FRAME_STARTED = 132                       /* once, before any other; flashd/started.h */
};

enum fl_frame_flags {
  FL_REQUEST_BODY_BINARY = 1                   /* REQUEST: event.body is to be base64 (isBase64Encoded = true) */
};

/* ERROR.aux: what went wrong in the user's code. Mirrored by src/errors. */
enum fl_fault {
  FL_FAULT_NO_HANDLER = 1,                     /* the file or the symbol does not exist */
  FL_FAULT_LOAD = 2,                           /* the code does not compile or throws while it is loaded */
  FL_FAULT_CALL = 3,                           /* the handler threw */
  FL_FAULT_RESPONSE = 4,                       /* what it returned cannot be sent */
  FL_FAULT_EXIT = 5                            /* an executable exited with a non-zero status, or the handler called exit() */
};

struct fl_frame {
  uint32_t length;                             /* bytes that follow the header: meta, then body */
  uint32_t meta_length;                        /* <= length, <= FL_FRAME_META_MAX */
  uint32_t id;                                 /* invocation, non-zero, unique within the instance; 0 for INIT, READY and STARTED */
  uint16_t type;                               /* enum fl_frame_type */
  uint16_t flags;
  uint32_t aux;                                /* REQUEST: milliseconds left. RESPONSE: HTTP status. ERROR: enum fl_fault. else 0 */
  uint32_t load_us;                            /* RESPONSE, ERROR: time spent loading user code; 0 except in the first */
  uint32_t handler_us;                         /* RESPONSE, ERROR: time spent in the handler */
  uint32_t reserved;                           /* 0 */
};

/*
 * meta, by type. Strings are UTF-8 without NUL; every string is followed by a NUL.
 *   INIT      "key=value" strings: function, version, handler (file name in /function), symbol (entry point inside it), memory_bytes,
 *             timeout_ms, concurrency; "env.NAME=value" for each environment variable.
 *   REQUEST, PING, FREEZE
 *             as the runtime's runtime.json says in "event":
 *             "json"  one JSON text (no NUL at the end): the Lambda function-URL event 2.0 without body and isBase64Encoded; the
 *                     bootstrap adds them from the frame's body and FL_REQUEST_BODY_BINARY.
 *             "http"  method, raw path, raw query, client address, request id, then header name, header value, …
 *   RESPONSE  header name, header value, … ; a repeated name is sent as a repeated header (set-cookie). No status line, no content-length.
 *   ERROR     type, message, stack trace (user's frames, newline-separated; may be empty).
 */
#endif
