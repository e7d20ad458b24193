/* first-output COUNT GAP_US COMMAND…: starts the command COUNT times, one after the other, and prints the nanoseconds from just before each start to the first
 * byte on its stdout. The command's end is waited for outside of the measured time; GAP_US passes between an end and the next start. A command that
 * fails or says nothing ends the run with status 1. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void die(const char *what, int error) {
  fprintf(stderr, "first-output: %s: %s\n", what, strerror(error));
  exit(1);
}

static void check(const char *what, int error) {
  if (error) die(what, error);
}

/* Everything that it says after the first byte is read too: it must not be hurt by a pipe that nobody reads. */
static int64_t first_byte(int fd) {
  char buffer[4096];
  int64_t first = 0;
  for (;;) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) die("read", errno);
    if (got == 0) return first;
    if (!first) first = now_ns();
  }
}

static int64_t sample(char **command) {
  int pipe_fds[2], status;
  pid_t pid;
  posix_spawn_file_actions_t actions;
  if (pipe2(pipe_fds, O_CLOEXEC)) die("pipe2", errno);
  check("actions", posix_spawn_file_actions_init(&actions));
  check("actions", posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0));
  check("actions", posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1));

  int64_t started = now_ns();
  check(command[0], posix_spawn(&pid, command[0], &actions, NULL, command, environ));
  close(pipe_fds[1]);
  int64_t first = first_byte(pipe_fds[0]);

  close(pipe_fds[0]);
  posix_spawn_file_actions_destroy(&actions);
  if (waitpid(pid, &status, 0) < 0) die("waitpid", errno);
  if (status || !first) {
    fprintf(stderr, "first-output: %s: %s, wait status %d\n", command[0], first ? "failed" : "said nothing", status);
    exit(1);
  }
  return first - started;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: first-output COUNT GAP_US COMMAND...\n");
    return 100;
  }
  long count = atol(argv[1]);
  long gap_us = atol(argv[2]);
  for (long i = 0; i < count; i++) {
    if (gap_us) usleep(gap_us);
    printf("%lld\n", (long long)sample(argv + 3));
  }
  return 0;
}
