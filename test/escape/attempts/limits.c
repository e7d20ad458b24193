/* Limits: each is driven to, and what stopped it is told together with how far it got. Everything is given back. */
#include "attempts.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES_MAX = 100000, CHUNK = 1 << 20 };

static void stopped(const char *name, int got, int most)
{
  if (got < most)
    say(name, "%s", strerrorname_np(errno));
  else
    say(name, "let through %d times", got);
}

static void descriptors(int most)
{
  int first = dup(0), last = first, count = 0;

  for (; count < most && (last = dup(0)) >= 0; count++)
    ;
  stopped("descriptors", count, most);
  for (int fd = first; fd >= 0 && fd < first + count + 8; fd++)
    close(fd);
}

static void processes(int most)
{
  static pid_t children[TRIES_MAX];
  int count = 0, errno_value;

  while (count < most && (children[count] = fork()) > 0)
    count++;
  if (count < most && children[count] == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
      pause();
  }
  errno_value = errno;
  for (int index = 0; index < count; index++)
    kill(children[index], SIGKILL);
  for (int index = 0; index < count; index++)
    waitpid(children[index], NULL, 0);
  errno = errno_value;
  stopped("processes", count, most);
}

static void *wait_for(void *lock)
{
  pthread_mutex_lock(lock);
  pthread_mutex_unlock(lock);
  return NULL;
}

static void threads(int most)
{
  static pthread_t started[TRIES_MAX];
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_attr_t small;
  int count = 0, result = 0;

  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  pthread_mutex_lock(&lock);
  while (count < most && (result = pthread_create(&started[count], &small, wait_for, &lock)) == 0)
    count++;
  pthread_mutex_unlock(&lock);
  for (int index = 0; index < count; index++)
    pthread_join(started[index], NULL);
  errno = result;
  stopped("threads", count, most);
}

static void files(int most)
{
  char path[32];
  int count = 0, fd, errno_value;

  for (; count < most; count++) {
    snprintf(path, sizeof path, "/tmp/n%d", count);
    if ((fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) < 0)
      break;
    close(fd);
  }
  errno_value = errno;
  for (int index = 0; index < count; index++) {
    snprintf(path, sizeof path, "/tmp/n%d", index);
    unlink(path);
  }
  errno = errno_value;
  stopped("inodes", count, most);
}

static void bytes(const char *name, const char *path, int most)
{
  static char chunk[CHUNK];
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), count = 0;
  ssize_t got;

  for (; count < most && (got = write(fd, chunk, CHUNK)) > 0; count++)
    ;
  stopped(name, count, most);
  close(fd);
  unlink(path);
}

void try_limits(void)
{
  descriptors(given_number("descriptors"));
  processes(given_number("pids"));
  threads(given_number("pids"));
  files(given_number("inodes"));
  bytes("bytes in /tmp", "/tmp/large", given_number("tmp MiB"));
  bytes("bytes in /dev/shm", "/dev/shm/large", given_number("tmp MiB"));
  bytes("bytes in the home directory", "/home/function/large", given_number("tmp MiB"));
  TRY("locked memory", mlock(mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), CHUNK));
}
