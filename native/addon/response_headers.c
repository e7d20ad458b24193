/*
 * Response headers: see response_headers.h.
 */
#include "addon/response_headers.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 section 5.6.2: a token's characters. */
static const bool token_character[256] = {
  ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,
  ['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

/* Section 5.5: visible characters, space, tab and obs-text. */
static const bool value_character[256] = { ['\t'] = true, [' ' ... '~'] = true, [0x80 ... 0xff] = true };

/* Belong to the connection, not to the response (section 7.6.1), or are computed by the gateway. */
static const struct { uint8_t length; const char *name; } dropped[] = {
  { 14, "content-length" }, { 17, "transfer-encoding" }, { 10, "connection" }, { 10, "keep-alive" },
  { 16, "proxy-connection" }, { 2, "te" }, { 7, "trailer" }, { 7, "upgrade" },
};

static bool all_of(const bool allowed[256], const uint8_t *text, size_t length)
{
  bool good = true;

  for (size_t index = 0; index < length; index++)
    good &= allowed[text[index]];
  return good;
}

static bool is_dropped(const uint8_t *name, size_t length)
{
  for (size_t index = 0; index < sizeof dropped / sizeof dropped[0]; index++)
    if (dropped[index].length == length && strncasecmp((const char *)name, dropped[index].name, length) == 0)
      return true;
  return false;
}

int fl_response_headers_clean(uint8_t *meta, size_t length, size_t *ret_length, const char **ret_why)
{
  size_t kept = 0, count = 0;

  *ret_length = 0;
  if (length > FL_HEADERS_BYTES_MAX) {
    *ret_why = "the response's headers are longer than 64 KiB";
    return -EINVAL;
  }
  for (size_t at = 0; at < length;) {
    const uint8_t *name = meta + at, *name_end = memchr(name, 0, length - at);
    const uint8_t *value = name_end ? name_end + 1 : NULL;
    const uint8_t *value_end = value ? memchr(value, 0, length - (size_t)(value - meta)) : NULL;
    size_t size;

    if (!value_end) {
      *ret_why = "headers";
      return -EPROTO;
    }
    size = (size_t)(value_end + 1 - name);
    at += size;
    if (++count > FL_HEADERS_MAX) {
      *ret_why = "the response has more than 128 headers";
      return -EINVAL;
    }
    if (name == name_end || !all_of(token_character, name, (size_t)(name_end - name))) {
      *ret_why = "a header's name in the response is not a token of RFC 9110";
      return -EINVAL;
    }
    if (!all_of(value_character, value, (size_t)(value_end - value))) {
      *ret_why = "a header's value in the response holds a control character";
      return -EINVAL;
    }
    if (is_dropped(name, (size_t)(name_end - name)))
      continue;
    if (name != meta + kept)
      memmove(meta + kept, name, size);
    kept += size;
  }
  *ret_length = kept;
  return 0;
}
