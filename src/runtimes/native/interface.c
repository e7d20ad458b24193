/* The functions of flashd.h: a view on the request's frame, and a response that grows in two kept buffers. */
#include "host.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

bool buffer_reserve(struct buffer *buffer, size_t length, size_t limit) {
  if (length > limit || buffer->length > limit - length) return false;
  size_t needed = buffer->length + length;
  if (needed <= buffer->capacity) return true;
  size_t capacity = buffer->capacity ? buffer->capacity : 4096;
  while (capacity < needed) capacity *= 2;
  char *data = realloc(buffer->data, capacity);
  if (!data) return false;
  buffer->data = data;
  buffer->capacity = capacity;
  return true;
}

bool buffer_append(struct buffer *buffer, const void *bytes, size_t length, size_t limit) {
  if (!buffer_reserve(buffer, length, limit)) return false;
  if (length) memcpy(buffer->data + buffer->length, bytes, length);
  buffer->length += length;
  return true;
}

int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void response_reset(struct flashd_response *response) {
  response->status = 200;
  response->typed = response->broken = false;
  response->headers.length = response->body.length = 0;
  response->error[0] = '\0';
}

int response_refuse(struct flashd_response *response, const char *why) {
  if (!response->broken) snprintf(response->error, sizeof response->error, "%s", why);
  response->broken = true;
  return -1;
}

const char *flashd_method(const flashd_request *request) { return request->method; }
const char *flashd_path(const flashd_request *request) { return request->path; }
const char *flashd_query(const flashd_request *request) { return request->query; }
const char *flashd_client(const flashd_request *request) { return request->client; }
const char *flashd_request_id(const flashd_request *request) { return request->id; }
const char *flashd_function(void) { return host_config.function; }
const char *flashd_version(void) { return host_config.version; }
int64_t flashd_memory_mb(void) { return host_config.memory_bytes ? strtoll(host_config.memory_bytes, NULL, 10) >> 20 : 0; }

const char *flashd_body(const flashd_request *request, size_t *ret_length) {
  *ret_length = request->body_length;
  return request->body;
}

int64_t flashd_remaining_ms(const flashd_request *request) {
  int64_t left = (request->deadline_us - now_us()) / 1000;
  return left > 0 ? left : 0;
}

int flashd_header_at(const flashd_request *request, size_t index, const char **ret_name, const char **ret_value) {
  const char *at = request->headers;
  for (; at < request->headers_end; index--) {
    const char *value = at + strlen(at) + 1;
    if (!index) {
      *ret_name = at;
      *ret_value = value;
      return 1;
    }
    at = value + strlen(value) + 1;
  }
  return 0;
}

const char *flashd_header(const flashd_request *request, const char *name) {
  const char *at = request->headers;
  while (at < request->headers_end) {
    const char *value = at + strlen(at) + 1;
    if (!strcasecmp(at, name)) return value;
    at = value + strlen(value) + 1;
  }
  return NULL;
}

int flashd_status(flashd_response *response, int status) {
  if (status < 200 || status > 599) return response_refuse(response, "the status is not between 200 and 599");
  response->status = status;
  return 0;
}

int flashd_add_header(flashd_response *response, const char *name, const char *value) {
  static const char token[] = "!#$%&'*+-.^_`|~";
  if (!*name) return response_refuse(response, "a header has an empty name");
  for (const char *at = name; *at; at++)
    if (!isalnum((unsigned char)*at) && !strchr(token, *at)) return response_refuse(response, "a header's name has characters that HTTP does not allow");
  for (const char *at = value; *at; at++)
    if (((unsigned char)*at < 32 && *at != '\t') || *at == 127) return response_refuse(response, "a header's value has characters that HTTP does not allow");
  if (!buffer_append(&response->headers, name, strlen(name) + 1, FL_FRAME_META_MAX) ||
      !buffer_append(&response->headers, value, strlen(value) + 1, FL_FRAME_META_MAX))
    return response_refuse(response, "the response's headers are too large");
  if (!strcasecmp(name, "content-type")) response->typed = true;
  return 0;
}

int flashd_write(flashd_response *response, const void *bytes, size_t length) {
  return buffer_append(&response->body, bytes, length, FL_FRAME_BODY_MAX) ? 0 : response_refuse(response, "the response is too large");
}

int flashd_printf(flashd_response *response, const char *format, ...) {
  struct buffer *body = &response->body;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(body->data ? body->data + body->length : NULL, body->capacity - body->length, format, arguments);
  va_end(arguments);
  if (length < 0) return response_refuse(response, "flashd_printf: bad format");
  if ((size_t)length >= body->capacity - body->length) {
    if (!buffer_reserve(body, (size_t)length + 1, FL_FRAME_BODY_MAX + 1)) return response_refuse(response, "the response is too large");
    va_start(arguments, format);
    vsnprintf(body->data + body->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
  }
  body->length += (size_t)length;
  return 0;
}

int flashd_fail(flashd_response *response, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(response->error, sizeof response->error, format, arguments);
  va_end(arguments);
  return -1;
}
