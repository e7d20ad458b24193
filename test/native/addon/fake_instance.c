/*
 * The behaviours of a fake instance: see fake_instance.h.
 */
#include "fake_instance.h"

#include <errno.h>
#include <flashd/frame.h>
#include <flashd/started.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REVERSED_COUNT = 8 };

struct request { struct fl_frame frame; uint8_t *meta, *body; size_t body_length; };

static size_t init_bytes;
static uint32_t replies;

static void die(const char *what)
{
  perror(what);
  _exit(111);
}

static void put(const void *bytes, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t sent = send(FL_DATA_FD, (const uint8_t *)bytes + done, size - done, MSG_NOSIGNAL);

    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      _exit(0);
    done += (size_t)sent;
  }
}

/* Waits in poll(), as a bootstrap does; `pace` bytes at a time. */
static void get(void *bytes, size_t size, size_t pace)
{
  for (size_t done = 0; done < size;) {
    struct pollfd wait = { .fd = FL_DATA_FD, .events = POLLIN };
    size_t want = pace && size - done > pace ? pace : size - done;
    ssize_t got = recv(FL_DATA_FD, (uint8_t *)bytes + done, want, MSG_DONTWAIT);

    if (got == 0)
      _exit(0);
    if (got < 0 && errno == EAGAIN)
      poll(&wait, 1, -1);
    else if (got < 0 && errno != EINTR)
      _exit(0);
    if (got > 0)
      done += (size_t)got;
    if (pace && got > 0)
      usleep(500);
  }
}

static void next_request(struct request *request, size_t pace)
{
  static uint8_t small[64 << 10];              /* usual requests arrive with one read */
  static size_t begin, end;

  for (;;) {
    uint8_t *payload;

    while (!pace && end - begin < sizeof request->frame) {
      struct pollfd wait = { .fd = FL_DATA_FD, .events = POLLIN };
      ssize_t got;

      memmove(small, small + begin, end - begin);
      end -= begin;
      begin = 0;
      poll(&wait, 1, -1);
      got = recv(FL_DATA_FD, small + end, sizeof small - end, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        _exit(0);
      end += got > 0 ? (size_t)got : 0;
    }
    if (pace) {
      get(&request->frame, sizeof request->frame, pace);
    } else {
      memcpy(&request->frame, small + begin, sizeof request->frame);
      begin += sizeof request->frame;
    }
    payload = malloc(request->frame.length + 1);
    if (!payload)
      die("malloc");
    size_t have = end - begin < request->frame.length ? end - begin : request->frame.length;
    memcpy(payload, small + begin, have);
    begin += have;
    get(payload + have, request->frame.length - have, pace);
    if (request->frame.type == FL_FRAME_REQUEST) {
      request->meta = payload;
      request->body = payload + request->frame.meta_length;
      request->body_length = request->frame.length - request->frame.meta_length;
      return;
    }
    init_bytes = request->frame.length;
    free(payload);
  }
}

static struct fl_frame reply_frame(const struct request *request, size_t meta_length, size_t body_length)
{
  return (struct fl_frame){
    .length = (uint32_t)(meta_length + body_length), .meta_length = (uint32_t)meta_length, .id = request->frame.id,
    .type = FL_FRAME_RESPONSE, .aux = 200, .load_us = replies++ == 0 ? 5 : 0, .handler_us = 7,
  };
}

static void reply_with(const struct request *request, const char *meta, size_t meta_length, const void *body, size_t body_length)
{
  struct fl_frame frame = reply_frame(request, meta_length, body_length);
  size_t total = sizeof frame + meta_length + body_length;
  uint8_t *bytes = malloc(total);

  if (!bytes)
    die("malloc");
  memcpy(bytes, &frame, sizeof frame);
  memcpy(bytes + sizeof frame, meta, meta_length);
  if (body_length > 0)
    memcpy(bytes + sizeof frame + meta_length, body, body_length);
  put(bytes, total);
  free(bytes);
}

static void echo(const struct request *request)
{
  static const char type[] = "content-type\0application/json";
  char meta[4096];
  size_t length = sizeof type;

  memcpy(meta, type, length);
  if (request->frame.meta_length > 0 && request->frame.meta_length < 64)
    length += (size_t)sprintf(meta + length, "x-meta%c%.*s", 0, (int)request->frame.meta_length, request->meta) + 1;
  if (replies == 0)
    length += (size_t)sprintf(meta + length, "x-init%c%zu", 0, init_bytes) + 1;
  reply_with(request, meta, length, request->body, request->body_length);
}

static void fault(const struct request *request, uint32_t id)
{
  static const char text[] = "TypeError\0caf\xc3\xa9 \xff\0at handler";
  struct fl_frame frame = reply_frame(request, sizeof text, 0);

  frame.type = FL_FRAME_ERROR;
  frame.id = id;
  frame.aux = FL_FAULT_CALL;
  put(&frame, sizeof frame);
  put(text, sizeof text);
}

static void flood(int fd, size_t bytes)
{
  static char line[65536];

  memset(line, 'l', sizeof line);
  for (size_t done = 0; done < bytes;) {
    ssize_t written = write(fd, line, bytes - done < sizeof line ? bytes - done : sizeof line);

    if (written < 0)
      return;
    done += (size_t)written;
  }
}

static void headers(const struct request *request, size_t count, size_t value_bytes)
{
  char *meta = malloc(count * (value_bytes + 8)), *at = meta;

  for (size_t index = 0; index < count; index++) {
    at += sprintf(at, "x-%03zu", index) + 1;
    memset(at, 'v', value_bytes);
    at += value_bytes;
    *at++ = 0;
  }
  reply_with(request, meta, (size_t)(at - meta), NULL, 0);
  free(meta);
}

static uint64_t now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The last phase ends when nobody can know yet. */
static void tell_start(size_t meta_bytes)
{
  struct { struct fl_frame head; struct fl_started meta; } frame = {
      {.length = (uint32_t)meta_bytes, .meta_length = (uint32_t)meta_bytes, .type = FL_FRAME_STARTED}, {.end_ns[FL_PHASE_SEAL] = UINT64_MAX}};

  frame.meta.end_ns[FL_PHASE_ACCEPT] = now_ns();
  usleep(2000);
  frame.meta.end_ns[FL_PHASE_DESCRIPTORS] = now_ns();
  put(&frame, sizeof frame.head + meta_bytes);
}

#define META(text) text, sizeof text

/* The end of a response that may not be sent and the next response arrive with one read. */
static void bad_then_good(const struct request *request)
{
  static const char meta[] = "x-evil\0a\r\nb", good[] = "good";
  enum { BODY = 50000 };
  static uint8_t bytes[2 * FL_FRAME_HEADER_BYTES + sizeof meta + BODY + sizeof good];
  struct fl_frame frame = reply_frame(request, sizeof meta, BODY);

  if (request->frame.id % 2 != 0)
    return;
  frame.id = request->frame.id - 1;
  memcpy(bytes, &frame, sizeof frame);
  memcpy(bytes + sizeof frame, meta, sizeof meta);
  frame = reply_frame(request, 0, sizeof good);
  memcpy(bytes + sizeof frame + sizeof meta + BODY, &frame, sizeof frame);
  memcpy(bytes + 2 * sizeof frame + sizeof meta + BODY, good, sizeof good);
  put(bytes, 40000);
  usleep(20000);
  put(bytes + 40000, sizeof bytes - 40000);
}

/* Sound frames whose content is wrong, odd timing, logs. */
static void answer_oddly(enum behaviour behaviour, struct request *request)
{
  static struct request held[REVERSED_COUNT];
  static size_t held_count;
  bool answering = false;

  switch (behaviour) {
    case BAD_HEADER:
      if (request->body_length > 0)
        reply_with(request, META("x-evil\0a\r\nset-cookie: b"), "body", 4);
      else
        echo(request);
      break;
    case LOG_FLOOD:
      flood(1, 4 << 20);
      flood(2, 10);
      echo(request);
      break;
    case CLOSE_LOGS:
      flood(1, 3);
      close(1);
      close(2);
      echo(request);
      break;
    case HOP_BY_HOP:
      reply_with(request, META("Content-Length\0" "9\0Set-Cookie\0a=1\0transfer-encoding\0chunked\0set-cookie\0b=2\0Connection\0close\0x\0\xe9"),
                 NULL, 0);
      break;
    case MANY_HEADERS:
      headers(request, 129, 1);
      break;
    case LARGE_META:
      headers(request, 100, 1000);
      break;
    case REVERSED:
      held[held_count++] = *request;
      request->meta = NULL;
      for (; held_count == REVERSED_COUNT || (answering && held_count > 0); held_count--) {
        answering = held_count > 1;
        echo(&held[held_count - 1]);
      }
      break;
    case FAULT:
      fault(request, request->frame.id);
      break;
    case EARLY_FAULT:
      fault(request, 0);
      fault(request, request->frame.id);
      break;
    case BAD_THEN_GOOD:
      bad_then_good(request);
      break;
    case OUT_OF_BAND:
      echo(request);
      if (replies == 1)                        /* a second such byte would turn the first into an ordinary one */
        send(FL_DATA_FD, "!", 1, MSG_OOB | MSG_NOSIGNAL);
      break;
    case TELLS_START:
      if (replies == 0)
        tell_start(sizeof(struct fl_started));
      echo(request);
      break;
    case TELLS_START_LATE:
      echo(request);
      tell_start(sizeof(struct fl_started));
      break;
    case TELLS_START_TWICE:
      tell_start(sizeof(struct fl_started));
      tell_start(sizeof(struct fl_started));
      break;
    case TELLS_START_SHORT:
      tell_start(sizeof(struct fl_started) - 8);
      break;
    case SHUT_READ:
      shutdown(FL_DATA_FD, SHUT_RD);
      usleep(100000);
      echo(request);
      break;
    default:
      echo(request);
  }
}

/* Frames that break the protocol. */
static void answer_wrongly(enum behaviour behaviour, struct request *request)
{
  struct fl_frame frame = reply_frame(request, 0, 100);

  switch (behaviour) {
    case GARBAGE:
      put("GET / HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/1.1\r\n", 51);
      break;
    case HUGE:
      frame.length = 0xffffffff;
      put(&frame, sizeof frame);
      break;
    case TOO_LARGE:
      frame.length = (8u << 20) + 1;
      put(&frame, sizeof frame);
      break;
    case CUT:
      put(&frame, sizeof frame);
      put("half of it", 10);
      _exit(3);
    case BEGINS_UNASKED:
      echo(request);
      put(&frame, sizeof frame);
      break;
    case BEGINS:
      frame.length = (8u << 20) - 4096;
      put(&frame, sizeof frame);
      put("part of it", 10);
      break;
    case ID_ZERO:
      frame.id = frame.length = 0;
      put(&frame, sizeof frame);
      break;
    case RESERVED:
      frame.reserved = 1;
      put(&frame, sizeof frame);
      break;
    case READY_FRAME:
      frame.type = FL_FRAME_READY;
      put(&frame, sizeof frame);
      break;
    case META_TOO_LONG:
      frame.meta_length = 101;
      put(&frame, sizeof frame);
      break;
    case BAD_STATUS:
      frame.length = 0;
      frame.aux = 101;
      put(&frame, sizeof frame);
      break;
    case ODD_HEADERS:
      reply_with(request, META("lonely"), NULL, 0);
      break;
    case TWICE:
      echo(request);
      echo(request);
      break;
    case EXIT_UNREAD:
      _exit(0);
    default:
      break;
  }
}

static void dribble(const struct request *request)
{
  struct fl_frame frame = reply_frame(request, 4, request->body_length);

  for (size_t index = 0; index < sizeof frame; index++) {
    put((uint8_t *)&frame + index, 1);
    usleep(200);
  }
  for (size_t index = 0; index < 4; index++)
    put(&"a\0b"[index], 1);
  for (size_t index = 0; index < request->body_length; index += 7)
    put(request->body + index, request->body_length - index < 7 ? request->body_length - index : 7);
}

void run_instance(enum behaviour behaviour)
{
  for (;;) {
    struct request request;

    if (behaviour == EXIT_UNREAD) {
      poll(&(struct pollfd){ .fd = FL_DATA_FD, .events = POLLIN }, 1, -1);
      _exit(0);
    }
    next_request(&request, behaviour == SLOW_READER ? 256 << 10 : 0);
    switch (behaviour) {
      case ECHO: case SLOW_READER:
        echo(&request);
        break;
      case DRIBBLE:
        dribble(&request);
        break;
      case SILENT:
        break;
      case GARBAGE: case HUGE: case CUT: case ID_ZERO: case RESERVED: case TWICE: case TOO_LARGE: case READY_FRAME: case META_TOO_LONG:
      case BAD_STATUS: case ODD_HEADERS: case BEGINS: case BEGINS_UNASKED:
        answer_wrongly(behaviour, &request);
        break;
      default:
        answer_oddly(behaviour, &request);
    }
    free(request.meta);
  }
}
