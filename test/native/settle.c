/* Settling: a process counts as settled when its other threads sleep, not before, and at the latest when its time is over. */
#include "inject/settle.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { NEVER = -1, WORK_MS = 300, MILLISECOND = 1000000 };

static int64_t now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / MILLISECOND;
}

static void *work(void *until_ms)
{
  while (now_ms() < (intptr_t)until_ms)
    ;
  pause();
  return NULL;
}

/* How long a process with a thread that works for so long takes; its main thread sleeps. */
static int64_t settle_ms(bool threaded, intptr_t work_ms)
{
  int64_t started = now_ms();
  pid_t pid = fork();

  CHECK(pid >= 0);
  if (pid == 0) {
    pthread_t thread;

    if (threaded && pthread_create(&thread, NULL, work, (void *)(work_ms == NEVER ? INTPTR_MAX : started + work_ms)) != 0)
      _exit(1);
    for (;;)
      pause();
  }
  usleep(WORK_MS / 2 * 1000);
  fl_settle(pid);
  int64_t took = now_ms() - started;
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
  return took;
}

int main(void)
{
  CHECK(settle_ms(true, WORK_MS) >= WORK_MS);
  CHECK(settle_ms(true, NEVER) >= FL_SETTLE_MS_MAX);
  settle_ms(false, 0);
  fl_settle(getpid());

  struct fl_settling single = {0}, gone = {0};
  CHECK(fl_settled(getpid(), &single));
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0)
    _exit(0);
  CHECK(waitpid(pid, NULL, 0) == pid && fl_settled(pid, &gone));
  return 0;
}
