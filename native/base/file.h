/*
 * Small kernel files (cgroupfs, /proc): one open, one read or write, bounded. Every path is relative to dir_fd (AT_FDCWD is fine);
 * every function returns 0 or a negative errno.
 */
#ifndef FLASHD_FILE_H
#define FLASHD_FILE_H
#include <stddef.h>
#include <stdint.h>

/* The file must exist; the text goes out in one write(2), as kernel files want it. */
int fl_file_write(int dir_fd, const char *path, const char *text);
int fl_file_write_number(int dir_fd, const char *path, uint64_t value);
/* At most size - 1 bytes, NUL-terminated. Returns the length; -EFBIG when it does not fit. */
int fl_file_read(int dir_fd, const char *path, char *buffer, size_t size);
int fl_file_read_number(int dir_fd, const char *path, uint64_t *ret_value);
/* The number after "key " at the start of a line, as in memory.events or cpu.stat. -ENOKEY when there is none. */
int fl_file_read_key(int dir_fd, const char *path, const char *key, uint64_t *ret_value);
/* Creates or replaces a regular file with these bytes and exactly this mode. */
int fl_file_put(int dir_fd, const char *path, unsigned mode, const void *bytes, size_t size);
#endif
