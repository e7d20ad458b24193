/*
 * A polled descriptor of a channel: see channel.h. After stop() no callback comes any more, although libuv gives the handle's memory back
 * only later.
 */
#include "addon/channel.h"

#include <unistd.h>

int fl_stream_start(struct fl_stream *stream, struct fl_channel *channel, uv_loop_t *loop, int fd, uv_poll_cb on_ready, struct fl_error *err)
{
  int result = uv_poll_init(loop, &stream->poll, fd);      /* makes it nonblocking */

  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "uv_poll_init", NULL);
  stream->poll.data = stream;
  stream->channel = channel;
  stream->fd = fd;
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
  uv_close((uv_handle_t *)&stream->poll, on_closed);       /* leaves epoll at once: the descriptor may be closed right away */
  close(stream->fd);
  stream->fd = -1;
}
