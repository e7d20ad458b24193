/*
 * The queue of events and their delivery: see events.h.
 */
#include "addon/events.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon/channel.h"
#include "addon/control.h"
#include "addon/vigil.h"

enum {
  EXTERNAL_BODY_BYTES = 32 << 10,              /* from here on a body is handed over as it is (external memory); below, a copy is cheaper than the finalizer */
  TEXT_BODY_BYTES = 1 << 10,                   /* up to here looking at ASCII is cheaper than an array and its collection */
  ARGUMENTS_MAX = 7
};

static const char *const method_names[FL_EVENT_KINDS] = {
  [FL_EVENT_RESPONSE] = "onResponse", [FL_EVENT_FAULT] = "onFault", [FL_EVENT_BROKEN] = "onBroken", [FL_EVENT_LOG] = "onLog",
  [FL_EVENT_CONTROL] = "onControl", [FL_EVENT_CONTROL_END] = "onControlEnd", [FL_EVENT_LIFELINE] = "onLifeline",
};

struct fl_turn fl_turn;

static struct {
  struct fl_event *event;
  size_t head, count, capacity;                /* [head, count) wait */
  napi_env env;
  napi_ref receiver, methods[FL_EVENT_KINDS], resource;
  napi_async_context context;
  uv_prepare_t prepare;
  uv_check_t check;
  bool running, delivering;
} queue;

void fl_events_push(const struct fl_event *event)
{
  if (queue.count == queue.capacity) {
    size_t capacity = queue.capacity > 0 ? queue.capacity * 2 : 256;
    struct fl_event *grown = realloc(queue.event, capacity * sizeof *grown);

    if (!grown)                                /* as Node itself does: a gateway that loses replies is worse than one that restarts */
      napi_fatal_error("flashd", NAPI_AUTO_LENGTH, "out of memory", NAPI_AUTO_LENGTH);
    queue.event = grown;
    queue.capacity = capacity;
  }
  queue.event[queue.count++] = *event;
  if (event->channel)
    fl_channel_hold(event->channel);
}

static void drop(const struct fl_event *event)
{
  free(event->owned_bytes);
  if (event->body_owned)
    free(event->body);
  if (event->kind == FL_EVENT_LIFELINE && event->fd >= 0)
    close(event->fd);
  if (event->channel)
    fl_channel_release(event->channel);
}

static void free_body(napi_env env, void *data, void *hint)
{
  (void)env;
  (void)hint;
  free(data);
}

static bool is_ascii(const uint8_t *text, size_t length)
{
  uint8_t all = 0;

  for (size_t index = 0; index < length; index++)
    all |= text[index];
  return all < 0x80;
}

/* null when empty; a short ASCII text as a string; else an array, and the body is taken over when it becomes the array's own memory. */
static napi_value body_value(napi_env env, struct fl_event *event)
{
  napi_value value = NULL;
  void *data;

  if (event->body_length == 0) {
    napi_get_null(env, &value);
  } else if (event->body_length <= TEXT_BODY_BYTES && is_ascii(event->body, event->body_length)) {
    napi_create_string_latin1(env, (const char *)event->body, event->body_length, &value);
  } else if (event->body_owned && event->body_length >= EXTERNAL_BODY_BYTES) {
    if (napi_create_external_arraybuffer(env, event->body, event->body_length, free_body, NULL, &value) == napi_ok)
      event->body_owned = false;
  } else if (napi_create_arraybuffer(env, event->body_length, &data, &value) == napi_ok) {
    memcpy(data, event->body, event->body_length);
  }
  return value;
}

static napi_value bytes_value(napi_env env, const struct fl_event *event)
{
  napi_value buffer, value = NULL;
  void *data;

  if (napi_create_arraybuffer(env, event->bytes_length, &data, &buffer) == napi_ok) {
    if (event->bytes_length > 0)
      memcpy(data, event->bytes, event->bytes_length);
    napi_create_typedarray(env, napi_uint8_array, event->bytes_length, buffer, 0, &value);
  }
  return value;
}

static size_t reply_arguments(napi_env env, struct fl_event *event, napi_value *ret)
{
  size_t count = 4;

  napi_create_uint32(env, event->id, &ret[1]);
  napi_create_uint32(env, event->number, &ret[2]);
  if (event->kind == FL_EVENT_RESPONSE) {
    napi_create_string_latin1(env, event->bytes, event->bytes_length, &ret[3]);
    ret[count++] = body_value(env, event);
  } else {
    napi_create_string_utf8(env, event->bytes, event->bytes_length, &ret[3]);
  }
  napi_create_uint32(env, event->load_us, &ret[count++]);
  napi_create_uint32(env, event->handler_us, &ret[count++]);
  return count;
}

static size_t arguments(napi_env env, struct fl_event *event, napi_value *ret)
{
  if (event->channel)
    napi_create_uint32(env, event->channel->index, &ret[0]);
  switch (event->kind) {
    case FL_EVENT_RESPONSE:
    case FL_EVENT_FAULT:
      return reply_arguments(env, event, ret);
    case FL_EVENT_BROKEN:
      napi_create_string_utf8(env, event->bytes, event->bytes_length, &ret[1]);
      napi_create_string_utf8(env, event->detail, NAPI_AUTO_LENGTH, &ret[2]);
      return 3;
    case FL_EVENT_LOG:
      napi_create_uint32(env, event->number, &ret[1]);
      ret[2] = bytes_value(env, event);
      return 3;
    case FL_EVENT_CONTROL:
      ret[0] = bytes_value(env, event);
      return 1;
    case FL_EVENT_LIFELINE:
      napi_create_int32(env, event->fd, &ret[0]);
      event->fd = -1;
      return 1;
    default:
      return 0;
  }
}

/* JavaScript may have closed the channel, or opened another control socket, since the event was queued. */
static bool is_void(const struct fl_event *event)
{
  if (event->kind == FL_EVENT_CONTROL || event->kind == FL_EVENT_CONTROL_END)
    return event->number != fl_control_generation();
  return event->channel && event->channel->closing && event->kind != FL_EVENT_LOG;
}

static void deliver_one(napi_env env, napi_value receiver, napi_value methods[FL_EVENT_KINDS], struct fl_event *event)
{
  napi_value argument[ARGUMENTS_MAX], exception;
  napi_handle_scope scope;
  bool pending = false;
  size_t count;

  napi_open_handle_scope(env, &scope);
  count = arguments(env, event, argument);
  if (napi_call_function(env, receiver, methods[event->kind], count, argument, NULL) != napi_ok) {
    napi_is_exception_pending(env, &pending);
    if (pending && napi_get_and_clear_last_exception(env, &exception) == napi_ok)
      napi_fatal_exception(env, exception);      /* becomes an uncaughtException, as from any other callback of Node's */
  }
  napi_close_handle_scope(env, scope);
}

static void deliver(void)
{
  napi_env env = queue.env;
  napi_value receiver, resource, methods[FL_EVENT_KINDS];
  napi_handle_scope handles;
  napi_callback_scope callbacks;

  if (queue.head == queue.count || queue.delivering)
    return;
  queue.delivering = true;
  napi_open_handle_scope(env, &handles);
  napi_get_reference_value(env, queue.receiver, &receiver);
  napi_get_reference_value(env, queue.resource, &resource);
  for (int kind = 0; kind < FL_EVENT_KINDS; kind++)
    napi_get_reference_value(env, queue.methods[kind], &methods[kind]);
  napi_open_callback_scope(env, resource, queue.context, &callbacks);
  while (queue.head < queue.count) {
    struct fl_event event = queue.event[queue.head++];    /* a copy: callbacks may push */

    if (!is_void(&event))
      deliver_one(env, receiver, methods, &event);
    drop(&event);
  }
  napi_close_callback_scope(env, callbacks);     /* microtasks run in here and may push as well: the next prepare delivers that */
  napi_close_handle_scope(env, handles);
  queue.delivering = false;
  if (queue.head == queue.count) {
    queue.head = queue.count = 0;
    fl_arena_reset(&fl_turn.arena);
  }
}

/* What sandboxd says of an instance is delivered before what the instance itself says in the same turn: it was sent earlier. */
static void read_control_first(void)
{
  size_t others = queue.count - queue.head, control;

  fl_control_read();
  control = queue.count - queue.head - others;
  for (size_t index = 0; others > 0 && index < control; index++) {
    struct fl_event *first = &queue.event[queue.head + index], event = first[others];

    memmove(first + 1, first, others * sizeof *first);
    *first = event;
  }
}

static void on_check(uv_check_t *handle)
{
  (void)handle;
  read_control_first();
  deliver();
  fl_turn.data_bytes = fl_turn.log_bytes = 0;
}

static void on_prepare(uv_prepare_t *handle)
{
  (void)handle;
  deliver();
  if (!fl_vigil_decide())
    fl_channels_tend();
}

int fl_events_start(napi_env env, napi_value receiver, uv_loop_t *loop, struct fl_error *err)
{
  napi_value name, resource;

  for (int kind = 0; kind < FL_EVENT_KINDS; kind++) {
    napi_value method;
    napi_valuetype type;

    if (napi_get_named_property(env, receiver, method_names[kind], &method) != napi_ok || napi_typeof(env, method, &type) != napi_ok ||
        type != napi_function || napi_create_reference(env, method, 1, &queue.methods[kind]) != napi_ok)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EINVAL, "start", "events.%s is not a function", method_names[kind]);
  }
  if (napi_create_string_utf8(env, "flashd", NAPI_AUTO_LENGTH, &name) != napi_ok || napi_create_object(env, &resource) != napi_ok ||
      napi_create_reference(env, resource, 1, &queue.resource) != napi_ok ||
      napi_create_reference(env, receiver, 1, &queue.receiver) != napi_ok ||
      napi_async_init(env, resource, name, &queue.context) != napi_ok)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "start", NULL);
  queue.env = env;
  uv_prepare_init(loop, &queue.prepare);
  uv_check_init(loop, &queue.check);
  uv_prepare_start(&queue.prepare, on_prepare);
  uv_check_start(&queue.check, on_check);
  uv_unref((uv_handle_t *)&queue.prepare);       /* the sockets keep the process alive, not these */
  uv_unref((uv_handle_t *)&queue.check);
  fl_vigil_start(loop);
  queue.running = true;
  return 0;
}

void fl_events_stop(void)
{
  if (!queue.running)
    return;
  queue.running = false;
  while (queue.head < queue.count) {
    struct fl_event event = queue.event[queue.head++];

    drop(&event);
  }
  fl_vigil_stop();
  uv_close((uv_handle_t *)&queue.prepare, NULL);
  uv_close((uv_handle_t *)&queue.check, NULL);
}
