/*
 * A stand-in for the supervisor and sandboxd:  fake_sandboxd COMMAND ARGUMENT…
 * It becomes COMMAND with a lifeline as descriptor 3; a child of it hands a control socket over and answers HELLO, CREATE, DESTROY and STATS
 * (which ends the control socket and hands over a new one). CREATE's `runtime` picks a behaviour of fake_instance.h. There is no isolation:
 * an instance is a mere fork.
 */
#include <fcntl.h>
#include <flashd/frame.h>
#include <flashd/protocol.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_instance.h"

enum { INSTANCES_MAX = 4096 };

static void die(const char *what)
{
  perror(what);
  _exit(111);
}

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

int main(int argc, char **argv)
{
  int pair[2];
  sigset_t children;

  if (argc < 2)
    return 100;
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
    struct pollfd wait[] = { { control, POLLIN, 0 }, { child_fd, POLLIN, 0 }, { lifeline, POLLIN, 0 } };
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
