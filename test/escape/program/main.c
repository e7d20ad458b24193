/* The attempts as a program that is started for each request. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../attempts/attempts.h"

int main(void)
{
  static char targets[8192];
  const char *path = getenv("PATH_INFO"), *found;
  size_t size = fread(targets, 1, sizeof targets - 1, stdin);

  targets[size] = 0;
  found = path ? attempts_run(path + 1, targets) : NULL;
  if (!found)
    return 1;
  printf("Content-Type: text/plain\r\n\r\n%s", found);
  return 0;
}
