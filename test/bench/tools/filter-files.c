/*
 * A function that keeps what it is sent in files, as one of filter-cost.c's programs: each pass writes 4 KiB to a new file, reads it back and removes it, in eight calls.
 *   filter-files FILE
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PASSES = 500, FILE_BYTES = 4096 };

static int keep(const char *name, char *bytes)
{
  int file = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  struct stat status;

  if (file < 0 || write(file, bytes, FILE_BYTES) != FILE_BYTES)
    return -1;
  close(file);
  file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &status) < 0 || read(file, bytes, FILE_BYTES) != FILE_BYTES)
    return -1;
  close(file);
  return unlink(name);
}

int main(int argc, char **argv)
{
  struct timespec begin, end;
  char byte, bytes[FILE_BYTES];

  if (argc != 2)
    return 2;
  memset(bytes, 'x', sizeof bytes);
  while (read(STDIN_FILENO, &byte, 1) == 1) {
    double ns;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int pass = 0; pass < PASSES; pass++)
      if (keep(argv[1], bytes) < 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    ns = ((end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / PASSES;
    if (write(STDOUT_FILENO, &ns, sizeof ns) != sizeof ns)
      return 1;
  }
  return 0;
}
