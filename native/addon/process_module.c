/*
 * The functions of the addon that need no event loop: memfd, exec, confine, peer, landlock, closeFd, preferSuccessor, preferShortTurns, keepLane, startPulse, stopPulse.
 */
#include "addon/module.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon/gateway_filter.h"
#include "addon/process.h"
#include "addon/pulse.h"
#include "addon/values.h"

napi_value fl_js_memfd(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[2];
  const uint8_t *bytes;
  size_t length;
  char *name;
  int fd;

  if (!fl_arguments(env, info, 2, argument) || !fl_get_bytes(env, argument[1], "bytes", &bytes, &length) ||
      !fl_get_text(env, argument[0], "name", &name))
    return NULL;
  fd = fl_memfd(name, bytes, length, &error);
  free(name);
  return fd < 0 ? fl_throw(env, &error) : fl_int(env, fd);
}

napi_value fl_js_exec(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  char **argv = NULL, **envp = NULL;
  napi_value argument[4];
  size_t keep_count;
  int fd, *keep = NULL;

  if (fl_arguments(env, info, 4, argument) && fl_get_fd(env, argument[0], "fd", &fd) && fl_get_texts(env, argument[1], "argv", &argv) &&
      fl_get_texts(env, argument[2], "env", &envp) && fl_get_fds(env, argument[3], "keepFds", &keep, &keep_count)) {
    fl_exec(fd, argv, envp, keep, keep_count, &error);
    fl_throw(env, &error);
  }
  fl_free_texts(argv);
  fl_free_texts(envp);
  free(keep);
  return NULL;
}

napi_value fl_js_confine(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  int count = fl_gateway_filter_apply(&error);

  (void)info;
  return count < 0 ? fl_throw(env, &error) : fl_int(env, count);
}

napi_value fl_js_start_pulse(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  uint32_t port, period_ms;
  napi_value argument[4];
  const uint8_t *request;
  size_t length;
  char *host;
  int result;

  if (!fl_arguments(env, info, 4, argument) || !fl_get_uint32(env, argument[1], "port", &port) || !fl_get_bytes(env, argument[2], "request", &request, &length) ||
      !fl_get_uint32(env, argument[3], "periodMs", &period_ms) || !fl_get_text(env, argument[0], "host", &host))
    return NULL;
  if (port == 0 || port > UINT16_MAX || period_ms == 0)
    result = fl_fail(&error, FL_ERR_BAD_LIMIT, ERANGE, "startPulse", "port %u, period %u ms", port, period_ms);
  else
    result = fl_pulse_start(host, (uint16_t)port, (const char *)request, length, period_ms, &error);
  free(host);
  return result < 0 ? fl_throw(env, &error) : NULL;
}

napi_value fl_js_stop_pulse(napi_env env, napi_callback_info info)
{
  (void)env;
  (void)info;
  fl_pulse_stop();
  return NULL;
}

napi_value fl_js_peer(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[1], value = NULL, field;
  struct ucred peer;
  int fd;

  if (!fl_arguments(env, info, 1, argument) || !fl_get_fd(env, argument[0], "fd", &fd))
    return NULL;
  if (fl_peer(fd, &peer, &error) < 0)
    return fl_throw(env, &error);
  napi_create_object(env, &value);
  napi_create_int32(env, peer.pid, &field);
  napi_set_named_property(env, value, "pid", field);
  napi_create_uint32(env, peer.uid, &field);
  napi_set_named_property(env, value, "uid", field);
  napi_create_uint32(env, peer.gid, &field);
  napi_set_named_property(env, value, "gid", field);
  return value;
}

napi_value fl_js_landlock(napi_env env, napi_callback_info info)
{
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  napi_value value = NULL;

  (void)info;
  napi_create_int32(env, version > 0 ? (int32_t)version : 0, &value);
  return value;
}

napi_value fl_js_close_fd(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[1];
  int fd;

  if (!fl_arguments(env, info, 1, argument) || !fl_get_fd(env, argument[0], "fd", &fd))
    return NULL;
  if (close(fd) < 0) {
    fl_fail_errno(&error, "close");
    return fl_throw(env, &error);
  }
  return NULL;
}

napi_value fl_js_prefer_short_turns(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };

  (void)info;
  return fl_prefer_short_turns(&error) < 0 ? fl_throw(env, &error) : NULL;
}

napi_value fl_js_keep_lane(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[1], value = NULL;
  bool open;
  int result;

  if (!fl_arguments(env, info, 1, argument))
    return NULL;
  if (napi_get_value_bool(env, argument[0], &open) != napi_ok) {
    napi_throw_type_error(env, NULL, "open: a boolean");
    return NULL;
  }
  result = fl_keep_lane(open, &error);
  if (result < 0)
    return fl_throw(env, &error);
  napi_get_boolean(env, result, &value);
  return value;
}

napi_value fl_js_prefer_successor(napi_env env, napi_callback_info info)
{
  struct fl_error error = { 0 };
  napi_value argument[1];
  uint32_t port;

  if (!fl_arguments(env, info, 1, argument) || !fl_get_uint32(env, argument[0], "port", &port))
    return NULL;
  return fl_prefer_successor((uint16_t)port, &error) < 0 ? fl_throw(env, &error) : NULL;
}
