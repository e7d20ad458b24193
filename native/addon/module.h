/*
 * The addon's functions, as src/sandbox/addon.ts describes them. One event loop, one start per process.
 */
#ifndef FLASHD_MODULE_H
#define FLASHD_MODULE_H
#include <node_api.h>

/* send.c */
napi_value fl_js_send(napi_env env, napi_callback_info info);
/* process_module.c */
napi_value fl_js_memfd(napi_env env, napi_callback_info info);
napi_value fl_js_exec(napi_env env, napi_callback_info info);
napi_value fl_js_confine(napi_env env, napi_callback_info info);
napi_value fl_js_start_pulse(napi_env env, napi_callback_info info);
napi_value fl_js_stop_pulse(napi_env env, napi_callback_info info);
napi_value fl_js_peer(napi_env env, napi_callback_info info);
napi_value fl_js_landlock(napi_env env, napi_callback_info info);
napi_value fl_js_close_fd(napi_env env, napi_callback_info info);
napi_value fl_js_prefer_short_turns(napi_env env, napi_callback_info info);
napi_value fl_js_keep_lane(napi_env env, napi_callback_info info);
napi_value fl_js_prefer_successor(napi_env env, napi_callback_info info);
#endif
