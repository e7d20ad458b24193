/*
 * Any executable as a function: one process per request, CGI/1.1 style. The body is its stdin, its stdout the response, its stderr the log.
 * When stdout begins with "Status:" or "Content-Type:", the lines up to the first empty one are headers.
 *
 *   body ──▶ stdin   ┌─────────┐   stdout ──▶ response.body (cut off with a fault at the frame's limit)
 *                    │ process │   stderr ──▶ descriptor 2, and its last 2 KiB into the error
 *   pidfd: the end   └─────────┘   what it left running in the background does not hold the response up
 */
#include "host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#pragma GCC visibility push(hidden)

enum { IN, OUT, ERR, END, WATCHED };

static void add_variable(struct buffer *text, const char *name, const char *value) {
  buffer_append(text, name, strlen(name), SIZE_MAX / 2);
  buffer_append(text, "=", 1, SIZE_MAX / 2);
  buffer_append(text, value, strlen(value) + 1, SIZE_MAX / 2);
}

static int hex(char digit) {
  return isdigit((unsigned char)digit) ? digit - '0' : isxdigit((unsigned char)digit) ? (digit | 32) - 'a' + 10 : -1;
}

static void add_path(struct buffer *text, const char *path) {
  buffer_append(text, "PATH_INFO=", 10, SIZE_MAX / 2);
  for (; *path; path++) {
    char byte = *path;
    if (byte == '%' && hex(path[1]) >= 0 && hex(path[2]) >= 0 && (path[1] != '0' || path[2] != '0')) {
      byte = (char)(hex(path[1]) * 16 + hex(path[2]));
      path += 2;
    }
    buffer_append(text, &byte, 1, SIZE_MAX / 2);
  }
  buffer_append(text, "", 1, SIZE_MAX / 2);
}

/* Variables of the request as NUL-terminated text, then the vector over them and the function's own environment. */
static char **make_environment(const struct flashd_request *request, struct buffer *text) {
  char number[32], name[256];
  const char *header, *value;
  text->length = 0;
  add_variable(text, "GATEWAY_INTERFACE", "CGI/1.1");
  add_variable(text, "SERVER_PROTOCOL", "HTTP/1.1");
  add_variable(text, "SERVER_SOFTWARE", "flashd");
  add_variable(text, "REQUEST_METHOD", request->method);
  add_variable(text, "QUERY_STRING", request->query);
  add_variable(text, "REMOTE_ADDR", request->client);
  add_variable(text, "REQUEST_ID", request->id);
  add_path(text, request->path);
  snprintf(number, sizeof number, "%zu", request->body_length);
  add_variable(text, "CONTENT_LENGTH", number);
  snprintf(number, sizeof number, "%lld", (long long)flashd_remaining_ms(request));
  add_variable(text, "REMAINING_MS", number);
  snprintf(number, sizeof number, "%lld", (long long)flashd_memory_mb());
  add_variable(text, "MEMORY_MB", number);
  add_variable(text, "FUNCTION_NAME", host_config.function);
  add_variable(text, "FUNCTION_VERSION", host_config.version);
  for (size_t i = 0; flashd_header_at(request, i, &header, &value); i++) {
    if (!strcasecmp(header, "content-type")) add_variable(text, "CONTENT_TYPE", value);
    /* A client must not be able to set HTTP_PROXY. */
    if (!strcasecmp(header, "content-type") || !strcasecmp(header, "content-length") || !strcasecmp(header, "proxy")) continue;
    int length = snprintf(name, sizeof name, "HTTP_%s", header);
    if (length >= (int)sizeof name) continue;
    for (char *at = name; *at; at++) *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    add_variable(text, name, value);
  }
  size_t own = 0, count = 0;
  while (environ[own]) own++;
  for (size_t i = 0; i < text->length; i++) count += !text->data[i];
  char **vector = calloc(own + count + 1, sizeof *vector), **at = vector;
  if (!vector) return NULL;
  for (char *variable = text->data; variable < text->data + text->length; variable += strlen(variable) + 1) *at++ = variable;
  memcpy(at, environ, own * sizeof *vector);
  return vector;
}

static int spawn(const char *path, char **environment, int child[3], pid_t *ret_pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t pipe_signal, none;
  sigemptyset(&none);
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  for (int i = 0; i < 3; i++) posix_spawn_file_actions_adddup2(&actions, child[i], i);
  posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  char *argv[] = { (char *)path, NULL };
  int status = posix_spawn(ret_pid, path, &actions, &attributes, argv, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return status;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void keep_tail(char tail[TAIL_BYTES + 1], const char *bytes, size_t length) {
  size_t have = strlen(tail), kept = length < TAIL_BYTES ? length : TAIL_BYTES, drop = have + kept > TAIL_BYTES ? have + kept - TAIL_BYTES : 0;
  memmove(tail, tail + drop, have - drop);
  have -= drop;
  for (size_t i = 0; i < kept; i++) tail[have + i] = bytes[length - kept + i] ? bytes[length - kept + i] : ' ';
  tail[have + kept] = '\0';
}

/* Takes what there is. False at the end of the stream. */
static bool drain(int fd, bool is_log, struct flashd_response *response, char *tail) {
  char chunk[32 << 10];
  ssize_t count;
  while ((count = read(fd, chunk, sizeof chunk)) > 0) {
    if (!is_log) {
      if (flashd_write(response, chunk, (size_t)count)) return false;
      continue;
    }
    for (ssize_t at = 0, wrote; at < count && (wrote = write(STDERR_FILENO, chunk + at, (size_t)(count - at))) > 0;) at += wrote;
    keep_tail(tail, chunk, (size_t)count);
  }
  return count < 0 && (errno == EAGAIN || errno == EINTR);
}

static void exchange(int watched[WATCHED], const struct flashd_request *request, struct flashd_response *response, char *tail) {
  size_t sent = 0;
  bool ended = false;
  while (!ended && !response->broken && (watched[END] >= 0 || watched[OUT] >= 0 || watched[ERR] >= 0)) {
    if (sent == request->body_length) close_fd(&watched[IN]);
    struct pollfd ready[WATCHED] = { { watched[IN], POLLOUT, 0 }, { watched[OUT], POLLIN, 0 }, { watched[ERR], POLLIN, 0 }, { watched[END], POLLIN, 0 } };
    if (poll(ready, WATCHED, -1) < 0) continue;
    ended = ready[END].revents;
    if (ready[IN].revents) {
      ssize_t count = write(watched[IN], request->body + sent, request->body_length - sent);
      if (count > 0) sent += (size_t)count;
      else if (errno != EAGAIN && errno != EINTR) sent = request->body_length; /* it does not want the rest */
    }
    for (int i = OUT; i <= ERR; i++)
      if ((ready[i].revents || (ended && watched[i] >= 0)) && !drain(watched[i], i == ERR, response, tail)) close_fd(&watched[i]);
  }
}

/* Moves a leading header block from the body to the headers. */
static int take_headers(struct flashd_response *response) {
  struct buffer *body = &response->body;
  if (!buffer_append(body, "", 1, FL_FRAME_BODY_MAX + 1)) return response_refuse(response, "the response is too large");
  body->length--;
  if (strncasecmp(body->data, "Status:", 7) && strncasecmp(body->data, "Content-Type:", 13)) return 0;
  char *line = body->data, *end = body->data + body->length;
  for (;;) {
    char *stop = memchr(line, '\n', (size_t)(end - line));
    if (!stop) return response_refuse(response, "the header block has no empty line at its end");
    char *next = stop + 1;
    if (stop > line && stop[-1] == '\r') stop--;
    *stop = '\0';
    if (stop == line) {
      body->length = (size_t)(end - next);
      memmove(body->data, next, body->length);
      return 0;
    }
    char *colon = strchr(line, ':');
    if (!colon) return response_refuse(response, "the header block has a line without a colon");
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    if (strcasecmp(line, "status") ? flashd_add_header(response, line, value) : flashd_status(response, atoi(value))) return -1;
    line = next;
  }
}

static int fail(struct flashd_response *response, int fault, const char *what, const char *why) {
  snprintf(response->error, sizeof response->error, "%s: %s", what, why);
  return fault;
}

int executable_run(const char *path, const struct flashd_request *request, struct flashd_response *response, char tail[TAIL_BYTES + 1]) {
  static struct buffer text;                   /* kept between requests */
  int child[3] = { -1, -1, -1 }, watched[WATCHED] = { -1, -1, -1, -1 }, status = 0, fault = 0;
  pid_t pid;
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) fault = fail(response, FL_FAULT_EXIT, "pipe", strerror(errno));
    else {
      child[i] = ends[i == IN ? 0 : 1];
      watched[i] = ends[i == IN ? 1 : 0];
      fcntl(watched[i], F_SETFL, O_NONBLOCK);
    }
  }
  char **environment = fault ? NULL : make_environment(request, &text);
  int failed = environment ? spawn(path, environment, child, &pid) : ENOMEM;
  free(environment);
  for (int i = 0; i < 3; i++) close_fd(&child[i]);
  if (!fault && failed) fault = fail(response, failed == EAGAIN || failed == ENOMEM ? FL_FAULT_EXIT : FL_FAULT_LOAD, "it cannot be executed", strerror(failed));
  if (!fault) {
    watched[END] = pidfd_open(pid, 0);
    exchange(watched, request, response, tail);
    if (response->broken) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    char why[64];
    snprintf(why, sizeof why, "%d", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (response->broken || (!status && take_headers(response))) fault = FL_FAULT_RESPONSE;
    else if (status) fault = fail(response, FL_FAULT_EXIT, WIFSIGNALED(status) ? "it was killed by signal" : "it exited with status", why);
  }
  for (int i = 0; i < WATCHED; i++) close_fd(&watched[i]);
  return fault;
}
#pragma GCC visibility pop
