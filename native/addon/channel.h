/*
 * Channels: the gateway's ends of one instance (data socket, stdout and stderr pipes), in a table of numbered slots.
 *
 *   open ─▶ live ─▶ broken (the data socket ended or sent garbage; the pipes go on) ─▶ closing ─▶ free
 *             └──────────────────── close ───────────────────────────────────────────────▲
 *
 * A channel is referenced by its opener (until close), by each of its uv handles (until its close callback) and by each queued event. Its
 * number is given out again only when all of them are gone, so nothing stale is ever told about a new instance.
 */
#ifndef FLASHD_CHANNEL_H
#define FLASHD_CHANNEL_H
#include <flashd/error.h>
#include <flashd/started.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

#include "addon/frame_decoder.h"
#include "addon/unfinished.h"

enum {
  FL_CHANNELS_MAX = 65536,                     /* ceiling of AddonLimits.channelsMax */
  FL_CHANNEL_TURN_BYTES = 256 << 10,           /* read from one data socket in one turn */
  FL_CHANNEL_QUEUE_MAX = 256 << 20,            /* bytes waiting for one instance to read them */
  FL_LOG_CHUNK_BYTES = 64 << 10,               /* one read, one onLog */
  FL_LOG_CLOSE_CHUNKS = 4,                     /* reads from each pipe of a channel that is being closed */
  FL_LOG_REST_MS = 10,                         /* a pipe of which lines are dropped is read so rarely: meanwhile it fills, and who floods it waits */
  FL_LOG_STREAMS = 2,
  FL_CHANNELS_PREPARED = 4                     /* made ahead of need, when the loop is about to wait */
};

struct fl_channel;
struct fl_chunk;                               /* bytes waiting to be sent */

struct fl_stream {                             /* one polled descriptor of a channel */
  uv_poll_t poll;
  struct fl_channel *channel;
  int fd;                                      /* -1: closed */
  uv_poll_cb on_ready;
  bool rests;
  struct fl_stream *next_resting;
};

struct fl_channel {
  uint32_t index;
  uint32_t references;
  bool closing;                                /* closed by JavaScript: only logs may still be told */
  bool broken;                                 /* the data socket is closed, onBroken queued or told */
  bool write_ended;                            /* the instance reads no more */
  bool blocked;                                /* chunks wait until the socket is writable; else they wait for the next send */
  bool faulted_early;                          /* an ERROR with id 0 has come */
  uint32_t outstanding;                        /* requests sent and not answered */
  bool answered;                               /* one of them was */
  bool started;                                /* STARTED has come */
  uint64_t asked_ns;
  uint64_t phase_ns[FL_PHASES];                /* how long each took, of the time since it was asked for */
  struct fl_decoder decoder;
  struct fl_unfinished unfinished;             /* what the decoder has begun */
  struct fl_stream data, log[FL_LOG_STREAMS];
  struct fl_chunk *chunks, **chunks_end;
  size_t queued_bytes;
  struct fl_channel *next_free;
};

struct fl_channel_ends { int data, log[FL_LOG_STREAMS]; };

int fl_channels_start(uv_loop_t *loop, uint32_t channels_max, size_t response_body_max, struct fl_error *err);
/* A log pipe of which lines were dropped: its next read comes after FL_LOG_REST_MS, or with close. */
void fl_channel_rest_log(struct fl_channel *channel, int stream);
/* Closes every channel; nothing more is told. */
void fl_channels_stop(void);

/* Before the loop waits: closes what the last opened channels have handed over, and makes one channel ahead of need if there are too few. */
void fl_channels_tend(void);

/* FAST PATH: sends the packet with the far ends of a socket pair and two pipes, made ahead of need if possible, and bundle_fd. On failure nothing of it is left. */
int fl_channel_open(const void *packet, size_t size, int bundle_fd, struct fl_channel **ret_channel, struct fl_error *err);
/* NULL: no such channel, or it is being closed. */
struct fl_channel *fl_channel_find(uint32_t index);
/* What the pipes hold is still told, then an empty chunk for each. */
void fl_channel_close(struct fl_channel *channel);
void fl_channel_hold(struct fl_channel *channel);
void fl_channel_release(struct fl_channel *channel);

/* channel_data.c: the data socket. */
int fl_channel_data_start(struct fl_channel *channel, uv_loop_t *loop, int fd, size_t response_body_max, struct fl_error *err);
/* Sends or queues a copy. With `hold`, it waits for the next send. Errors of a dead socket are left to its reading side, which tells them. */
int fl_channel_send(struct fl_channel *channel, const struct iovec *parts, int count, bool hold, struct fl_error *err);
void fl_channel_data_stop(struct fl_channel *channel);

/* stream.c: polled descriptors. The stream owns fd and a reference on the channel from a successful start on. */
int fl_stream_start(struct fl_stream *stream, struct fl_channel *channel, uv_loop_t *loop, int fd, uv_poll_cb on_ready, struct fl_error *err);
void fl_stream_stop(struct fl_stream *stream);
/* For the resting ones of all channels. */
int fl_streams_open(uv_loop_t *loop, struct fl_error *err);
void fl_streams_close(void);
/* No callback for so long. */
void fl_stream_rest(struct fl_stream *stream);
#endif
