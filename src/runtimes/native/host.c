/*
 * The native runtime's host: boots once as a template, warms the loader and its own loop, writes READY and waits in poll() on descriptor 3. Every
 * instance is a fork that wakes up in that poll(): INIT loads /function/handler.so (flashd.h) or names an executable, REQUEST runs it.
 * A warm request costs one poll, one read and one writev, and no allocation unless it is the largest so far.
 * usage: host FUNCTION_DIRECTORY
 */
#include "host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#pragma GCC visibility push(hidden)

struct instance {
  int fd;
  const char *root;
  struct buffer in;                            /* in.length bytes received, from in.data on */
  struct flashd_response response;
  int (*handle)(const flashd_request *, flashd_response *);
  char path[4096];                             /* of an executable, else empty */
  int (*before_snapshot)(void), (*after_restore)(void);        /* the function's, or NULL */
  int fault;                                   /* of the load, or 0 */
  uint32_t load_us;
  char tail[TAIL_BYTES + 1];
};

struct config host_config;

static void send_all(int fd, struct iovec *parts, int count) {
  while (count) {
    ssize_t sent = writev(fd, parts, count);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) _exit(1);                    /* the gateway is gone, or the function closed the socket */
    for (; count && (size_t)sent >= parts->iov_len; parts++, count--) sent -= (ssize_t)parts->iov_len;
    if (!count) return;
    parts->iov_base = (char *)parts->iov_base + sent;
    parts->iov_len -= (size_t)sent;
  }
}

static void send_frame(struct instance *instance, uint16_t type, uint32_t id, uint32_t aux, struct iovec meta, struct iovec body, int64_t handler_us) {
  struct fl_frame frame = { .length = (uint32_t)(meta.iov_len + body.iov_len), .meta_length = (uint32_t)meta.iov_len, .id = id, .type = type, .aux = aux,
                            .load_us = instance->load_us, .handler_us = (uint32_t)handler_us };
  instance->load_us = 0;
  struct iovec parts[] = { { &frame, sizeof frame }, meta, body };
  send_all(instance->fd, parts, body.iov_len ? 3 : meta.iov_len ? 2 : 1);
}

static void send_fault(struct instance *instance, uint32_t id, int fault, int64_t handler_us) {
  static const char *const types[] = { "", "HandlerNotFound", "LoadError", "HandlerError", "ResponseError", "ExitError" };
  char meta[sizeof instance->response.error + TAIL_BYTES + 64];
  int length = snprintf(meta, sizeof meta, "%s%c%s%c%s", types[fault], 0, instance->response.error, 0, instance->tail) + 1;
  send_frame(instance, FL_FRAME_ERROR, id, (uint32_t)fault, (struct iovec){ meta, (size_t)length }, (struct iovec){ 0 }, handler_us);
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), end_length = strlen(end);
  return length >= end_length && !strcmp(text + length - end_length, end);
}

static __attribute__((format(printf, 3, 4))) void fail_load(struct instance *instance, int fault, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(instance->response.error, sizeof instance->response.error, format, arguments);
  va_end(arguments);
  instance->fault = fault;
}

static void load(struct instance *instance) {
  char path[sizeof instance->path];
  snprintf(path, sizeof path, "%s/%s", instance->root, host_config.handler);
  bool shared = ends_with(path, ".so");
  void *library = shared ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library && access(path, shared ? R_OK : X_OK))
    return fail_load(instance, FL_FAULT_NO_HANDLER, errno == ENOENT ? "%s does not exist" : shared ? "%s cannot be read" : "%s is not executable", host_config.handler);
  if (!shared) {
    signal(SIGPIPE, SIG_IGN);                  /* it may close its stdin early */
    memcpy(instance->path, path, sizeof path);
    return;
  }
  if (!library) return fail_load(instance, FL_FAULT_LOAD, "%s", dlerror());
  instance->handle = (int (*)(const flashd_request *, flashd_response *))dlsym(library, host_config.symbol);
  if (!instance->handle) return fail_load(instance, FL_FAULT_NO_HANDLER, "%s has no function %s", host_config.handler, host_config.symbol);
  instance->before_snapshot = (int (*)(void))dlsym(library, "flashd_before_snapshot");
  instance->after_restore = (int (*)(void))dlsym(library, "flashd_after_restore");
  int (*init)(void) = (int (*)(void))dlsym(library, "flashd_init");
  int status = init ? init() : 0;
  if (status) fail_load(instance, FL_FAULT_LOAD, "flashd_init returned %d", status);
}

static void restore(struct instance *instance) {
  int status = instance->after_restore && !instance->fault ? instance->after_restore() : 0;
  if (status) fail_load(instance, FL_FAULT_LOAD, "flashd_after_restore returned %d", status);
}

/* INIT. meta ends with a NUL. A load that failed is told to the first request, or to id 0 when none has come yet. */
static void start(struct instance *instance, const char *meta, const char *end, bool asked) {
  int64_t began = now_us();
  struct { const char *key; char **value; } known[] = { { "function=", &host_config.function }, { "version=", &host_config.version },
                                                        { "handler=", &host_config.handler }, { "symbol=", &host_config.symbol },
                                                        { "memory_bytes=", &host_config.memory_bytes } };
  for (; meta < end; meta += strlen(meta) + 1) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
      if (!strncmp(meta, known[i].key, strlen(known[i].key))) {
        free(*known[i].value);
        *known[i].value = strdup(meta + strlen(known[i].key));
      }
    if (!strncmp(meta, "env.", 4)) {
      char *name = strdup(meta + 4), *equals = strchr(name, '=');
      if (equals) {
        *equals = '\0';
        setenv(name, equals + 1, 1);
      }
      free(name);
    }
  }
  /* In a fork of a function template it is loaded. */
  if (!instance->handle && !instance->path[0] && !instance->fault) load(instance);
  else restore(instance);
  instance->load_us = (uint32_t)(now_us() - began);
  if (instance->fault && !asked) send_fault(instance, 0, instance->fault, 0);
}

static void answer(struct instance *instance, const struct fl_frame *frame, const char *meta) {
  const char *end = meta + frame->meta_length, *texts[5];
  for (int i = 0; i < 5; i++) {
    texts[i] = meta;
    meta += strlen(meta) + 1;
  }
  struct flashd_request request = { texts[0], texts[1], texts[2], texts[3], texts[4], meta, end, end, frame->length - frame->meta_length, 0 };
  struct flashd_response *response = &instance->response;
  if (instance->fault) return send_fault(instance, frame->id, instance->fault, 0);
  response_reset(response);
  instance->tail[0] = '\0';
  int64_t began = now_us();
  request.deadline_us = began + (int64_t)frame->aux * 1000;
  int fault = 0;
  if (frame->type != FL_FRAME_REQUEST) {
    int status = frame->type == FL_FRAME_FREEZE && instance->before_snapshot ? instance->before_snapshot() : 0;
    if (status) {
      fault = FL_FAULT_CALL;
      snprintf(response->error, sizeof response->error, "flashd_before_snapshot returned %d", status);
    }
    response->typed = true;
  } else if (instance->handle) {
    int result = instance->handle(&request, response);
    if (response->broken) fault = FL_FAULT_RESPONSE;
    else if (result) {
      fault = FL_FAULT_CALL;
      if (!response->error[0]) snprintf(response->error, sizeof response->error, "%s returned %d", host_config.symbol, result);
    }
  } else {
    fault = executable_run(instance->path, &request, response, instance->tail);
  }
  fflush(stdout);
  if (!fault && !response->typed && flashd_add_header(response, "content-type", "text/plain; charset=utf-8")) fault = FL_FAULT_RESPONSE;
  int64_t spent = now_us() - began;
  if (fault) return send_fault(instance, frame->id, fault, spent);
  send_frame(instance, FL_FRAME_RESPONSE, frame->id, (uint32_t)response->status, (struct iovec){ response->headers.data, response->headers.length },
             (struct iovec){ response->body.data, response->body.length }, spent);
}

/* Waits in poll() and not in read(): the gateway's own reads would wake a blocked reader for nothing. False at the end of the stream. */
static bool receive(struct instance *instance, size_t needed) {
  struct buffer *in = &instance->in;
  if (needed > in->length && !buffer_reserve(in, needed - in->length + 1, SIZE_MAX / 2)) _exit(1);
  while (in->length < needed) {
    struct pollfd ready = { instance->fd, POLLIN, 0 };
    if (poll(&ready, 1, -1) < 0) continue;
    ssize_t count = read(instance->fd, in->data + in->length, in->capacity - in->length - 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    in->length += (size_t)count;
  }
  return true;
}

static void serve(struct instance *instance) {
  struct buffer *in = &instance->in;
  struct fl_frame frame;
  while (receive(instance, sizeof frame)) {
    memcpy(&frame, in->data, sizeof frame);
    size_t size = sizeof frame + frame.length;
    if (frame.meta_length > frame.length || frame.length > (size_t)FL_FRAME_META_MAX + FL_FRAME_BODY_MAX || !receive(instance, size)) return;
    char *meta = in->data + sizeof frame, next = in->data[size];
    in->data[size] = '\0';                     /* a NUL after the body is part of the interface */
    if (frame.type == FL_FRAME_INIT) start(instance, meta, meta + frame.meta_length, in->length > size);
    else answer(instance, &frame, meta);
    in->data[size] = next;
    in->length -= size;
    if (in->length) memmove(in->data, in->data + size, in->length);
  }
}

static int handle_warmup(const flashd_request *request, flashd_response *response) {
  return flashd_header(request, "host") ? flashd_printf(response, "%s %s\n", flashd_method(request), flashd_path(request)) : 0;
}

/* The dynamic loader and the loop have run before the first fork: their pages and their branches are warm, the buffers have their size. */
static void warm(struct instance *instance) {
  static const char meta[] = "GET\0/\0a=b\0""127.0.0.1\0id\0host\0localhost";
  struct { struct fl_frame frame; char meta[sizeof meta]; } request = { .frame = { .length = sizeof meta, .meta_length = sizeof meta, .id = 1, .type = FL_FRAME_REQUEST } };
  memcpy(request.meta, meta, sizeof meta);
  if (!dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL)) fprintf(stderr, "%s\n", dlerror());
  for (int i = 0; i < 16; i++) {
    void *library = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) dlclose(library);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) _exit(1);
    instance->fd = ends[0];
    if (write(ends[1], &request, sizeof request.frame + sizeof meta) < 0 || shutdown(ends[1], SHUT_WR)) _exit(1);
    serve(instance);
    close(ends[0]);
    close(ends[1]);
  }
}

int main(int argc, char **argv) {
  static struct instance instance = { .handle = handle_warmup };
  if (argc != 2) {
    fprintf(stderr, "usage: host FUNCTION_DIRECTORY\n");
    return 100;
  }
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  unsetenv("GLIBC_TUNABLES");  /* it was this process's own */
  if (!buffer_reserve(&instance.in, 64 << 10, 64 << 10) || !buffer_reserve(&instance.response.body, 64 << 10, 64 << 10)) return 111;
  warm(&instance);
  instance.handle = NULL;
  instance.root = argv[1];
  instance.fd = FL_DATA_FD;
  send_frame(&instance, FL_FRAME_READY, 0, 0, (struct iovec){ 0 }, (struct iovec){ 0 }, 0);
  serve(&instance);
  return 0;
}
#pragma GCC visibility pop
