/*
 * Fills struct fl_error: see flashd/error.h for the convention. Nothing here allocates, prints or exits, so that a fork of a
 * single-threaded process may use it between clone and exec.
 */
#include <flashd/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void copy_text(char *to, size_t size, const char *from)
{
  size_t length = strnlen(from, size - 1);

  memcpy(to, from, length);
  memset(to + length, 0, size - length);        /* the struct travels over sockets: no stale bytes in it */
}

int fl_fail(struct fl_error *err, uint32_t code, int errno_value, const char *op, const char *detail_format, ...)
{
  int result = errno_value > 0 ? -errno_value : -EINVAL;

  if (err && err->code == FL_OK) {
    err->code = code;
    err->errno_value = errno_value;
    copy_text(err->op, sizeof err->op, op ? op : "");
    memset(err->detail, 0, sizeof err->detail);
    if (detail_format) {
      va_list arguments;

      va_start(arguments, detail_format);
      vsnprintf(err->detail, sizeof err->detail, detail_format, arguments);
      va_end(arguments);
    }
  }
  errno = -result;
  return result;
}

int fl_fail_errno(struct fl_error *err, const char *op)
{
  int errno_value = errno;

  return fl_fail(err, FL_ERR_SYSTEM, errno_value, op, NULL);
}
