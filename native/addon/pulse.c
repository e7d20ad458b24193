/* See pulse.h. */
#include "addon/pulse.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <uv.h>

#include "base/cleanup.h"

enum { PATIENCE_MS = 500, ANSWER_MAX = 4096, STACK_BYTES = 64 << 10 };
#define BEATS_FOR_NS 2000000000ull             /* after the last request */

static struct {
  bool running;
  uv_sem_t wake;
  _Atomic uint64_t used_ns;
  _Atomic bool asleep, stopped;
  uint64_t period_ns;
  struct sockaddr_storage address;
  socklen_t address_length;
  char request[FL_PULSE_REQUEST_MAX];
  size_t request_length;
} pulse;

static int reach(void)
{
  const struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 };
  const int yes = 1;
  int fd = socket(pulse.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return -1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, (struct sockaddr *)&pulse.address, pulse.address_length) < 0)
    fl_close(&fd);
  return fd;
}

/* An answer fits in one segment; what it says is of no interest. */
static void beat(int *fd)
{
  char answer[ANSWER_MAX];

  if (*fd < 0)
    *fd = reach();
  if (*fd >= 0 && (send(*fd, pulse.request, pulse.request_length, MSG_NOSIGNAL) != (ssize_t)pulse.request_length || recv(*fd, answer, sizeof answer, 0) <= 0))
    fl_close(fd);
}

static void run(void *unused)
{
  const struct timespec period = { .tv_sec = (time_t)(pulse.period_ns / 1000000000), .tv_nsec = (long)(pulse.period_ns % 1000000000) };
  int fd = -1;

  (void)unused;
  for (;;) {
    uint64_t quiet_ns;

    clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
    if (pulse.stopped)
      break;
    quiet_ns = uv_hrtime() - atomic_load(&pulse.used_ns);
    if (quiet_ns > BEATS_FOR_NS) {
      fl_close(&fd);
      pulse.asleep = true;
      uv_sem_wait(&pulse.wake);
    } else if (quiet_ns > pulse.period_ns) {
      beat(&fd);
    }
  }
  fl_close(&fd);
}

int fl_pulse_start(const char *host, uint16_t port, const char *request, size_t length, uint32_t period_ms, struct fl_error *err)
{
  const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
  const uv_thread_options_t options = { .flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = STACK_BYTES };
  struct addrinfo *found;
  uv_thread_t thread;
  char service[8];

  if (pulse.running || length > sizeof pulse.request)
    return fl_fail(err, FL_ERR_BAD_LIMIT, pulse.running ? EALREADY : EMSGSIZE, "pulse", NULL);
  snprintf(service, sizeof service, "%u", port);
  if (getaddrinfo(host, service, &hints, &found))
    return fl_fail(err, FL_ERR_SYSTEM, EADDRNOTAVAIL, "getaddrinfo", "%s is no numeric address", host);
  memcpy(&pulse.address, found->ai_addr, found->ai_addrlen);
  pulse.address_length = found->ai_addrlen;
  freeaddrinfo(found);
  memcpy(pulse.request, request, length);
  pulse.request_length = length;
  pulse.period_ns = period_ms * 1000000ull;
  if (uv_sem_init(&pulse.wake, 0))
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "uv_sem_init", NULL);
  if (uv_thread_create_ex(&thread, &options, run, NULL)) {
    uv_sem_destroy(&pulse.wake);
    return fl_fail(err, FL_ERR_SYSTEM, EAGAIN, "uv_thread_create", NULL);
  }
  pulse.running = true;
  return 0;
}

void fl_pulse_stop(void)
{
  if (!pulse.running)
    return;
  pulse.stopped = true;
  uv_sem_post(&pulse.wake);
}

void fl_pulse_used(uint64_t now_ns)
{
  atomic_store_explicit(&pulse.used_ns, now_ns, memory_order_relaxed);
  if (atomic_load_explicit(&pulse.asleep, memory_order_relaxed) && atomic_exchange(&pulse.asleep, false))
    uv_sem_post(&pulse.wake);
}
