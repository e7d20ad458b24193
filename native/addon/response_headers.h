/*
 * Judges the meta of a RESPONSE before any of it may reach a client. Pure. What passes can neither split a response (CR, LF, NUL, control
 * characters) nor touch its framing (content-length, transfer-encoding, connection and its kin are dropped: they are the gateway's own).
 */
#ifndef FLASHD_RESPONSE_HEADERS_H
#define FLASHD_RESPONSE_HEADERS_H
#include <stddef.h>
#include <stdint.h>

enum {
  FL_HEADERS_MAX = 128,                        /* headers of one response */
  FL_HEADERS_BYTES_MAX = 64 << 10              /* their names and values, NULs included */
};

/* Compacts "name\0value\0…" in place. 0 and *ret_length; -EPROTO: not of that shape; -EINVAL: a header that may not be sent.
 * *ret_why: a sentence for the function's author. */
int fl_response_headers_clean(uint8_t *meta, size_t length, size_t *ret_length, const char **ret_why);
#endif
