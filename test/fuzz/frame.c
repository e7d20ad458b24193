/*
 * The frame decoder and the judge of response headers, as the gateway uses them. One stream of bytes is decoded three ways: in one piece, in
 * pieces whose sizes come from the input, and read straight into the wanted areas; all must agree. The first byte of the input seeds the sizes.
 */
#include <flashd/started.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "addon/frame_decoder.h"
#include "addon/response_headers.h"

enum { BODY_MAX = 1 << 16 };

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome { uint64_t hash; size_t replies; int result; const char *why; };

static void mix(struct outcome *outcome, const void *bytes, size_t length)
{
  for (size_t index = 0; index < length; index++)
    outcome->hash = (outcome->hash ^ ((const uint8_t *)bytes)[index]) * 0x100000001b3ull;
}

static void judge_headers(struct fl_reply *reply)
{
  const char *why = NULL;
  size_t length, strings = 0;
  int result = fl_response_headers_clean(reply->meta, reply->frame.meta_length, &length, &why);

  CHECK(length <= reply->frame.meta_length);
  if (result < 0) {
    CHECK(why);
    return;
  }
  CHECK(length == 0 || reply->meta[length - 1] == 0);
  for (size_t index = 0; index < length; index++) {
    CHECK(reply->meta[index] != '\r' && reply->meta[index] != '\n' && reply->meta[index] != 0x7f);
    strings += reply->meta[index] == 0;
  }
  CHECK(strings % 2 == 0 && strings <= 2 * FL_HEADERS_MAX);
}

static void take(struct outcome *outcome, struct fl_reply *reply)
{
  CHECK(reply->frame.type == FL_FRAME_RESPONSE || reply->frame.type == FL_FRAME_ERROR || reply->frame.type == FL_FRAME_STARTED);
  CHECK(reply->frame.type != FL_FRAME_STARTED || reply->frame.length == sizeof(struct fl_started));
  CHECK(reply->frame.meta_length + reply->body_length == reply->frame.length && reply->body_length <= BODY_MAX);
  outcome->replies++;
  mix(outcome, &reply->frame, sizeof reply->frame);
  mix(outcome, reply->meta, reply->frame.meta_length);
  mix(outcome, reply->body, reply->body_length);
  if (reply->frame.type == FL_FRAME_RESPONSE)
    judge_headers(reply);
  if (reply->owned) {
    free(reply->meta);
    free(reply->body);
  }
}

/* False when the stream cannot be understood any more. */
static bool feed(struct fl_decoder *decoder, struct outcome *outcome, uint8_t *bytes, size_t length)
{
  for (size_t at = 0, used; at < length; at += used) {
    struct fl_reply reply;

    outcome->result = fl_decoder_feed(decoder, bytes + at, length - at, &used, &reply, &outcome->why);
    CHECK(used <= length - at && (used > 0 || outcome->result != 0));
    if (outcome->result < 0)
      return false;
    if (outcome->result > 0)
      take(outcome, &reply);
  }
  return true;
}

/* What the socket's reader does: the rest of a begun frame goes where it belongs, anything else is fed. */
static bool read_into(struct fl_decoder *decoder, struct outcome *outcome, uint8_t *bytes, size_t length)
{
  struct iovec areas[FL_DECODER_AREAS];
  int count = fl_decoder_want(decoder, length, areas);
  struct fl_reply reply;
  size_t direct = 0;

  for (int index = 0; index < count; index++) {
    memcpy(areas[index].iov_base, bytes + direct, areas[index].iov_len);
    direct += areas[index].iov_len;
  }
  CHECK(direct <= length && direct <= fl_decoder_missing(decoder));
  if (direct > 0 && fl_decoder_advance(decoder, direct, &reply) > 0)
    take(outcome, &reply);
  return feed(decoder, outcome, bytes + direct, length - direct);
}

typedef bool step_function(struct fl_decoder *decoder, struct outcome *outcome, uint8_t *bytes, size_t length);

static struct outcome decode(const uint8_t *data, size_t size, uint32_t seed, step_function *step)
{
  struct outcome outcome = { .hash = 0xcbf29ce484222325ull };
  struct fl_decoder decoder;
  bool sound = true;

  fl_decoder_init(&decoder, BODY_MAX);
  for (size_t at = 0, piece; at < size && sound; at += piece) {
    uint8_t *copy;

    seed = seed * 1664525 + 1013904223;
    piece = 1 + (seed >> 16) % (seed & 0x8000 ? 40 : 5000);
    if (piece > size - at)
      piece = size - at;
    copy = malloc(piece);
    CHECK(copy);
    memcpy(copy, data + at, piece);
    sound = step(&decoder, &outcome, copy, piece);
    free(copy);
  }
  fl_decoder_reset(&decoder);
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct outcome whole = { .hash = 0xcbf29ce484222325ull }, pieces, areas;
  struct fl_decoder decoder;
  uint8_t *copy;

  if (size < 1)
    return 0;
  copy = malloc(size);
  CHECK(copy);
  memcpy(copy, data + 1, size - 1);
  fl_decoder_init(&decoder, BODY_MAX);
  feed(&decoder, &whole, copy, size - 1);
  fl_decoder_reset(&decoder);
  free(copy);
  pieces = decode(data + 1, size - 1, data[0], feed);
  areas = decode(data + 1, size - 1, data[0], read_into);
  CHECK(whole.hash == pieces.hash && whole.hash == areas.hash);
  CHECK(whole.replies == pieces.replies && whole.replies == areas.replies);
  CHECK((whole.result < 0) == (pieces.result < 0) && (whole.result < 0) == (areas.result < 0));
  CHECK(whole.result >= 0 || (strcmp(whole.why, pieces.why) == 0 && strcmp(whole.why, areas.why) == 0));
  return 0;
}
