/*
 * Control socket and lifeline: see control.h.
 */
#include "addon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <flashd/lifeline.h>
#include <flashd/protocol.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/events.h"
#include "base/cleanup.h"
#include "sys/packet.h"

struct packet {
  struct packet *next;
  size_t size, fd_count;
  int fds[FL_CREATE_DESCRIPTORS];
  uint8_t bytes[];
};

struct endpoint {                              /* on the heap: libuv needs the handle until its close callback */
  uv_poll_t poll;
  int fd;
  bool failed;                                 /* libuv has stopped polling it */
};

static struct {
  struct endpoint *control, *lifeline;
  uint32_t generation;
  bool readable;
  struct packet *first, **end;
  size_t count;
} state;

uint32_t fl_control_generation(void)
{
  return state.generation;
}

static int endpoint_open(uv_loop_t *loop, int fd, uv_poll_cb on_ready, struct endpoint **ret_endpoint, struct fl_error *err)
{
  struct endpoint *endpoint = calloc(1, sizeof *endpoint);
  int result = endpoint ? uv_poll_init(loop, &endpoint->poll, fd) : -ENOMEM;

  if (result < 0) {
    free(endpoint);
    return fl_fail(err, FL_ERR_SYSTEM, -result, "uv_poll_init", NULL);
  }
  endpoint->fd = fd;
  endpoint->poll.data = endpoint;
  uv_poll_start(&endpoint->poll, UV_READABLE, on_ready);
  *ret_endpoint = endpoint;
  return 0;
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void endpoint_close(struct endpoint **endpoint)
{
  if (!*endpoint)
    return;
  uv_close((uv_handle_t *)&(*endpoint)->poll, on_closed);
  close((*endpoint)->fd);
  *endpoint = NULL;
}

static void drop_first(void)
{
  struct packet *packet = state.first;

  for (size_t index = 0; index < packet->fd_count; index++)
    fl_close(&packet->fds[index]);
  state.first = packet->next;
  if (!state.first)
    state.end = &state.first;
  state.count--;
  free(packet);
}

static int enqueue(const void *bytes, size_t size, const int *fds, size_t fd_count, struct fl_error *err)
{
  struct packet *packet;

  if (state.count >= (fd_count > 0 ? FL_CONTROL_QUEUE_CREATES : FL_CONTROL_QUEUE_MAX))
    return fl_fail(err, FL_ERR_FULL, EAGAIN, "sendmsg", "%zu packets wait for sandboxd already", state.count);
  packet = calloc(1, sizeof *packet + size);
  if (!packet)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "sendmsg", NULL);
  for (; packet->fd_count < fd_count; packet->fd_count++) {
    int copy = fcntl(fds[packet->fd_count], F_DUPFD_CLOEXEC, 3);

    if (copy < 0) {
      int result = fl_fail_errno(err, "fcntl");

      while (packet->fd_count > 0)
        close(packet->fds[--packet->fd_count]);
      free(packet);
      return result;
    }
    packet->fds[packet->fd_count] = copy;
  }
  packet->size = size;
  memcpy(packet->bytes, bytes, size);
  *state.end = packet;
  state.end = &packet->next;
  state.count++;
  return 0;
}

static void on_control(uv_poll_t *handle, int status, int events)
{
  struct endpoint *endpoint = handle->data;

  if (status < 0)
    endpoint->failed = true;
  if (status < 0 || (events & UV_READABLE))
    state.readable = true;
  if (status < 0 || !(events & UV_WRITABLE))
    return;
  while (state.first) {
    int result = fl_packet_send(endpoint->fd, state.first->bytes, state.first->size, state.first->fds, state.first->fd_count);

    if (result == -EAGAIN || result == -ETOOMANYREFS)
      return;
    drop_first();                              /* sent; or refused for good, and then the socket's end is told by its reading side */
  }
  uv_poll_start(&endpoint->poll, UV_READABLE, on_control);
}

int fl_control_send(const void *packet, size_t size, const int *fds, size_t fd_count, struct fl_error *err)
{
  int result;

  if (!state.control)
    return fl_fail(err, FL_ERR_SYSTEM, ENOTCONN, "sendmsg", "no control socket");
  if (size == 0 || size > FL_MESSAGE_MAX)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EMSGSIZE, "sendmsg", "a control packet has 1 to %u bytes", FL_MESSAGE_MAX);
  if (state.count > 0)
    return enqueue(packet, size, fds, fd_count, err);
  result = fl_packet_send(state.control->fd, packet, size, fds, fd_count);
  if (result != -EAGAIN)
    return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, "sendmsg", NULL) : 0;
  result = enqueue(packet, size, fds, fd_count, err);
  if (result == 0)
    uv_poll_start(&state.control->poll, UV_READABLE | UV_WRITABLE, on_control);
  return result;
}

static void control_close(void)
{
  while (state.first)
    drop_first();
  endpoint_close(&state.control);
  state.readable = false;
}

void fl_control_read(void)
{
  if (!state.readable)
    return;
  state.readable = false;
  for (int count = 0; count < FL_CONTROL_TURN_PACKETS; count++) {
    struct fl_event event = { .kind = FL_EVENT_CONTROL, .number = state.generation, .fd = -1 };
    uint8_t *room = fl_arena_reserve(&fl_turn.arena, FL_MESSAGE_MAX);
    size_t fd_count;
    ssize_t got = room ? fl_packet_receive(state.control->fd, room, FL_MESSAGE_MAX, NULL, 0, &fd_count) : -EAGAIN;

    if (got == -EAGAIN && !state.control->failed)
      return;
    if (got <= 0) {                            /* ended, or it breaks the protocol: the same to us */
      event.kind = FL_EVENT_CONTROL_END;
      fl_events_push(&event);
      control_close();
      return;
    }
    event.bytes = room;
    event.bytes_length = (size_t)got;
    fl_arena_commit(&fl_turn.arena, (size_t)got);
    fl_events_push(&event);
  }
  state.readable = true;                       /* the socket stays ready, so the next turn comes at once */
}

int fl_control_open(uv_loop_t *loop, int fd, struct fl_error *err)
{
  struct endpoint *endpoint;
  int result = endpoint_open(loop, fd, on_control, &endpoint, err);

  if (result < 0)
    return result;
  control_close();
  state.end = &state.first;
  state.control = endpoint;
  state.generation++;
  return 0;
}

static void on_lifeline(uv_poll_t *handle, int status, int events)
{
  struct endpoint *endpoint = handle->data;

  (void)events;
  for (int count = 0; count < FL_LIFELINE_TURN_PACKETS; count++) {
    struct fl_event event = { .kind = FL_EVENT_LIFELINE, .fd = -1 };
    size_t fd_count = 0;
    char byte = 0;
    ssize_t got = fl_packet_receive(endpoint->fd, &byte, 1, &event.fd, 1, &fd_count);

    if (got == -EAGAIN && status == 0)
      return;
    if (got <= 0 && got != -EMSGSIZE) {        /* the supervisor is gone: told as descriptor -1 */
      fl_events_push(&event);
      endpoint_close(&state.lifeline);
      return;
    }
    if (got == 1 && byte == FL_LIFELINE_CONTROL && fd_count == 1)
      fl_events_push(&event);
    else if (fd_count == 1)
      close(event.fd);
  }
}

int fl_lifeline_open(uv_loop_t *loop, int fd, struct fl_error *err)
{
  if (state.lifeline)
    return fl_fail(err, FL_ERR_SYSTEM, EALREADY, "openLifeline", "there is one already");
  return endpoint_open(loop, fd, on_lifeline, &state.lifeline, err);
}

void fl_lifeline_tell(char word)
{
  if (state.lifeline)
    fl_packet_send(state.lifeline->fd, &word, 1, NULL, 0);
}

void fl_control_stop(void)
{
  if (!state.end)
    state.end = &state.first;
  control_close();
  endpoint_close(&state.lifeline);
}
