/*
 * The table of channels, their making and unmaking, and the log pipes: see channel.h.
 */
#include "addon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon/control.h"
#include "addon/events.h"
#include "base/cleanup.h"

static struct {
  struct fl_channel **slot;                    /* made on first use, kept for the next instance */
  struct fl_channel *free;
  uint32_t max, made, prepared, handed_over;
  struct { struct fl_channel *channel; struct fl_channel_ends far; } ahead[FL_CHANNELS_PREPARED];
  struct fl_channel_ends handed[FL_CHANNELS_PREPARED];
  size_t response_body_max;
  uv_loop_t *loop;
} table;

int fl_channels_start(uv_loop_t *loop, uint32_t channels_max, size_t response_body_max, struct fl_error *err)
{
  table.slot = calloc(channels_max, sizeof(struct fl_channel *));
  if (!table.slot)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "start", NULL);
  table.max = channels_max;
  table.response_body_max = response_body_max;
  table.loop = loop;
  fl_unfinished_start(response_body_max);
  return fl_streams_open(loop, err);
}

void fl_channel_hold(struct fl_channel *channel)
{
  channel->references++;
}

void fl_channel_release(struct fl_channel *channel)
{
  if (--channel->references > 0)
    return;
  channel->next_free = table.free;
  table.free = channel;
}

struct fl_channel *fl_channel_find(uint32_t index)
{
  struct fl_channel *channel = index < table.made ? table.slot[index] : NULL;

  return channel && channel->references > 0 && !channel->closing ? channel : NULL;
}

static struct fl_channel *take_slot(struct fl_error *err)
{
  struct fl_channel *channel = table.free;
  uint32_t index;

  if (channel) {
    table.free = channel->next_free;
  } else if (table.made == table.max) {
    fl_fail(err, FL_ERR_FULL, EMFILE, "openChannel", "all %u channels are in use", table.max);
    return NULL;
  } else if ((channel = malloc(sizeof *channel))) {
    channel->index = table.made;
    table.slot[table.made++] = channel;
  } else {
    fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "openChannel", NULL);
    return NULL;
  }
  index = channel->index;
  memset(channel, 0, sizeof *channel);
  channel->index = index;
  channel->references = 1;
  channel->chunks_end = &channel->chunks;
  channel->data.fd = channel->log[0].fd = channel->log[1].fd = -1;
  return channel;
}

/* Reads once. False when there is nothing more for now, or ever. */
static bool read_log(struct fl_stream *stream)
{
  struct fl_event event = { .kind = FL_EVENT_LOG, .channel = stream->channel, .number = stream == &stream->channel->log[0] ? 1 : 2, .fd = -1 };
  uint8_t *room = fl_arena_reserve(&fl_turn.arena, FL_LOG_CHUNK_BYTES);
  ssize_t got;

  if (!room)                                   /* the poller asks again */
    return false;
  do
    got = read(stream->fd, room, FL_LOG_CHUNK_BYTES);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN)
    return false;
  event.bytes = room;
  event.bytes_length = got > 0 ? (size_t)got : 0;
  fl_turn.log_bytes += event.bytes_length;
  fl_arena_commit(&fl_turn.arena, event.bytes_length);
  fl_events_push(&event);
  if (got > 0)
    return true;
  fl_stream_stop(stream);
  return false;
}

static void on_log(uv_poll_t *handle, int status, int events)
{
  (void)status;
  (void)events;
  if (fl_turn.log_bytes < FL_TURN_LOG_BYTES)
    read_log(handle->data);
}

/* The far end of the data socket blocks, as an instance expects; the pipes' as well. All close on exec. */
static int make_ends(struct fl_channel_ends *near, struct fl_channel_ends *far, struct fl_error *err)
{
  int pair[2];

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  near->data = pair[0];
  far->data = pair[1];
  for (int stream = 0; stream < FL_LOG_STREAMS; stream++) {
    if (pipe2(pair, O_CLOEXEC) < 0)
      return fl_fail_errno(err, "pipe2");
    near->log[stream] = pair[0];
    far->log[stream] = pair[1];
  }
  return 0;
}

static void close_ends(struct fl_channel_ends *ends)
{
  fl_close(&ends->data);
  fl_close(&ends->log[0]);
  fl_close(&ends->log[1]);
}

static int adopt(struct fl_channel *channel, struct fl_channel_ends *near, struct fl_error *err)
{
  int result = fl_channel_data_start(channel, table.loop, near->data, table.response_body_max, err);

  if (result < 0)
    return result;
  near->data = -1;
  for (int stream = 0; stream < FL_LOG_STREAMS; stream++) {
    result = fl_stream_start(&channel->log[stream], channel, table.loop, near->log[stream], on_log, err);
    if (result < 0)
      return result;
    near->log[stream] = -1;
  }
  return 0;
}

static void abandon(struct fl_channel *channel)
{
  channel->closing = true;
  fl_channel_data_stop(channel);
  for (int stream = 0; stream < FL_LOG_STREAMS; stream++)
    fl_stream_stop(&channel->log[stream]);
  fl_channel_release(channel);
}

static int make(struct fl_channel **ret_channel, struct fl_channel_ends *ret_far, struct fl_error *err)
{
  struct fl_channel_ends near = { -1, { -1, -1 } };
  struct fl_channel *channel = take_slot(err);
  int result;

  *ret_far = (struct fl_channel_ends){ -1, { -1, -1 } };
  if (!channel)
    return err->errno_value > 0 ? -err->errno_value : -EINVAL;
  result = make_ends(&near, ret_far, err);
  if (result == 0)
    result = adopt(channel, &near, err);
  if (result < 0) {
    close_ends(ret_far);
    close_ends(&near);
    abandon(channel);
    return result;
  }
  *ret_channel = channel;
  return 0;
}

int fl_channel_open(const void *packet, size_t size, int bundle_fd, struct fl_channel **ret_channel, struct fl_error *err)
{
  struct fl_channel_ends far;
  struct fl_channel *channel;
  int result = 0;

  if (table.prepared > 0) {
    channel = table.ahead[--table.prepared].channel;
    far = table.ahead[table.prepared].far;
  } else {
    result = make(&channel, &far, err);
  }
  if (result < 0)
    return result;
  channel->asked_ns = uv_hrtime();
  const int fds[] = { far.data, far.log[0], far.log[1], bundle_fd };
  result = fl_control_send(packet, size, fds, FL_COUNT(fds), err);
  if (result == 0 && table.handed_over < FL_CHANNELS_PREPARED)
    table.handed[table.handed_over++] = far;   /* closed when the request is on its way */
  else
    close_ends(&far);
  if (result < 0) {
    abandon(channel);
    return result;
  }
  *ret_channel = channel;
  return 0;
}

void fl_channels_tend(void)
{
  struct fl_error unused = { 0 };

  while (table.handed_over > 0)
    close_ends(&table.handed[--table.handed_over]);
  /* Half of the table at most: those ahead must not be the reason why there is none left. Where it fails, opening one will tell. */
  if (table.prepared < FL_CHANNELS_PREPARED && table.prepared < table.max / 2 &&
      make(&table.ahead[table.prepared].channel, &table.ahead[table.prepared].far, &unused) == 0)
    table.prepared++;
}

void fl_channel_rest_log(struct fl_channel *channel, int stream)
{
  fl_stream_rest(&channel->log[stream]);
}

void fl_channel_close(struct fl_channel *channel)
{
  struct fl_event end = { .kind = FL_EVENT_LOG, .channel = channel, .fd = -1 };

  channel->closing = true;
  fl_channel_data_stop(channel);
  for (int index = 0; index < FL_LOG_STREAMS; index++) {
    struct fl_stream *stream = &channel->log[index];

    for (int chunk = 0; stream->fd >= 0 && chunk < FL_LOG_CLOSE_CHUNKS && read_log(stream); chunk++)
      continue;
    if (stream->fd < 0)                        /* it ended before, or just now: its end is told or queued */
      continue;
    fl_stream_stop(stream);
    end.number = (uint32_t)index + 1;
    fl_events_push(&end);
  }
  fl_channel_release(channel);
}

void fl_channels_stop(void)
{
  while (table.handed_over > 0)
    close_ends(&table.handed[--table.handed_over]);
  while (table.prepared > 0)
    close_ends(&table.ahead[--table.prepared].far);
  for (uint32_t index = 0; index < table.made; index++) {
    struct fl_channel *channel = fl_channel_find(index);

    if (!channel)
      continue;
    abandon(channel);
  }
  fl_streams_close();
}
