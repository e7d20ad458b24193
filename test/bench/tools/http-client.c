/* A small HTTP client over kept-alive connections to 127.0.0.1, each with one request outstanding.
 *   http-client requests PORT PATH CONNECTIONS COUNT GAP_US [FIRST]   a line for each response: nanoseconds TAB x-flashd-start TAB server-timing; "#" elapsed nanoseconds at the end
 *                        a * in PATH stands for the number of the request, from FIRST (0) on; with one connection only
 *   http-client load PORT PATH CONNECTIONS WINDOWS WINDOW_MS  a line for each window: responses in it
 * Time runs from just before the request is written until the response's last byte has been read. One connection is read blocking, several through epoll.
 * Any status but 200, a response without Content-Length, and a closed connection end the run with status 1. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, RESPONSE_MAX = 65536, MARK_MAX = 512 };

struct connection {
  int fd;
  size_t used;
  int64_t sent_ns;
  char response[RESPONSE_MAX];
};

struct sample {
  int64_t duration_ns;
  char start[32];
  char timing[MARK_MAX];
};

static char request[2048];
static size_t request_size;
static struct connection connections[CONNECTIONS_MAX];

static int64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "http-client: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static int open_connection(int port) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int one = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) die("TCP_NODELAY");
  return fd;
}

static void make_request(int port, const char *path, long number) {
  const char *star = strchr(path, '*');
  char digits[24] = "";
  if (star) snprintf(digits, sizeof digits, "%ld", number);
  int before = star ? (int)(star - path) : (int)strlen(path);
  int size = snprintf(request, sizeof request, "GET %.*s%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: flashd-bench\r\nAccept: */*\r\n\r\n",
                      before, path, digits, star ? star + 1 : "", port);
  if (size >= (int)sizeof request) die("a path that is too long");
  request_size = size;
}

static void send_request(struct connection *c) {
  c->used = 0;
  c->sent_ns = now_ns();
  if (write(c->fd, request, request_size) != (ssize_t)request_size) die("write");
}

/* The value of a header in the NUL-terminated head, or NULL. */
static const char *header(const char *head, const char *name) {
  size_t length = strlen(name);
  for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
    const char *at = line + 2;
    if (!strncasecmp(at, name, length) && at[length] == ':') return at + length + 1 + strspn(at + length + 1, " ");
  }
  return NULL;
}

static void copy_header(char *to, size_t size, const char *head, const char *name) {
  const char *value = header(head, name);
  size_t length = value ? strcspn(value, "\r") : 0;
  if (length >= size) length = size - 1;
  if (length) memcpy(to, value, length);
  to[length] = 0;
}

/* Whether the response is complete; its marks go to ret_sample when there is one. */
static bool complete(struct connection *c, struct sample *ret_sample) {
  c->response[c->used] = 0;
  char *end = strstr(c->response, "\r\n\r\n");
  if (!end) return false;
  const char *length = header(c->response, "content-length");
  errno = 0;
  if (!length) die("a response without Content-Length");
  if (c->used < (size_t)(end + 4 - c->response) + strtoul(length, NULL, 10)) return false;
  int64_t now = now_ns();
  if (strncmp(c->response, "HTTP/1.1 200", 12)) die(c->response);
  if (ret_sample) {
    ret_sample->duration_ns = now - c->sent_ns;
    copy_header(ret_sample->start, sizeof ret_sample->start, c->response, "x-flashd-start");
    copy_header(ret_sample->timing, sizeof ret_sample->timing, c->response, "server-timing");
  }
  return true;
}

static void receive(struct connection *c) {
  if (c->used == RESPONSE_MAX - 1) die("a response that is too large");
  ssize_t got = read(c->fd, c->response + c->used, RESPONSE_MAX - 1 - c->used);
  if (got < 0) die("read");
  if (got == 0) die("the server closed the connection");
  c->used += got;
}

/* splitmix64: as good as random, and the same in each run. */
static long scattered(long number, long among) {
  uint64_t z = (uint64_t)number * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (long)((z ^ z >> 31) % (uint64_t)among);
}

/* among: 0, or how many numbers there are, of which each request has one at random. */
static void one_by_one(int port, const char *path, long first, long among, long count, long gap_us, struct sample *samples) {
  for (long i = 0; i < count; i++) {
    make_request(port, path, among ? scattered(first + i, among) : first + i);
    if (gap_us) usleep(gap_us);
    send_request(&connections[0]);
    do receive(&connections[0]);
    while (!complete(&connections[0], &samples[i]));
  }
}

static int watch_all(long count) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (long i = 0; i < count; i++) {
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &connections[i] };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event)) die("epoll_ctl");
  }
  return epoll;
}

static void at_once(long connection_count, long count, struct sample *samples) {
  struct epoll_event events[CONNECTIONS_MAX];
  int epoll = watch_all(connection_count);
  long sent = 0, done = 0;
  for (; sent < connection_count && sent < count; sent++) send_request(&connections[sent]);
  while (done < count) {
    int ready = epoll_wait(epoll, events, CONNECTIONS_MAX, -1);
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      receive(c);
      if (!complete(c, &samples[done])) continue;
      done++;
      if (sent < count) {
        send_request(c);
        sent++;
      }
    }
  }
  close(epoll);
}

static void load(long connection_count, long windows, long window_ms) {
  struct epoll_event events[CONNECTIONS_MAX];
  int epoll = watch_all(connection_count);
  for (long i = 0; i < connection_count; i++) send_request(&connections[i]);
  int64_t end = now_ns() + window_ms * 1000000;
  for (long window = 0, responses = 0; window < windows;) {
    int ready = epoll_wait(epoll, events, CONNECTIONS_MAX, -1);
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      receive(c);
      if (!complete(c, NULL)) continue;
      responses++;
      send_request(c);
    }
    if (now_ns() < end) continue;
    printf("%ld\n", responses);
    responses = 0;
    window++;
    end += window_ms * 1000000;
  }
  close(epoll);
}

int main(int argc, char **argv) {
  bool requests = argc >= 7 && argc <= 9 && !strcmp(argv[1], "requests");
  if (!requests && !(argc == 7 && !strcmp(argv[1], "load"))) {
    fprintf(stderr, "usage: http-client requests PORT PATH CONNECTIONS COUNT GAP_US [FIRST [AMONG]]\n       http-client load PORT PATH CONNECTIONS WINDOWS WINDOW_MS\n");
    return 100;
  }
  int port = atoi(argv[2]);
  long connection_count = atol(argv[4]), count = atol(argv[5]), last = atol(argv[6]);
  if (connection_count < 1 || connection_count > CONNECTIONS_MAX) die("too many connections");
  make_request(port, argv[3], 0);
  for (long i = 0; i < connection_count; i++) connections[i].fd = open_connection(port);
  if (!requests) {
    load(connection_count, count, last);
    return 0;
  }
  struct sample *samples = calloc(count, sizeof *samples);
  if (!samples) die("calloc");
  int64_t started = now_ns();
  if (connection_count == 1) one_by_one(port, argv[3], argc > 7 ? atol(argv[7]) : 0, argc > 8 ? atol(argv[8]) : 0, count, last, samples);
  else at_once(connection_count, count, samples);
  int64_t elapsed = now_ns() - started;
  for (long i = 0; i < count; i++) printf("%lld\t%s\t%s\n", (long long)samples[i].duration_ns, samples[i].start, samples[i].timing);
  printf("#%lld\n", (long long)elapsed);
  return 0;
}
