#include "base/memfd.h"

#include <errno.h>
#include <fcntl.h>

enum { TRIES = 20 };

int fl_memfd_seal(int fd, int seals)
{
  int r = -1;

  for (int tries = 0; tries < TRIES && (r = fcntl(fd, F_ADD_SEALS, seals)) < 0 && errno == EBUSY; tries++)
    ;
  return r;
}
