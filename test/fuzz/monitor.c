/*
 * What stands at the other end of an intercepted instance's link: anything. The monitor itself runs here, without its process: the input says which links are made, what is sent through them, with which descriptors, and when they
 * are closed; between, the monitor has its turns. Whatever comes, every watch is over in the end, and no descriptor is left.
 *
 *   each byte:  1 attach, the listener to be taken   4 the same, to be sent   2 bytes   3 close   else a turn; the next byte says which link, for 2 the two after it how many bytes and which descriptor goes with them
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../native/intercept/monitor.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINKS = 4, TURNS_MAX = 64 };
enum { WITH_NOTHING, WITH_FILE, WITH_PIDFD, WITH_DEAD_PIDFD, WITH_TWO, WITH_KINDS };

static int dead_pidfd(void)
{
  pid_t pid = fork();

  if (pid == 0)
    _exit(0);
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  waitpid(pid, NULL, 0);
  return pidfd;
}

/* A descriptor of our own that the hello may name: the monitor's own, in the worst case. */
static int attached(int kind, int fds[2])
{
  static int file, own, dead;

  if (!own) {
    file = memfd_create("file", MFD_CLOEXEC);
    own = (int)syscall(SYS_pidfd_open, getpid(), 0);
    dead = dead_pidfd();
  }
  fds[0] = kind == WITH_PIDFD ? own : kind == WITH_DEAD_PIDFD ? dead : file;
  fds[1] = own;
  return kind == WITH_NOTHING ? 0 : kind == WITH_TWO ? 2 : 1;
}

static unsigned open_descriptors(void)
{
  DIR *list = opendir("/proc/self/fd");
  unsigned count = 0;

  while (readdir(list))
    count++;
  closedir(list);
  return count;
}

static void turn(struct fl_monitor *monitor)
{
  struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(monitor->epoll, events, EVENTS_MAX, 0);

  for (int i = 0; i < count; i++)
    dispatch(monitor, &events[i]);
  tidy(monitor);
}

static void attach_link(struct fl_monitor *monitor, int sandboxd, uint32_t knocks, int *link)
{
  struct fl_attach request = {.instance = 1, .knocks = knocks};
  int pair[2];

  if (*link >= 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    return;
  if (fl_packet_send(sandboxd, &request, sizeof request, &pair[1], 1) < 0)
    abort();
  close(pair[1]);
  *link = pair[0];
  turn(monitor);
}

static void run(struct fl_monitor *monitor, int sandboxd, const uint8_t *data, size_t size)
{
  int link[LINKS] = {-1, -1, -1, -1}, fds[2];

  for (size_t at = 0; at + 1 < size; at += 2) {
    int *to = &link[data[at + 1] % LINKS];

    if (data[at] == 1 || data[at] == 4) {
      attach_link(monitor, sandboxd, data[at] == 1 ? FL_MONITOR_KNOCKS : 0, to);
    } else if (data[at] == 2 && at + 4 <= size) {
      size_t bytes = data[at + 2] <= size - at - 4 ? data[at + 2] : size - at - 4;

      if (*to >= 0 && bytes > 0)
        fl_packet_send(*to, data + at + 4, bytes, fds, (size_t)attached(data[at + 3] % WITH_KINDS, fds));
      at += 2 + bytes;
    } else if (data[at] == 3) {
      fl_close(to);
    } else {
      turn(monitor);
    }
  }
  for (int i = 0; i < LINKS; i++)
    fl_close(&link[i]);
}

/* What it told sandboxd: of instances that cannot be watched, and nothing else. */
static void read_told(int sandboxd)
{
  struct fl_syscall event;
  ssize_t size;

  while ((size = recv(sandboxd, &event, sizeof event, MSG_DONTWAIT)) > 0)
    if (size != (ssize_t)sizeof event || event.header.type != FL_MSG_SYSCALL || event.verdict != 0 || event.instance != 1)
      abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct fl_monitor monitor = {.finished = -1, .done = -1, .proc = -1, .self = -1};
  int pair[2], fds[2];

  attached(WITH_NOTHING, fds);                   /* made once, and kept */
  unsigned before = open_descriptors();
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    abort();
  monitor.socket = pair[0];
  monitor.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (monitor.epoll < 0 || add(&monitor, monitor.socket, (void *)&monitor.socket) < 0)
    abort();
  run(&monitor, pair[1], data, size);
  for (int turns = 0; !LIST_EMPTY(&monitor.watches) && turns < TURNS_MAX; turns++)
    turn(&monitor);
  if (!LIST_EMPTY(&monitor.watches))
    abort();
  read_told(pair[1]);
  close(monitor.epoll);
  close(pair[0]);
  close(pair[1]);
  if (open_descriptors() != before)
    abort();
  return 0;
}
