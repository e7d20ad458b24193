/*
 * Values: see values.h.
 */
#include "addon/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { TEXTS_MAX = 65536 };

napi_value fl_throw_type(napi_env env, const char *name, const char *expected)
{
  char message[160];

  snprintf(message, sizeof message, "%s must be %s", name, expected);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

napi_value fl_throw(napi_env env, const struct fl_error *error)
{
  napi_value code, message, value, field;
  const char *name = uv_err_name(-error->errno_value);
  char text[256];

  snprintf(text, sizeof text, "%s: %s, %s%s%s", name, uv_strerror(-error->errno_value), error->op, error->detail[0] ? ": " : "", error->detail);
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, code, message, &value);
  napi_create_int32(env, -error->errno_value, &field);
  napi_set_named_property(env, value, "errno", field);
  napi_create_string_utf8(env, error->op, NAPI_AUTO_LENGTH, &field);
  napi_set_named_property(env, value, "syscall", field);
  napi_throw(env, value);
  return NULL;
}

napi_value fl_int(napi_env env, int value)
{
  napi_value result = NULL;

  napi_create_int32(env, value, &result);
  return result;
}

bool fl_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *ret_arguments)
{
  size_t given = count;

  if (napi_get_cb_info(env, info, &given, ret_arguments, NULL, NULL) == napi_ok && given >= count)
    return true;
  napi_throw_type_error(env, "ERR_MISSING_ARGS", "an argument is missing");
  return false;
}

bool fl_get_uint32(napi_env env, napi_value value, const char *name, uint32_t *ret)
{
  int64_t number;

  if (napi_get_value_int64(env, value, &number) == napi_ok && number >= 0 && number <= UINT32_MAX) {
    *ret = (uint32_t)number;
    return true;
  }
  fl_throw_type(env, name, "an integer of 32 bits");
  return false;
}

bool fl_get_fd(napi_env env, napi_value value, const char *name, int *ret)
{
  int64_t number;

  if (napi_get_value_int64(env, value, &number) == napi_ok && number >= 0 && number <= INT32_MAX) {
    *ret = (int)number;
    return true;
  }
  fl_throw_type(env, name, "a descriptor");
  return false;
}

bool fl_get_bytes(napi_env env, napi_value value, const char *name, const uint8_t **ret_bytes, size_t *ret_length)
{
  napi_typedarray_type type;
  void *data;

  if (napi_get_typedarray_info(env, value, &type, ret_length, &data, NULL, NULL) == napi_ok && type == napi_uint8_array) {
    *ret_bytes = data;
    return true;
  }
  fl_throw_type(env, name, "a Uint8Array");
  return false;
}

bool fl_get_text(napi_env env, napi_value value, const char *name, char **ret)
{
  size_t length;
  char *text;

  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    fl_throw_type(env, name, "a string");
    return false;
  }
  text = malloc(length + 1);
  if (!text || napi_get_value_string_utf8(env, value, text, length + 1, &length) != napi_ok || strlen(text) != length) {
    free(text);
    fl_throw_type(env, name, "a string without NUL");
    return false;
  }
  *ret = text;
  return true;
}

static bool array_length(napi_env env, napi_value value, const char *name, uint32_t *ret)
{
  bool is_array = false;

  if (napi_is_array(env, value, &is_array) == napi_ok && is_array && napi_get_array_length(env, value, ret) == napi_ok && *ret <= TEXTS_MAX)
    return true;
  fl_throw_type(env, name, "an array");
  return false;
}

void fl_free_texts(char **texts)
{
  for (char **text = texts; text && *text; text++)
    free(*text);
  free(texts);
}

bool fl_get_texts(napi_env env, napi_value value, const char *name, char ***ret)
{
  uint32_t count;
  char **texts;

  if (!array_length(env, value, name, &count))
    return false;
  texts = calloc(count + 1, sizeof *texts);
  if (!texts) {
    fl_throw_type(env, name, "smaller");
    return false;
  }
  for (uint32_t index = 0; index < count; index++) {
    napi_value element;

    if (napi_get_element(env, value, index, &element) != napi_ok || !fl_get_text(env, element, name, &texts[index])) {
      fl_free_texts(texts);
      return false;
    }
  }
  *ret = texts;
  return true;
}

bool fl_get_fds(napi_env env, napi_value value, const char *name, int **ret, size_t *ret_count)
{
  uint32_t count;
  int *fds;

  if (!array_length(env, value, name, &count))
    return false;
  fds = calloc(count + 1, sizeof *fds);
  if (!fds) {
    fl_throw_type(env, name, "smaller");
    return false;
  }
  for (uint32_t index = 0; index < count; index++) {
    napi_value element;

    if (napi_get_element(env, value, index, &element) != napi_ok || !fl_get_fd(env, element, name, &fds[index])) {
      free(fds);
      return false;
    }
  }
  *ret = fds;
  *ret_count = count;
  return true;
}
