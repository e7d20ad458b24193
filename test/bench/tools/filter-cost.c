/*
 * What the instances' filters cost a function that does nothing but call the system: rounds of CALLS passes over a small file (open, fstat, read, write to /dev/null, close), by three children of one
 * program on one processor: one without any filter, one with the smallest that there can be, which permits everything, and one with those that an instance has. They take turns, so that a drift of the machine meets
 * all. Prints for each round the ns of one pass of each.
 *   filter-cost ROUNDS [PROGRAM ARGUMENT…]   the program makes the passes, a round for each byte that it reads, and writes a double: ns of one pass
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <flashd/seal.h>
#include <linux/seccomp.h>

#include "base/cleanup.h"
#include "sandbox/policy.h"

enum { PASSES = 2000, FILE_BYTES = 512 };

#define PATH "/etc/passwd"

static double round_ns(int null)
{
  struct timespec begin, end;
  char bytes[FILE_BYTES];
  struct stat status;

  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int pass = 0; pass < PASSES; pass++) {
    int file = open(PATH, O_RDONLY | O_CLOEXEC);

    if (file < 0 || fstat(file, &status) < 0 || read(file, bytes, sizeof bytes) < 0 || write(null, bytes, sizeof bytes) < 0)
      _exit(1);
    close(file);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  return ((end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / PASSES;
}

static void install(const struct sock_fprog *program)
{
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) < 0)
    _exit(1);
}

static void permit_all(void)
{
  static const struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };

  install(&(struct sock_fprog){ .len = FL_COUNT(all), .filter = (struct sock_filter *)all });
}

static void confine(void)
{
  static const struct sock_filter seal[] = FL_SEAL_FILTER;
  const struct sock_fprog seal_program = { .len = FL_COUNT(seal), .filter = (struct sock_filter *)seal };
  struct sock_fprog program;
  struct fl_error error = { 0 };

  if (fl_filter_compile(&program, &error) < 0)
    _exit(1);
  install(&program);
  install(&seal_program);
}

struct child { int order, answer; };

/* Does a round whenever it is told to. */
static struct child start(void (*prepare)(void), char **program)
{
  int order[2], answer[2];
  char byte;

  if (pipe(order) < 0 || pipe(answer) < 0)
    exit(1);
  if (fork() == 0) {
    int null = open("/dev/null", O_WRONLY);

    close(order[1]);
    if (prepare)
      prepare();
    if (program[0]) {
      dup2(order[0], STDIN_FILENO);
      dup2(answer[1], STDOUT_FILENO);
      execvp(program[0], program);
      _exit(1);
    }
    while (read(order[0], &byte, 1) == 1) {
      double ns = round_ns(null);

      if (write(answer[1], &ns, sizeof ns) != sizeof ns)
        break;
    }
    _exit(0);
  }
  close(order[0]);
  close(answer[1]);
  return (struct child){ order[1], answer[0] };
}

static double ask(struct child child)
{
  double ns;

  if (write(child.order, "x", 1) != 1 || read(child.answer, &ns, sizeof ns) != sizeof ns)
    exit(1);
  return ns;
}

/* Two processors are not alike for long: on different ones the children would measure that. */
static void stay_here(void)
{
  cpu_set_t here;

  CPU_ZERO(&here);
  CPU_SET((size_t)sched_getcpu(), &here);
  if (sched_setaffinity(0, sizeof here, &here) < 0)
    exit(1);
}

int main(int argc, char **argv)
{
  static char *none[] = { NULL };
  char **program = argc > 2 ? argv + 2 : none;

  stay_here();
  const struct child free_one = start(NULL, program), smallest = start(permit_all, program), instance = start(confine, program);

  for (int left = argc > 1 ? atoi(argv[1]) + 1 : 1, first = left; left > 0; left--) {
    const double without = ask(free_one), least = ask(smallest), with = ask(instance);

    if (left < first)                                            /* the first round finds cold caches */
      printf("%.1f %.1f %.1f\n", without, least, with);
  }
  return 0;
}
