/*
 * A stand-in for the supervisor and sandboxd:  fake_sandboxd COMMAND ARGUMENT…
 * It becomes COMMAND with a lifeline as descriptor 3; a child of it hands a control socket over and answers HELLO, CREATE, DESTROY and STATS (which ends
 * the control socket and hands over a new one). CREATE's `runtime` picks one of the behaviours below. There is no isolation: an instance is a mere fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <flashd/protocol.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum behaviour {                               /* mirrored in harness.ts */
  ECHO, GARBAGE, HUGE, CUT, BAD_HEADER, SLOW_READER, LOG_FLOOD, ID_ZERO, RESERVED, TWICE, FAULT, SILENT, EXIT_UNREAD, HOP_BY_HOP, TOO_LARGE, DRIBBLE,
  REVERSED, READY_FRAME, META_TOO_LONG, EARLY_FAULT, BAD_STATUS, CLOSE_LOGS, MANY_HEADERS, ODD_HEADERS, LARGE_META, SHUT_READ
};
enum { INSTANCES_MAX = 4096, REVERSED_COUNT = 8 };

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
    .length = (uint32_t)(meta_length + body_length), .meta_length = (uint32_t)meta_length, .id = request->frame.id, .type = FL_FRAME_RESPONSE,
    .aux = 200, .load_us = replies++ == 0 ? 5 : 0, .handler_us = 7,
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

#define META(text) text, sizeof text

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
      reply_with(request, META("Content-Length\0" "9\0Set-Cookie\0a=1\0transfer-encoding\0chunked\0set-cookie\0b=2\0Connection\0close\0x\0\xe9"), NULL, 0);
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

static void run_instance(enum behaviour behaviour)
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
      case GARBAGE: case HUGE: case CUT: case ID_ZERO: case RESERVED: case TWICE: case TOO_LARGE: case READY_FRAME: case META_TOO_LONG: case BAD_STATUS:
      case ODD_HEADERS:
        answer_wrongly(behaviour, &request);
        break;
      default:
        answer_oddly(behaviour, &request);
    }
    free(request.meta);
  }
}

/* --- the fake sandboxd --- */

static struct { uint64_t id; pid_t pid; uint64_t destroy_request; } instances[INSTANCES_MAX];
static uint64_t next_instance = 1;
static int control = -1, lifeline = -1;

static struct fl_header header(uint16_t type, uint16_t size, uint64_t request)
{
  return (struct fl_header){ .magic = FL_PROTOCOL_MAGIC, .version = FL_PROTOCOL_VERSION, .type = type, .size = size, .request = request };
}

static void reply(const void *packet, size_t size)
{
  if (send(control, packet, size, MSG_NOSIGNAL) < 0)
    _exit(0);                                  /* the test is over */
}

static void hand_over_control(void)
{
  union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } space = { 0 };
  struct iovec part = { .iov_base = "C", .iov_len = 1 };
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space };
  int pair[2];

  if (control >= 0)
    close(control);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    die("socketpair");
  control = pair[0];
  space.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
  memcpy(CMSG_DATA(&space.header), &pair[1], sizeof(int));
  if (sendmsg(lifeline, &message, MSG_NOSIGNAL) < 0)
    die("sendmsg");
  close(pair[1]);
}

static void create(const struct fl_create *packet, const int *fds, int count)
{
  struct fl_created created = { .header = header(FL_MSG_CREATED, sizeof created, packet->header.request) };
  struct fl_failed failed = { .header = header(FL_MSG_FAILED, sizeof failed, packet->header.request), .code = FL_MSG_FAILED };
  uint64_t slot = next_instance % INSTANCES_MAX;
  pid_t pid;

  if (count != FL_CREATE_DESCRIPTORS) {
    reply(&failed, sizeof failed);
  } else if ((pid = fork()) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    for (int index = 0; index < 3; index++)
      if (dup2(fds[index], index == 0 ? 1003 : index) < 0)
        die("dup2");
    dup2(1003, FL_DATA_FD);
    close_range(4, ~0u, 0);
    run_instance((enum behaviour)packet->runtime);
  } else {
    instances[slot].id = created.instance = next_instance++;
    instances[slot].pid = pid;
    created.pid = (uint32_t)pid;
    reply(&created, sizeof created);
  }
  for (int index = 0; index < count; index++)
    close(fds[index]);
}

static void reap(void)
{
  int status;

  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
    for (size_t index = 0; index < INSTANCES_MAX; index++) {
      if (instances[index].pid != pid)
        continue;
      struct fl_ended ended = {
        .header = header(FL_MSG_ENDED, sizeof ended, instances[index].destroy_request), .instance = instances[index].id,
        .how = WIFEXITED(status) ? FL_END_EXITED : FL_END_DESTROYED, .status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
      };
      memset(&instances[index], 0, sizeof instances[index]);
      reply(&ended, sizeof ended);
    }
}

static void receive(void)
{
  union { struct cmsghdr header; char bytes[CMSG_SPACE(8 * sizeof(int))]; } space;
  union { struct fl_header header; struct fl_create create; struct fl_destroy destroy; uint8_t bytes[FL_MESSAGE_MAX]; } packet;
  struct iovec part = { .iov_base = &packet, .iov_len = sizeof packet };
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space };
  struct fl_hello_ok hello = { .instances_max = INSTANCES_MAX };
  ssize_t got = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  struct cmsghdr *first = CMSG_FIRSTHDR(&message);
  int fds[8], count = 0;

  if (got <= 0)
    _exit(0);
  if (first) {
    count = (int)((first->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(first), (size_t)count * sizeof(int));
  }
  switch (packet.header.type) {
    case FL_MSG_HELLO:
      hello.header = header(FL_MSG_HELLO_OK, sizeof hello, packet.header.request);
      reply(&hello, sizeof hello);
      break;
    case FL_MSG_CREATE:
      create(&packet.create, fds, count);
      break;
    case FL_MSG_DESTROY:
      instances[packet.destroy.instance % INSTANCES_MAX].destroy_request = packet.header.request;
      if (instances[packet.destroy.instance % INSTANCES_MAX].pid > 0)
        kill(instances[packet.destroy.instance % INSTANCES_MAX].pid, SIGKILL);
      break;
    case FL_MSG_STATS:
      hand_over_control();
      break;
    default:
      die("unknown message");
  }
}

/* fake_sandboxd --notify PATH: prints the next datagram that comes to PATH ("@" begins an abstract name). */
static int print_notification(const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  size_t length = strlen(path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  char text[512];
  ssize_t got;

  memcpy(address.sun_path, path, length);
  if (path[0] == '@')
    address.sun_path[0] = 0;
  if (bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
    die("bind");
  puts("bound");
  fflush(stdout);
  got = recv(fd, text, sizeof text, 0);
  fwrite(text, 1, got > 0 ? (size_t)got : 0, stdout);
  return 0;
}

int main(int argc, char **argv)
{
  int pair[2];
  sigset_t children;

  if (argc < 2)
    return 100;
  if (argc == 3 && strcmp(argv[1], "--notify") == 0)
    return print_notification(argv[2]);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    die("socketpair");
  if (fork() > 0) {
    if (pair[1] == 3 ? fcntl(3, F_SETFD, 0) < 0 : dup2(pair[1], 3) < 0)
      die("dup2");
    close_range(4, ~0u, 0);
    execv(argv[1], argv + 1);
    die(argv[1]);
  }
  /* Its output would keep a waiting reader of the test's output waiting. */
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  close(pair[1]);
  lifeline = pair[0];
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  int child_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  hand_over_control();
  for (;;) {
    struct pollfd wait[] = { { .fd = control, .events = POLLIN }, { .fd = child_fd, .events = POLLIN }, { .fd = lifeline, .events = POLLIN } };
    struct signalfd_siginfo information;

    poll(wait, 3, -1);
    if (wait[2].revents & (POLLHUP | POLLERR))
      _exit(0);
    if (wait[1].revents) {
      while (read(child_fd, &information, sizeof information) > 0)
        continue;
      reap();
    }
    if (wait[0].revents)
      receive();
  }
}
