/*
 * The frame decoder: see frame_decoder.h.
 */
#include "addon/frame_decoder.h"

#include <errno.h>
#include <flashd/started.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct fl_frame) == FL_FRAME_HEADER_BYTES, "struct fl_frame is the header on the wire");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the header is little-endian and copied as it is");

void fl_decoder_init(struct fl_decoder *decoder, size_t body_max)
{
  memset(decoder, 0, sizeof *decoder);
  decoder->body_max = body_max < FL_FRAME_BODY_MAX ? body_max : FL_FRAME_BODY_MAX;
}

void fl_decoder_reset(struct fl_decoder *decoder)
{
  free(decoder->meta);
  free(decoder->body);
  decoder->meta = decoder->body = NULL;
  decoder->header_have = decoder->have = 0;
}

static const char *header_fault(const struct fl_decoder *decoder, const struct fl_frame *frame)
{
  if (frame->type != FL_FRAME_RESPONSE && frame->type != FL_FRAME_ERROR && frame->type != FL_FRAME_STARTED)
    return "type";
  if (frame->reserved != 0)
    return "reserved";
  if (frame->meta_length > frame->length || frame->meta_length > FL_FRAME_META_MAX)
    return "meta-length";
  if (frame->length - frame->meta_length > decoder->body_max)
    return "too-large";
  if (frame->type == FL_FRAME_STARTED) {
    if (frame->length != sizeof(struct fl_started) || frame->meta_length != frame->length || frame->id != 0)
      return "started";
  } else if (frame->type == FL_FRAME_ERROR) {
    if (frame->length != frame->meta_length)
      return "error-with-body";
    if (frame->aux < FL_FAULT_NO_HANDLER || frame->aux > FL_FAULT_EXIT)
      return "fault";
  } else if (frame->id == 0) {
    return "id";
  }
  return NULL;
}

static void hand_over(struct fl_decoder *decoder, struct fl_reply *ret_reply)
{
  ret_reply->frame = decoder->frame;
  ret_reply->meta = decoder->meta;
  ret_reply->body = decoder->body;
  ret_reply->body_length = decoder->frame.length - decoder->frame.meta_length;
  ret_reply->owned = true;
  decoder->meta = decoder->body = NULL;
  decoder->header_have = decoder->have = 0;
}

/* The header is complete and judged, the frame is cut: memory for it. */
static int begin(struct fl_decoder *decoder)
{
  size_t body_length = decoder->frame.length - decoder->frame.meta_length;

  decoder->have = 0;
  decoder->meta = decoder->frame.meta_length > 0 ? malloc(decoder->frame.meta_length) : NULL;
  decoder->body = body_length > 0 ? malloc(body_length) : NULL;
  if ((decoder->frame.meta_length > 0 && !decoder->meta) || (body_length > 0 && !decoder->body)) {
    fl_decoder_reset(decoder);
    return -ENOMEM;
  }
  return 0;
}

size_t fl_decoder_missing(const struct fl_decoder *decoder)
{
  return decoder->header_have == FL_FRAME_HEADER_BYTES ? decoder->frame.length - decoder->have : 0;
}

int fl_decoder_want(const struct fl_decoder *decoder, size_t most, struct iovec ret_areas[FL_DECODER_AREAS])
{
  size_t meta_length = decoder->frame.meta_length, missing = fl_decoder_missing(decoder);
  int count = 0;

  if (missing > most)
    missing = most;
  if (missing > 0 && decoder->have < meta_length) {
    size_t size = meta_length - decoder->have < missing ? meta_length - decoder->have : missing;

    ret_areas[count++] = (struct iovec){ .iov_base = decoder->meta + decoder->have, .iov_len = size };
    missing -= size;
  }
  if (missing > 0) {
    size_t done = decoder->have > meta_length ? decoder->have - meta_length : 0;

    ret_areas[count++] = (struct iovec){ .iov_base = decoder->body + done, .iov_len = missing };
  }
  return count;
}

int fl_decoder_advance(struct fl_decoder *decoder, size_t length, struct fl_reply *ret_reply)
{
  decoder->have += length;
  if (decoder->have < decoder->frame.length)
    return 0;
  hand_over(decoder, ret_reply);
  return 1;
}

/* Copies into a begun frame. */
static int fill(struct fl_decoder *decoder, const uint8_t *bytes, size_t length, size_t *ret_used, struct fl_reply *ret_reply)
{
  struct iovec areas[FL_DECODER_AREAS];
  int count = fl_decoder_want(decoder, length, areas);
  size_t used = 0;

  for (int index = 0; index < count; index++) {
    memcpy(areas[index].iov_base, bytes + used, areas[index].iov_len);
    used += areas[index].iov_len;
  }
  *ret_used += used;
  return fl_decoder_advance(decoder, used, ret_reply);
}

int fl_decoder_feed(struct fl_decoder *decoder, uint8_t *bytes, size_t length, size_t *ret_used, struct fl_reply *ret_reply,
                    const char **ret_why)
{
  size_t part = FL_FRAME_HEADER_BYTES - decoder->header_have;
  bool whole_header_here = decoder->header_have == 0;

  *ret_used = 0;
  if (part > 0) {
    if (part > length)
      part = length;
    if (part > 0)
      memcpy((uint8_t *)&decoder->frame + decoder->header_have, bytes, part);
    decoder->header_have += part;
    *ret_used = part;
    if (decoder->header_have < FL_FRAME_HEADER_BYTES)
      return 0;
    *ret_why = header_fault(decoder, &decoder->frame);
    if (*ret_why) {
      decoder->header_have = 0;
      return -EPROTO;
    }
    if (whole_header_here && decoder->frame.length <= length - part) {
      ret_reply->frame = decoder->frame;
      ret_reply->meta = bytes + part;
      ret_reply->body_length = decoder->frame.length - decoder->frame.meta_length;
      ret_reply->body = ret_reply->body_length > 0 ? bytes + part + decoder->frame.meta_length : NULL;
      ret_reply->owned = false;
      decoder->header_have = 0;
      *ret_used += decoder->frame.length;
      return 1;
    }
    if (begin(decoder) < 0) {
      *ret_why = "memory";
      return -ENOMEM;
    }
  }
  return fill(decoder, bytes + *ret_used, length - *ret_used, ret_used, ret_reply);
}
