/*
 * A channel's data socket: frames out (tried at once, the rest queued) and in (read in bulk, judged, queued as events). See channel.h. Buffers
 * keep the kernel's default size: larger ones made 8 MB bodies no faster.
 */
#include "addon/channel.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "addon/events.h"
#include "addon/response_headers.h"
#include "addon/vigil.h"

enum {
  READ_BYTES = 64 << 10,                       /* one read of small frames */
  FLUSH_PARTS = 16,                            /* queued chunks sent with one system call */
  SEND_PARTS = FLUSH_PARTS + 64
};

struct fl_chunk {
  struct fl_chunk *next;
  size_t begin, end;                           /* of what is not sent yet */
  uint8_t bytes[];
};

/* --- out --- */

static void drop_chunks(struct fl_channel *channel)
{
  for (struct fl_chunk *chunk = channel->chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  channel->chunks = NULL;
  channel->chunks_end = &channel->chunks;
  channel->queued_bytes = 0;
}

/* Copies the parts without their first `skip` bytes. */
static int queue_parts(struct fl_channel *channel, const struct iovec *parts, int count, size_t skip, struct fl_error *err)
{
  struct fl_chunk *chunk;
  size_t size = 0;

  for (int index = 0; index < count; index++)
    size += parts[index].iov_len;
  size -= skip;
  if (size > FL_CHANNEL_QUEUE_MAX - channel->queued_bytes)
    return fl_fail(err, FL_ERR_FULL, ENOBUFS, "send", "%zu bytes wait for the instance already", channel->queued_bytes);
  chunk = malloc(sizeof *chunk + size);
  if (!chunk)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "send", NULL);
  chunk->next = NULL;
  chunk->begin = chunk->end = 0;
  for (int index = 0; index < count; index++) {
    size_t length = parts[index].iov_len;

    if (skip >= length) {
      skip -= length;
      continue;
    }
    memcpy(chunk->bytes + chunk->end, (const uint8_t *)parts[index].iov_base + skip, length - skip);
    chunk->end += length - skip;
    skip = 0;
  }
  *channel->chunks_end = chunk;
  channel->chunks_end = &chunk->next;
  channel->queued_bytes += size;
  return 0;
}

static void chunks_sent(struct fl_channel *channel, size_t sent)
{
  channel->queued_bytes -= sent;
  for (struct fl_chunk *chunk = channel->chunks; chunk; chunk = channel->chunks) {
    size_t size = chunk->end - chunk->begin;

    if (sent < size) {
      chunk->begin += sent;
      return;
    }
    sent -= size;
    channel->chunks = chunk->next;
    free(chunk);
  }
  channel->chunks_end = &channel->chunks;
}

/* What is queued, as far as it fits. */
static int gather(const struct fl_channel *channel, struct iovec *parts, size_t *ret_bytes)
{
  int count = 0;

  *ret_bytes = 0;
  for (struct fl_chunk *chunk = channel->chunks; chunk && count < FLUSH_PARTS; chunk = chunk->next) {
    parts[count++] = (struct iovec){ .iov_base = chunk->bytes + chunk->begin, .iov_len = chunk->end - chunk->begin };
    *ret_bytes += chunk->end - chunk->begin;
  }
  return count;
}

/* Bytes taken by the kernel; 0 as well when it is full. -EPIPE: nothing will be read any more. */
static ssize_t write_parts(struct fl_channel *channel, struct iovec *parts, int count)
{
  struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)count };
  ssize_t sent;

  do
    sent = sendmsg(channel->data.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0)
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : -EPIPE;
  return sent;
}

/* A reply may still lie in the socket, so the reading side goes on and tells the end when it gets there. */
static void end_writing(struct fl_channel *channel)
{
  channel->write_ended = true;
  drop_chunks(channel);
}

static void on_data(uv_poll_t *handle, int status, int events);

static void listen_again(struct fl_channel *channel)
{
  uv_poll_start(&channel->data.poll, channel->blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_data);
}

int fl_channel_send(struct fl_channel *channel, const struct iovec *parts, int count, bool hold, struct fl_error *err)
{
  struct iovec all[SEND_PARTS];
  size_t before;
  ssize_t sent;
  int first, result;

  if (channel->write_ended)
    return 0;
  if (hold || channel->blocked)
    return queue_parts(channel, parts, count, 0, err);
  first = gather(channel, all, &before);
  if (before != channel->queued_bytes || count > SEND_PARTS - first)
    return fl_fail(err, FL_ERR_FULL, ENOBUFS, "send", "too many parts");
  memcpy(all + first, parts, (size_t)count * sizeof *parts);
  sent = write_parts(channel, all, first + count);
  if (sent < 0) {
    end_writing(channel);
    return 0;
  }
  chunks_sent(channel, (size_t)sent < before ? (size_t)sent : before);
  sent -= (size_t)sent < before ? sent : (ssize_t)before;
  for (int index = 0; index < count; index++) {
    if ((size_t)sent >= parts[index].iov_len) {
      sent -= (ssize_t)parts[index].iov_len;
      continue;
    }
    result = queue_parts(channel, parts + index, count - index, (size_t)sent, err);
    if (result < 0)
      return result;
    channel->blocked = true;
    listen_again(channel);
    return 0;
  }
  return 0;
}

static void flush(struct fl_channel *channel)
{
  struct iovec parts[FLUSH_PARTS];
  size_t bytes;
  int count = gather(channel, parts, &bytes);
  ssize_t sent = count > 0 ? write_parts(channel, parts, count) : 0;

  if (sent < 0)
    end_writing(channel);
  else
    chunks_sent(channel, (size_t)sent);
  if (!channel->chunks) {
    channel->blocked = false;
    listen_again(channel);
  }
}

/* --- in --- */

static void break_channel(struct fl_channel *channel, const char *reason, const char *detail)
{
  struct fl_event event = {
    .kind = FL_EVENT_BROKEN, .channel = channel, .fd = -1, .bytes = reason, .bytes_length = strlen(reason), .detail = detail,
  };

  channel->broken = true;
  fl_events_push(&event);
  fl_channel_data_stop(channel);
}

static void free_reply(const struct fl_reply *reply)
{
  if (!reply->owned)
    return;
  free(reply->meta);
  free(reply->body);
}

/* The frame is sound, but what the function answered must not be sent: that is the function's fault, and the channel lives on. */
static void refuse_response(struct fl_channel *channel, const struct fl_reply *reply, const char *why)
{
  static const char type[] = "InvalidResponse";
  size_t length = strlen(why);
  uint8_t *text = fl_arena_reserve(&fl_turn.arena, sizeof type + length + 2);
  struct fl_event event = {
    .kind = FL_EVENT_FAULT, .channel = channel, .fd = -1, .number = FL_FAULT_RESPONSE, .id = reply->frame.id,
    .load_us = reply->frame.load_us, .handler_us = reply->frame.handler_us, .bytes = text,
  };

  if (text) {
    memcpy(text, type, sizeof type);
    memcpy(text + sizeof type, why, length + 1);
    text[sizeof type + length + 1] = 0;
    event.bytes_length = sizeof type + length + 2;
    fl_arena_commit(&fl_turn.arena, event.bytes_length);
  }
  fl_events_push(&event);
  free_reply(reply);
}

static const char *take_response(struct fl_channel *channel, struct fl_reply *reply, struct fl_event *event)
{
  const char *why = "the response's status is not between 200 and 599";
  int result = -EINVAL;

  if (reply->frame.aux >= 200 && reply->frame.aux <= 599)
    result = fl_response_headers_clean(reply->meta, reply->frame.meta_length, &event->bytes_length, &why);
  if (result == -EPROTO) {
    free_reply(reply);
    return why;
  }
  if (result < 0) {
    refuse_response(channel, reply, why);
    return NULL;
  }
  event->kind = FL_EVENT_RESPONSE;
  event->body = reply->body;
  event->body_length = reply->body_length;
  event->body_owned = reply->owned;
  event->owned_bytes = reply->owned ? reply->meta : NULL;
  fl_events_push(event);
  return NULL;
}

static void remember_start(struct fl_channel *channel, const struct fl_started *started)
{
  uint64_t before = channel->asked_ns, now = uv_hrtime();

  for (int phase = 0; phase < FL_PHASES; phase++) {
    uint64_t end = started->end_ns[phase];

    if (phase == FL_PHASE_ACCEPT && end < before)
      end = started->assigned_ns;
    if (end <= before || end > now)            /* a spare's first phases were over before it was asked for: they took none of this request's time */
      continue;
    channel->phase_ns[phase] = end - before;
    before = end;
  }
  channel->started = true;
}

static const char *take_started(struct fl_channel *channel, const struct fl_reply *reply)
{
  const char *why = channel->started || channel->answered || channel->faulted_early ? "unsolicited" : NULL;
  struct fl_started started;

  memcpy(&started, reply->meta, sizeof started);
  if (!why)
    remember_start(channel, &started);
  free_reply(reply);
  return why;
}

/* At most one reply a request, which also bounds how many frames a turn can bring. Id 0: it failed to load before it saw a request. */
static bool unsolicited(const struct fl_channel *channel, const struct fl_frame *frame)
{
  return frame->id == 0 ? channel->faulted_early : channel->outstanding == 0;
}

/* NULL, or the word for what is wrong with it. The reply's memory is taken over. */
static const char *take_reply(struct fl_channel *channel, struct fl_reply *reply)
{
  const struct fl_frame *frame = &reply->frame;
  struct fl_event event = {
    .channel = channel, .fd = -1, .number = frame->aux, .id = frame->id, .load_us = frame->load_us, .handler_us = frame->handler_us,
    .bytes = reply->meta, .bytes_length = frame->meta_length,
  };

  fl_unfinished_end(&channel->unfinished);
  if (frame->type == FL_FRAME_STARTED)
    return take_started(channel, reply);
  if (unsolicited(channel, frame)) {
    free_reply(reply);
    return "unsolicited";
  }
  if (frame->id == 0) {
    channel->faulted_early = true;
  } else {
    channel->outstanding--;
    channel->answered = true;
    fl_vigil_answered();
  }
  if (frame->type == FL_FRAME_RESPONSE)
    return take_response(channel, reply, &event);
  event.kind = FL_EVENT_FAULT;
  event.owned_bytes = reply->owned ? reply->meta : NULL;
  fl_events_push(&event);
  return NULL;
}

/* Bytes kept in the arena, to which events refer. */
static const char *take_bytes(struct fl_channel *channel, uint8_t *bytes, size_t length)
{
  const char *why = NULL;
  size_t used;

  for (size_t at = 0; at < length && !why; at += used) {
    struct fl_reply reply;
    int result = fl_decoder_feed(&channel->decoder, bytes + at, length - at, &used, &reply, &why);

    if (result == 0)
      break;
    if (result > 0)
      why = take_reply(channel, &reply);
  }
  return why;
}

/* The rest of a frame is still to come. NULL, or why it is not waited for. */
static const char *await_rest(struct fl_channel *channel)
{
  const struct fl_frame *frame = &channel->decoder.frame;
  struct fl_unfinished *victim;

  if (channel->unfinished.bytes > 0 || fl_decoder_missing(&channel->decoder) == 0)
    return NULL;
  if (frame->type != FL_FRAME_STARTED && unsolicited(channel, frame))
    return "unsolicited";
  fl_unfinished_begin(&channel->unfinished, frame->length);
  while ((victim = fl_unfinished_victim(&channel->unfinished)))
    break_channel((struct fl_channel *)((char *)victim - offsetof(struct fl_channel, unfinished)), "garbage", "unfinished");
  return NULL;
}

/* One read. Returns what it brought; 0: nothing for now, or the channel is broken. *ret_drained: the socket was emptied. */
static size_t read_once(struct fl_channel *channel, size_t budget, bool *ret_drained)
{
  struct iovec area[FL_DECODER_AREAS + 1];
  struct msghdr message = { .msg_iov = area, .msg_iovlen = (size_t)fl_decoder_want(&channel->decoder, budget, area) };
  struct fl_reply reply;
  const char *why = NULL;
  size_t direct = 0, room;
  uint8_t *tail = NULL;
  ssize_t got;

  for (size_t index = 0; index < message.msg_iovlen; index++)
    direct += area[index].iov_len;
  room = direct;
  if (direct == fl_decoder_missing(&channel->decoder)) {       /* else the budget ends within the frame */
    tail = fl_arena_reserve(&fl_turn.arena, READ_BYTES);
    if (!tail)
      return 0;
    area[message.msg_iovlen++] = (struct iovec){ .iov_base = tail, .iov_len = READ_BYTES };
    room += READ_BYTES;
  }
  do
    got = direct > 0 ? recvmsg(channel->data.fd, &message, MSG_DONTWAIT) : recv(channel->data.fd, tail, READ_BYTES, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN)
    return 0;
  if (got <= 0) {
    break_channel(channel, got == 0 ? "end" : "reset",
                  channel->decoder.header_have > 0 ? "within a frame" : channel->outstanding > 0 ? "before the reply" : "");
    return 0;
  }
  *ret_drained = (size_t)got < room;
  if ((size_t)got > direct)                    /* at once: refusing a response takes memory from the arena as well */
    fl_arena_commit(&fl_turn.arena, (size_t)got - direct);
  if (direct > 0 && fl_decoder_advance(&channel->decoder, (size_t)got < direct ? (size_t)got : direct, &reply) > 0)
    why = take_reply(channel, &reply);
  if (!why && (size_t)got > direct)
    why = take_bytes(channel, tail, (size_t)got - direct);
  if (!why)
    why = await_rest(channel);
  if (why) {
    break_channel(channel, strcmp(why, "memory") == 0 ? "reset" : "garbage", why);
    return 0;
  }
  return (size_t)got;
}

static void on_data(uv_poll_t *handle, int status, int events)
{
  struct fl_channel *channel = ((struct fl_stream *)handle->data)->channel;
  size_t budget = FL_CHANNEL_TURN_BYTES;

  if (status == 0 && (events & UV_WRITABLE) && channel->blocked)
    flush(channel);
  while ((status < 0 || (events & UV_READABLE)) && budget > 0 && fl_turn.data_bytes < FL_TURN_BYTES) {
    bool drained = false;
    size_t got = read_once(channel, budget, &drained);

    fl_turn.data_bytes += got;
    budget -= got < budget ? got : budget;
    if (got == 0 || drained)
      break;
  }
  if (status < 0 && !channel->broken)          /* libuv stops polling a socket with an error on it; what it holds has to be read first */
    listen_again(channel);
}

int fl_channel_data_start(struct fl_channel *channel, uv_loop_t *loop, int fd, size_t response_body_max, struct fl_error *err)
{
  fl_decoder_init(&channel->decoder, response_body_max);
  return fl_stream_start(&channel->data, channel, loop, fd, on_data, err);
}

void fl_channel_data_stop(struct fl_channel *channel)
{
  for (; channel->outstanding > 0; channel->outstanding--)
    fl_vigil_answered();
  channel->write_ended = true;
  drop_chunks(channel);
  fl_unfinished_end(&channel->unfinished);
  fl_decoder_reset(&channel->decoder);
  fl_stream_stop(&channel->data);
}
