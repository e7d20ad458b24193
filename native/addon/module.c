/*
 * The addon's registration, its start and stop, and the functions about channels and sockets other than send.
 */
#include "addon/module.h"

#include <errno.h>
#include <flashd/frame.h>
#include <flashd/lifeline.h>
#include <stdio.h>
#include <uv.h>

#include "addon/channel.h"
#include "addon/control.h"
#include "addon/events.h"
#include "addon/values.h"

static enum { NEVER_STARTED, RUNNING, STOPPED } phase;
static uv_loop_t *loop;

/* Throws when the event loop's half of the addon is not running. */
static bool is_running(napi_env env, const char *op)
{
  struct fl_error error = { 0 };

  if (phase == RUNNING)
    return true;
  fl_fail(&error, FL_ERR_SYSTEM, ENOTCONN, op, phase == STOPPED ? "the addon has been stopped" : "the addon has not been started");
  fl_throw(env, &error);
  return false;
}

static void stop(void *unused)
{
  (void)unused;
  if (phase != RUNNING)
    return;
  phase = STOPPED;
  fl_channels_stop();
  fl_control_stop();
  fl_events_stop();
}

static bool get_limit(napi_env env, napi_value limits, const char *name, uint32_t most, uint32_t *ret)
{
  napi_value value;

  if (napi_get_named_property(env, limits, name, &value) != napi_ok || !fl_get_uint32(env, value, name, ret))
    return false;
  if (*ret > 0 && *ret <= most)
    return true;
  fl_throw_type(env, name, "between 1 and the protocol's own limit");
  return false;
}

/* start(events, limits) */
static napi_value js_start(napi_env env, napi_callback_info info)
{
  uint32_t response_body_max, channels_max;
  struct fl_error error = { 0 };
  napi_value argument[2];

  if (!fl_arguments(env, info, 2, argument) || !get_limit(env, argument[1], "responseBodyMax", FL_FRAME_BODY_MAX, &response_body_max) ||
      !get_limit(env, argument[1], "channelsMax", FL_CHANNELS_MAX, &channels_max))
    return NULL;
  if (phase != NEVER_STARTED) {
    fl_fail(&error, FL_ERR_SYSTEM, EALREADY, "start", NULL);
    return fl_throw(env, &error);
  }
  if (napi_get_uv_event_loop(env, &loop) != napi_ok)
    return fl_throw_type(env, "the process", "one with an event loop");
  if (fl_channels_start(loop, channels_max, response_body_max, &error) < 0 || fl_events_start(env, argument[0], loop, &error) < 0)
    return fl_throw(env, &error);
  phase = RUNNING;
  napi_add_env_cleanup_hook(env, stop, NULL);  /* process exit: no callback may run into a dead environment */
  return NULL;
}

static napi_value js_stop(napi_env env, napi_callback_info info)
{
  (void)info;
  if (phase == RUNNING)
    napi_remove_env_cleanup_hook(env, stop, NULL);
  stop(NULL);
  return NULL;
}

static napi_value open_socket(napi_env env, napi_callback_info info, const char *op, int (*open)(uv_loop_t *, int, struct fl_error *))
{
  struct fl_error error = { 0 };
  napi_value argument[1];
  int fd;

  if (!is_running(env, op) || !fl_arguments(env, info, 1, argument) || !fl_get_fd(env, argument[0], "fd", &fd))
    return NULL;
  return open(loop, fd, &error) < 0 ? fl_throw(env, &error) : NULL;
}

static napi_value js_open_lifeline(napi_env env, napi_callback_info info)
{
  return open_socket(env, info, "openLifeline", fl_lifeline_open);
}

static napi_value tell(napi_env env, const char *op, char word)
{
  if (is_running(env, op))
    fl_lifeline_tell(word);
  return NULL;
}

static napi_value js_tell_ready(napi_env env, napi_callback_info info)
{
  (void)info;
  return tell(env, "tellReady", FL_LIFELINE_READY);
}

static napi_value js_tell_alive(napi_env env, napi_callback_info info)
{
  (void)info;
  return tell(env, "tellAlive", FL_LIFELINE_ALIVE);
}

static napi_value js_open_control(napi_env env, napi_callback_info info)
{
  return open_socket(env, info, "openControl", fl_control_open);
}

/* sendControl(packet) */
static napi_value js_send_control(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[1];
  const uint8_t *packet;
  size_t size;

  if (!is_running(env, "sendControl") || !fl_arguments(env, info, 1, argument) || !fl_get_bytes(env, argument[0], "packet", &packet, &size))
    return NULL;
  return fl_control_send(packet, size, NULL, 0, &error) < 0 ? fl_throw(env, &error) : NULL;
}

/* openChannel(packet, bundleFd) */
static napi_value js_open_channel(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  struct fl_channel *channel;
  napi_value argument[2];
  const uint8_t *packet;
  int bundle_fd;
  size_t size;

  if (!is_running(env, "openChannel") || !fl_arguments(env, info, 2, argument) || !fl_get_bytes(env, argument[0], "packet", &packet, &size) ||
      !fl_get_fd(env, argument[1], "bundleFd", &bundle_fd))
    return NULL;
  if (fl_channel_open(packet, size, bundle_fd, &channel, &error) < 0)
    return fl_throw(env, &error);
  return fl_int(env, (int)channel->index);
}

/* allowResponse(channel, bytes) */
static napi_value js_allow_response(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  struct fl_channel *channel;
  napi_value argument[2];
  uint32_t index, bytes;

  if (!fl_arguments(env, info, 2, argument) || !fl_get_uint32(env, argument[0], "channel", &index) || !fl_get_uint32(env, argument[1], "bytes", &bytes))
    return NULL;
  channel = fl_channel_find(index);
  if (channel && bytes <= FL_FRAME_BODY_MAX) {
    channel->decoder.body_max = bytes;
    return NULL;
  }
  fl_fail(&error, channel ? FL_ERR_BAD_LIMIT : FL_ERR_NO_INSTANCE, channel ? EINVAL : EBADF, "allowResponse", "channel %u, %u bytes", index, bytes);
  return fl_throw(env, &error);
}

/* startTiming(channel) */
static napi_value js_start_timing(napi_env env, napi_callback_info info)
{
  static const char *const names[FL_PHASES] = {
    [FL_PHASE_ACCEPT] = "accept", [FL_PHASE_CLONE] = "clone", [FL_PHASE_NAMESPACES] = "namespaces", [FL_PHASE_CGROUP] = "cgroup",
    [FL_PHASE_DESCRIPTORS] = "descriptors", [FL_PHASE_CREDENTIALS] = "credentials", [FL_PHASE_THREADS] = "threads", [FL_PHASE_SEAL] = "seal",
  };
  char text[FL_PHASES * 48];
  struct fl_channel *channel;
  napi_value argument[1], value = NULL;
  uint32_t index;
  int length = 0;

  if (!fl_arguments(env, info, 1, argument) || !fl_get_uint32(env, argument[0], "channel", &index))
    return NULL;
  channel = fl_channel_find(index);
  for (int phase = 0; channel && channel->started && phase < FL_PHASES; phase++) {
    uint64_t us = (channel->phase_ns[phase] + 500) / 1000;

    length += snprintf(text + length, sizeof text - (size_t)length, ", %s;dur=%lu.%03lu", names[phase], us / 1000, us % 1000);
  }
  napi_create_string_latin1(env, text, (size_t)length, &value);
  return value;
}

/* restLog(channel, stream) */
static napi_value js_rest_log(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  struct fl_channel *channel;
  napi_value argument[2];
  uint32_t index, stream;

  if (!fl_arguments(env, info, 2, argument) || !fl_get_uint32(env, argument[0], "channel", &index) || !fl_get_uint32(env, argument[1], "stream", &stream))
    return NULL;
  if (stream == 0 || stream > FL_LOG_STREAMS) {
    fl_fail(&error, FL_ERR_BAD_LIMIT, EINVAL, "restLog", "stream %u", stream);
    return fl_throw(env, &error);
  }
  if ((channel = fl_channel_find(index)))      /* its last lines come when it is being closed */
    fl_channel_rest_log(channel, (int)stream - 1);
  return NULL;
}

/* closeChannel(channel) */
static napi_value js_close_channel(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  struct fl_channel *channel;
  napi_value argument[1];
  uint32_t index;

  if (!fl_arguments(env, info, 1, argument) || !fl_get_uint32(env, argument[0], "channel", &index))
    return NULL;
  if (phase == STOPPED)                        /* all are closed: shutting down need not remember which */
    return NULL;
  channel = fl_channel_find(index);
  if (!channel) {
    fl_fail(&error, FL_ERR_NO_INSTANCE, EBADF, "closeChannel", "channel %u", index);
    return fl_throw(env, &error);
  }
  fl_channel_close(channel);
  return NULL;
}

NAPI_MODULE_INIT()
{
  static const struct { const char *name; napi_callback function; } functions[] = {
    { "start", js_start }, { "stop", js_stop }, { "openLifeline", js_open_lifeline }, { "tellReady", js_tell_ready }, { "tellAlive", js_tell_alive }, { "openControl", js_open_control },
    { "sendControl", js_send_control }, { "openChannel", js_open_channel }, { "allowResponse", js_allow_response }, { "startTiming", js_start_timing }, { "restLog", js_rest_log }, { "send", fl_js_send }, { "closeChannel", js_close_channel },
    { "memfd", fl_js_memfd }, { "exec", fl_js_exec }, { "confine", fl_js_confine }, { "peer", fl_js_peer }, { "landlock", fl_js_landlock },
    { "closeFd", fl_js_close_fd }, { "preferSuccessor", fl_js_prefer_successor }, { "preferShortTurns", fl_js_prefer_short_turns }, { "keepLane", fl_js_keep_lane },
    { "startPulse", fl_js_start_pulse }, { "stopPulse", fl_js_stop_pulse },
  };

  for (size_t index = 0; index < sizeof functions / sizeof functions[0]; index++) {
    napi_value value;

    if (napi_create_function(env, functions[index].name, NAPI_AUTO_LENGTH, functions[index].function, NULL, &value) != napi_ok ||
        napi_set_named_property(env, exports, functions[index].name, value) != napi_ok)
      return NULL;
  }
  return exports;
}
