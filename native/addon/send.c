/*
 * addon.send: a frame from JavaScript values, written without a copy where the socket takes it at once. The hot half of the data plane.
 */
#include "addon/module.h"

#include <errno.h>
#include <flashd/frame.h>
#include <stdlib.h>
#include <string.h>

#include "addon/channel.h"
#include "addon/pulse.h"
#include "addon/values.h"
#include "addon/vigil.h"

enum {
  SCRATCH_BYTES = 256 << 10,                   /* header and meta of a usual frame */
  UTF8_BYTES_MAX = 4,                          /* a text that stops this close to the end of its buffer may have been cut */
  BODY_PARTS = 32                              /* chunks sent as they are; more are joined first */
};

/* The header and the meta behind it. */
struct head {
  uint8_t *bytes, *owned;                      /* owned: malloc'd, or NULL when bytes are the scratch */
  size_t meta_length;
};

static uint8_t scratch[SCRATCH_BYTES];

static bool too_long(napi_env env, const char *what)
{
  struct fl_error error = { 0 };

  fl_fail(&error, FL_ERR_BAD_LIMIT, EMSGSIZE, "send", "%s is too long", what);
  fl_throw(env, &error);
  return false;
}

static bool head_room(napi_env env, struct head *head, size_t meta_length)
{
  if (meta_length > FL_FRAME_META_MAX)
    return too_long(env, "meta");
  head->meta_length = meta_length;
  if (FL_FRAME_HEADER_BYTES + meta_length < SCRATCH_BYTES)
    return true;
  head->owned = malloc(FL_FRAME_HEADER_BYTES + meta_length + 1);
  if (!head->owned)
    return too_long(env, "meta");
  head->bytes = head->owned;
  return true;
}

static bool head_meta(napi_env env, napi_value value, struct head *head)
{
  const size_t room = SCRATCH_BYTES - FL_FRAME_HEADER_BYTES;
  const uint8_t *bytes;
  size_t length;

  if (napi_get_value_string_utf8(env, value, (char *)scratch + FL_FRAME_HEADER_BYTES, room, &length) == napi_ok) {
    if (length < room - UTF8_BYTES_MAX) {
      head->meta_length = length;
      return true;
    }
    return napi_get_value_string_utf8(env, value, NULL, 0, &length) == napi_ok && head_room(env, head, length) &&
           napi_get_value_string_utf8(env, value, (char *)head->bytes + FL_FRAME_HEADER_BYTES, length + 1, &length) == napi_ok;
  }
  if (!fl_get_bytes(env, value, "meta", &bytes, &length) || !head_room(env, head, length))
    return false;
  if (length > 0)
    memcpy(head->bytes + FL_FRAME_HEADER_BYTES, bytes, length);
  return true;
}

static bool join(napi_env env, napi_value body, uint32_t count, size_t length, uint8_t **ret_joined)
{
  uint8_t *joined = malloc(length);
  size_t done = 0;

  if (!joined)
    return too_long(env, "body");
  for (uint32_t index = 0; index < count; index++) {
    const uint8_t *bytes;
    napi_value chunk;
    size_t size;

    /* Measured once already; a getter may have changed it since. */
    if (napi_get_element(env, body, index, &chunk) != napi_ok || !fl_get_bytes(env, chunk, "body", &bytes, &size) || size > length - done) {
      free(joined);
      return false;
    }
    if (size > 0)
      memcpy(joined + done, bytes, size);
    done += size;
  }
  *ret_joined = joined;
  return true;
}

/* Fills parts[1…]; *ret_joined is to be freed. */
static bool body_parts(napi_env env, napi_value body, struct iovec *parts, int *ret_count, size_t *ret_length, uint8_t **ret_joined)
{
  uint32_t count;

  if (napi_get_array_length(env, body, &count) != napi_ok) {
    fl_throw_type(env, "body", "an array of Uint8Array");
    return false;
  }
  for (uint32_t index = 0; index < count; index++) {
    const uint8_t *bytes;
    napi_value chunk;
    size_t size;

    if (napi_get_element(env, body, index, &chunk) != napi_ok || !fl_get_bytes(env, chunk, "body", &bytes, &size))
      return false;
    if (size > FL_FRAME_BODY_MAX - *ret_length)
      return too_long(env, "body");
    *ret_length += size;
    if (size > 0 && count <= BODY_PARTS)
      parts[(*ret_count)++] = (struct iovec){ .iov_base = (void *)bytes, .iov_len = size };
  }
  if (count > BODY_PARTS && *ret_length > 0) {
    if (!join(env, body, count, *ret_length, ret_joined))
      return false;
    parts[(*ret_count)++] = (struct iovec){ .iov_base = *ret_joined, .iov_len = *ret_length };
  }
  return true;
}

/* send(channel, type, flags, id, aux, meta, body) */
napi_value fl_js_send(napi_env env, napi_callback_info info)
{
  uint32_t index, type, flags, id, aux;
  napi_value argument[7];
  struct iovec parts[BODY_PARTS + 1];
  struct head head = { .bytes = scratch };
  struct fl_error error = { 0 };
  uint8_t *joined = NULL;
  size_t body_length = 0;
  struct fl_channel *channel;
  int count = 1;

  if (!fl_arguments(env, info, 7, argument) || !fl_get_uint32(env, argument[0], "channel", &index) ||
      !fl_get_uint32(env, argument[1], "type", &type) || !fl_get_uint32(env, argument[2], "flags", &flags) ||
      !fl_get_uint32(env, argument[3], "id", &id) || !fl_get_uint32(env, argument[4], "aux", &aux))
    return NULL;
  if (type < FL_FRAME_INIT || type > FL_FRAME_FREEZE || flags > UINT16_MAX || (type != FL_FRAME_INIT && id == 0))
    return fl_throw_type(env, "type, flags and id", "those of an INIT, a REQUEST, a PING or a FREEZE");
  if (body_parts(env, argument[6], parts, &count, &body_length, &joined) && head_meta(env, argument[5], &head)) {
    struct fl_frame frame = {
      .length = (uint32_t)(head.meta_length + body_length), .meta_length = (uint32_t)head.meta_length,
      .id = id, .type = (uint16_t)type, .flags = (uint16_t)flags, .aux = aux,
    };

    memcpy(head.bytes, &frame, sizeof frame);
    parts[0] = (struct iovec){ .iov_base = head.bytes, .iov_len = FL_FRAME_HEADER_BYTES + head.meta_length };
    channel = fl_channel_find(index);
    if (!channel || channel->broken)
      fl_fail(&error, FL_ERR_NO_INSTANCE, channel ? EPIPE : EBADF, "send", "channel %u", index);
    else if (type == FL_FRAME_INIT && channel->decoder.header_have > 0)        /* a rewound instance would go on with a frame that it has begun before */
      fl_fail(&error, FL_ERR_NO_INSTANCE, EPROTO, "send", "channel %u is within a frame", index);
    else if (fl_channel_send(channel, parts, count, type == FL_FRAME_INIT, &error) == 0 && type != FL_FRAME_INIT) {
      channel->outstanding++;
      fl_vigil_expect(type != FL_FRAME_REQUEST ? FL_VIGIL_PING : channel->answered ? FL_VIGIL_SOON : FL_VIGIL_COLD);
      if (type == FL_FRAME_REQUEST)
        fl_pulse_used(uv_hrtime());
    }
    if (error.code != FL_OK)
      fl_throw(env, &error);
  }
  free(joined);
  free(head.owned);
  return NULL;
}
