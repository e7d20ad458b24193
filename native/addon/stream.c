/*
 * A polled descriptor of a channel: see channel.h. After stop() no callback comes any more, although libuv gives the handle's memory back
 * only later.
 */
#include "addon/channel.h"

#include <unistd.h>

/* One timer for all: who has rested for a shorter time than the first one wakes up with it. */
static struct { uv_timer_t timer; struct fl_stream *first; } resting;

int fl_streams_open(uv_loop_t *loop, struct fl_error *err)
{
  int result = uv_timer_init(loop, &resting.timer);

  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "uv_timer_init", NULL);
  uv_unref((uv_handle_t *)&resting.timer);
  return 0;
}

void fl_streams_close(void)
{
  uv_close((uv_handle_t *)&resting.timer, NULL);
}

static void wake(uv_timer_t *timer)
{
  struct fl_stream *stream = resting.first;

  (void)timer;
  resting.first = NULL;
  for (; stream; stream = stream->next_resting) {
    stream->rests = false;
    uv_poll_start(&stream->poll, UV_READABLE, stream->on_ready);
  }
}

void fl_stream_rest(struct fl_stream *stream)
{
  if (stream->fd < 0 || stream->rests)
    return;
  uv_poll_stop(&stream->poll);
  if (!resting.first) {
    uv_update_time(resting.timer.loop);        /* a turn that took long would have shortened the rest by as much */
    uv_timer_start(&resting.timer, wake, FL_LOG_REST_MS, 0);
  }
  stream->rests = true;
  stream->next_resting = resting.first;
  resting.first = stream;
}

static void forget_rest(struct fl_stream *stream)
{
  struct fl_stream **link = &resting.first;

  while (*link != stream)
    link = &(*link)->next_resting;
  *link = stream->next_resting;
  stream->rests = false;
}

int fl_stream_start(struct fl_stream *stream, struct fl_channel *channel, uv_loop_t *loop, int fd, uv_poll_cb on_ready, struct fl_error *err)
{
  int result = uv_poll_init(loop, &stream->poll, fd);      /* makes it nonblocking */

  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "uv_poll_init", NULL);
  stream->poll.data = stream;
  stream->channel = channel;
  stream->fd = fd;
  stream->on_ready = on_ready;
  fl_channel_hold(channel);
  uv_poll_start(&stream->poll, UV_READABLE, on_ready);
  return 0;
}

static void on_closed(uv_handle_t *handle)
{
  struct fl_stream *stream = handle->data;

  fl_channel_release(stream->channel);
}

void fl_stream_stop(struct fl_stream *stream)
{
  if (stream->fd < 0)
    return;
  if (stream->rests)
    forget_rest(stream);
  uv_close((uv_handle_t *)&stream->poll, on_closed);       /* leaves epoll at once: the descriptor may be closed right away */
  close(stream->fd);
  stream->fd = -1;
}
