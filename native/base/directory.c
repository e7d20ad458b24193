/* See directory.h. */
#include "base/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool fl_directory_is_entry(const struct dirent *entry)
{
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

int fl_directory_open(int at, const char *name)
{
  return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int fl_directory_open_any(int at, const char *name)
{
  int fd = fl_directory_open(at, name);

  if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
    fd = fl_directory_open(at, name);
  return fd;
}
