/*
 * Inside the native host: what host.c (frames and handler.so), interface.c (flashd.h) and executable.c (any other program) share.
 * Everything here is hidden: a name of the host must never take the place of one of the function's.
 */
#ifndef FLASHD_HOST_H
#define FLASHD_HOST_H
#include <flashd/frame.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flashd.h"

#pragma GCC visibility push(hidden)

struct buffer { char *data; size_t length, capacity; };
/* Makes room for length more bytes; false when memory or the limit is exhausted. A buffer is kept between requests. */
bool buffer_reserve(struct buffer *buffer, size_t length, size_t limit);
bool buffer_append(struct buffer *buffer, const void *bytes, size_t length, size_t limit);

struct flashd_request {
  const char *method, *path, *query, *client, *id, *headers, *headers_end;   /* headers: name\0value\0 … */
  const char *body;
  size_t body_length;
  int64_t deadline_us;
};

struct flashd_response {
  int status;
  bool typed;                                  /* a content-type is among the headers */
  bool broken;                                 /* a call was refused: what and why stands in error */
  struct buffer headers, body;
  char error[512];
};

struct config { char *function, *version, *handler, *symbol, *memory_bytes; };
extern struct config host_config;

int64_t now_us(void);
void response_reset(struct flashd_response *response);
int response_refuse(struct flashd_response *response, const char *why);

/* Runs path for one request, fills response. 0, or the fault with response->error and, in tail, the end of what it wrote to stderr. */
enum { TAIL_BYTES = 2048 };
int executable_run(const char *path, const struct flashd_request *request, struct flashd_response *response, char tail[TAIL_BYTES + 1]);

#pragma GCC visibility pop
#endif
