/* Attempts to take everything along: none of these returns. */
#include "attempts.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *spin(void *unused)
{
  for (;;)
    ;
  return unused;
}

/* kill spares the caller, so it is a child that calls. */
__attribute__((noreturn)) static void kill_everybody(void)
{
  if (fork() != 0)
    for (;;)
      pause();
  for (;;) {
    kill(1, SIGKILL);
    kill(-1, SIGKILL);
    kill(0, SIGKILL);
  }
}

__attribute__((noreturn)) static void fork_bomb(void)
{
  for (;;)
    fork();
}

__attribute__((noreturn)) static void memory_bomb(void)
{
  for (;;) {
    char *block = malloc(1 << 20);

    if (block)
      memset(block, 1, 1 << 20);
  }
}

__attribute__((noreturn)) static void thread_bomb(void)
{
  pthread_t thread;

  for (;;)
    pthread_create(&thread, NULL, spin, NULL);
}

void bombs_explode(const char *name)
{
  if (!strcmp(name, "kill-everybody"))
    kill_everybody();
  if (!strcmp(name, "fork-bomb"))
    fork_bomb();
  if (!strcmp(name, "memory-bomb"))
    memory_bomb();
  if (!strcmp(name, "thread-bomb"))
    thread_bomb();
}
