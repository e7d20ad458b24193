/*
 * Between JavaScript values and C: arguments are judged here, and every failure becomes one thrown Error (code, errno, syscall) or TypeError.
 */
#ifndef FLASHD_VALUES_H
#define FLASHD_VALUES_H
#include <flashd/error.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when exactly `count` arguments or more were given; else a TypeError is thrown. */
bool fl_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *ret_arguments);

/* Each throws a TypeError naming the argument and returns false. Memory belongs to the JavaScript value. */
bool fl_get_uint32(napi_env env, napi_value value, const char *name, uint32_t *ret);
bool fl_get_fd(napi_env env, napi_value value, const char *name, int *ret);
bool fl_get_bytes(napi_env env, napi_value value, const char *name, const uint8_t **ret_bytes, size_t *ret_length);
/* Malloc'd, ending with NUL; refuses texts with a NUL inside. */
bool fl_get_text(napi_env env, napi_value value, const char *name, char **ret);
/* Malloc'd, ending with NULL, each text malloc'd. */
bool fl_get_texts(napi_env env, napi_value value, const char *name, char ***ret);
void fl_free_texts(char **texts);
bool fl_get_fds(napi_env env, napi_value value, const char *name, int **ret, size_t *ret_count);

/* NULL, so that a function may return it. */
napi_value fl_throw(napi_env env, const struct fl_error *error);
napi_value fl_throw_type(napi_env env, const char *name, const char *expected);
napi_value fl_int(napi_env env, int value);
#endif
