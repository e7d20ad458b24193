/*
 * flashd's C interface: what a handler.so includes. No library to link: the host that loads the file provides these functions.
 *
 *   #include <flashd.h>
 *   int flashd_handle(const flashd_request *request, flashd_response *response) {
 *     return flashd_printf(response, "Hello from %s\n", flashd_path(request));
 *   }
 *   cc -shared -fPIC -O2 -I INCLUDE -o handler.so handler.c
 *
 * Strings belong to the host and live until flashd_handle returns. One call at a time; stdout and stderr go to the function's log.
 */
#ifndef FLASHD_H
#define FLASHD_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLASHD_EXPORT __attribute__((visibility("default")))

typedef struct flashd_request flashd_request;
typedef struct flashd_response flashd_response;

/* The function's own: called per request. 0 sends the response; anything else is an error of the function (502). */
FLASHD_EXPORT int flashd_handle(const flashd_request *request, flashd_response *response);
/* Optional, the function's own: called once after loading; anything but 0 fails the load. */
FLASHD_EXPORT int flashd_init(void);
/* Optional, the function's own: before it is frozen into a function template, and in each of its forks. Anything but 0 is an error. */
FLASHD_EXPORT int flashd_before_snapshot(void);
FLASHD_EXPORT int flashd_after_restore(void);

FLASHD_EXPORT const char *flashd_method(const flashd_request *request);
FLASHD_EXPORT const char *flashd_path(const flashd_request *request);          /* as sent, percent-encoded */
FLASHD_EXPORT const char *flashd_query(const flashd_request *request);         /* as sent, without "?"; may be empty */
FLASHD_EXPORT const char *flashd_client(const flashd_request *request);        /* the client's address */
FLASHD_EXPORT const char *flashd_request_id(const flashd_request *request);
FLASHD_EXPORT const char *flashd_header(const flashd_request *request, const char *name); /* any case; NULL when absent */
/* 1 and the index-th header, or 0 past the last. */
FLASHD_EXPORT int flashd_header_at(const flashd_request *request, size_t index, const char **ret_name, const char **ret_value);
FLASHD_EXPORT const char *flashd_body(const flashd_request *request, size_t *ret_length); /* a NUL follows the last byte */
FLASHD_EXPORT int64_t flashd_remaining_ms(const flashd_request *request);      /* until the deadline, 0 when it has passed */
FLASHD_EXPORT const char *flashd_function(void);
FLASHD_EXPORT const char *flashd_version(void);
FLASHD_EXPORT int64_t flashd_memory_mb(void);                                  /* the limit of this instance */

/* All return 0, or -1 when the value is not allowed or the response has grown too large; the request then fails even if this is ignored. */
FLASHD_EXPORT int flashd_status(flashd_response *response, int status);        /* 200 unless set */
FLASHD_EXPORT int flashd_add_header(flashd_response *response, const char *name, const char *value); /* text/plain unless content-type is added */
FLASHD_EXPORT int flashd_write(flashd_response *response, const void *bytes, size_t length); /* appends to the body */
FLASHD_EXPORT int flashd_printf(flashd_response *response, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sets the message of the error and returns -1: return flashd_fail(response, "…"); */
FLASHD_EXPORT int flashd_fail(flashd_response *response, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
