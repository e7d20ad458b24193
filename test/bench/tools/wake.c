/* wake COUNT GAP_US: wakes a process that has slept for GAP_US, COUNT times. Prints a line for each: the nanoseconds that waking it took the waker, TAB, those until it ran. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int main(int argc, char **argv) {
  uint64_t one = 1;
  int bell = eventfd(0, 0);
  _Atomic int64_t *ran = mmap(NULL, sizeof *ran, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t waker = getpid(), pid = argc == 3 && bell >= 0 && ran != MAP_FAILED ? fork() : -1;
  if (pid < 0) {
    fprintf(stderr, "usage: wake COUNT GAP_US\n");
    return 1;
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != waker) return 1;
    for (;;) {
      if (read(bell, &one, sizeof one) < 0) return 1;
      atomic_store(ran, now_ns());
    }
  }
  for (long left = atol(argv[1]); left > 0; left--) {
    usleep((useconds_t)atol(argv[2]));
    atomic_store(ran, 0);
    int64_t started = now_ns();
    if (write(bell, &one, sizeof one) < 0) return 1;
    int64_t woken = now_ns();
    usleep(2000);
    for (int tries = 0; atomic_load(ran) == 0 && tries < 1000; tries++) usleep(1000);
    printf("%lld\t%lld\n", (long long)(woken - started), (long long)(atomic_load(ran) - started));
  }
  kill(pid, SIGKILL);
  return 0;
}
