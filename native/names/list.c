/* See list.h. */
#include "names/list.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Labels of letters, digits, "-" and "_"; the last one has something else than digits, or it would be an address. */
static bool is_name(const char *text, size_t length)
{
  size_t label = 0;
  bool number = true;

  if (length == 0 || length > FL_NAMES_NAME_MAX)
    return false;
  for (size_t index = 0; index < length; index++) {
    char byte = text[index];

    if (byte == '.') {
      if (label == 0)
        return false;
      label = 0;
      number = true;
      continue;
    }
    if (!((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_') || ++label > FL_NAMES_LABEL_MAX)
      return false;
    number = number && byte >= '0' && byte <= '9';
  }
  return label > 0 && !number;
}

static bool is_zero(const void *bytes, size_t size)
{
  const uint8_t *at = bytes;

  for (size_t index = 0; index < size; index++)
    if (at[index])
      return false;
  return true;
}

/* True when there was room. */
static bool add_port(uint16_t *ports, uint32_t *count, uint16_t port)
{
  for (uint32_t index = 0; index < *count; index++)
    if (ports[index] == port)
      return true;
  if (*count == FL_NAMES_PORTS_MAX)
    return false;
  ports[(*count)++] = port;
  return true;
}

int fl_names_check(const struct fl_names *names, struct fl_error *err)
{
  uint16_t ports[FL_NAMES_PORTS_MAX];
  uint32_t at = 0, count = 0;
  bool right = names->count > 0 && names->count <= FL_NAMES_MAX && names->text_bytes <= FL_NAMES_TEXT_BYTES;

  for (uint32_t index = 0; right && index < names->count; index++) {
    const struct fl_name *name = &names->name[index];

    right = name->port != 0 && name->wildcard <= 1 && name->length <= names->text_bytes - at && is_name(names->text + at, name->length) && add_port(ports, &count, name->port);
    at += name->length;
  }
  if (right)
    right = at == names->text_bytes && is_zero(&names->name[names->count], (FL_NAMES_MAX - names->count) * sizeof names->name[0]) && is_zero(names->text + at, FL_NAMES_TEXT_BYTES - at);
  return right ? 0 : fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "%u names of %u bytes", names->count, names->text_bytes);
}

static bool is_entry(const struct fl_name *name, const char *listed, const char *text, size_t length)
{
  if (!name->wildcard)
    return length == name->length && memcmp(text, listed, length) == 0;
  return length > name->length + 1u && text[length - name->length - 1] == '.' && memcmp(text + length - name->length, listed, name->length) == 0;
}

uint32_t fl_names_match(const struct fl_names *names, const char *text, size_t length)
{
  uint32_t entries = 0, at = 0;

  for (uint32_t index = 0; index < names->count; at += names->name[index++].length)
    if (is_entry(&names->name[index], names->text + at, text, length))
      entries |= 1u << index;
  return entries;
}

uint32_t fl_names_ports(const struct fl_names *names, uint32_t entries, uint16_t ret_port[FL_NAMES_PORTS_MAX])
{
  uint32_t count = 0;

  for (uint32_t index = 0; index < names->count; index++)
    if (entries & 1u << index)
      add_port(ret_port, &count, names->name[index].port);
  return count;
}
