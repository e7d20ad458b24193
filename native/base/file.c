/*
 * Reading and writing small files: see file.h. Interrupted calls are repeated; no buffer grows.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int fl_file_write(int dir_fd, const char *path, const char *text)
{
  fl_autoclose int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
  ssize_t written;

  if (fd < 0)
    return -errno;
  do
    written = write(fd, text, strlen(text));
  while (written < 0 && errno == EINTR);
  return written < 0 ? -errno : 0;
}

int fl_file_write_number(int dir_fd, const char *path, uint64_t value)
{
  char text[24];

  snprintf(text, sizeof text, "%" PRIu64, value);
  return fl_file_write(dir_fd, path, text);
}

int fl_file_read(int dir_fd, const char *path, char *buffer, size_t size)
{
  fl_autoclose int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
  size_t length = 0;

  if (fd < 0)
    return -errno;
  for (;;) {
    ssize_t got = read(fd, buffer + length, size - length);

    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -errno;
    length += (size_t)got;
    if (length >= size)
      return -EFBIG;
    if (got == 0) {
      buffer[length] = 0;
      return (int)length;
    }
  }
}

int fl_file_read_number(int dir_fd, const char *path, uint64_t *ret_value)
{
  char text[64], *end;
  int result = fl_file_read(dir_fd, path, text, sizeof text);

  if (result < 0)
    return result;
  errno = 0;
  *ret_value = strtoull(text, &end, 10);
  return errno || end == text ? -EINVAL : 0;
}

int fl_file_read_key(int dir_fd, const char *path, const char *key, uint64_t *ret_value)
{
  char text[8192];
  size_t length = strlen(key);
  int result = fl_file_read(dir_fd, path, text, sizeof text);

  if (result < 0)
    return result;
  for (char *line = text; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (!strncmp(line, key, length) && line[length] == ' ') {
      *ret_value = strtoull(line + length + 1, NULL, 10);
      return 0;
    }
  }
  return -ENOKEY;
}

int fl_file_put(int dir_fd, const char *path, unsigned mode, const void *bytes, size_t size)
{
  fl_autoclose int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  const char *from = bytes;

  if (fd < 0)
    return -errno;
  while (size > 0) {
    ssize_t written = write(fd, from, size);

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return -errno;
    from += written;
    size -= (size_t)written;
  }
  return fchmod(fd, mode) < 0 ? -errno : 0;      /* after the open: the umask does not count */
}
