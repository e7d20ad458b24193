/* See proc.h. */
#include "rewind/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* The kernel fills a page with whole lines, and begins the next one with what did not fit: an answer this short is all there is, where no line is as long as the rest of the page. */
enum { ENTRIES_BYTES = 8192, SHORT_BYTES = 2048 };
/* Of stat (proc(5)). */
enum { STAT_BYTES = 2048, FIRST_BEHIND_NAME = 3 };

#define HEXADECIMAL "0x"

struct entry { uint64_t inode; int64_t next; uint16_t bytes; uint8_t type; char name[]; };      /* struct linux_dirent64 */

const char *const fl_proc_names[FL_PROC_FILES] = {
    [FL_PROC_AUXV] = "auxv", [FL_PROC_OOM_SCORE] = "oom_score_adj", [FL_PROC_COREDUMP_FILTER] = "coredump_filter", [FL_PROC_AUTOGROUP] = "autogroup", [FL_PROC_TIMERS] = "timers",
    [FL_PROC_NET_DEV] = "net/dev", [FL_PROC_LOGIN] = "loginuid", [FL_PROC_SESSION] = "sessionid", [FL_PROC_ATTRIBUTES] = "attr/current",
    [FL_PROC_STAT] = "stat", [FL_PROC_LIMITS] = "limits", [FL_PROC_MAPS] = "maps", [FL_PROC_PAGEMAP] = "pagemap", [FL_PROC_MEM] = "mem", [FL_PROC_FD] = "fd", [FL_PROC_TASK] = "task"};

static bool is_number(const char *name)
{
  return name[0] >= '0' && name[0] <= '9';
}

static int ascending(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static int list(int directory, int64_t from, int *ret_numbers, uint32_t most, int64_t *ret_first)
{
  char bytes[ENTRIES_BYTES] __attribute__((aligned(8)));
  int64_t before = from;
  uint32_t count = 0;
  long length;

  *ret_first = from;
  if (lseek(directory, from, SEEK_SET) < 0)
    return -errno;
  while ((length = syscall(SYS_getdents64, directory, bytes, sizeof bytes)) > 0)
    for (long at = 0; at < length;) {
      const struct entry *entry = (const struct entry *)(bytes + at);

      if (is_number(entry->name)) {
        if (count == most)
          return -E2BIG;
        if (count == 0)
          *ret_first = before;
        ret_numbers[count++] = atoi(entry->name);
      }
      before = entry->next;
      at += entry->bytes;
    }
  qsort(ret_numbers, count, sizeof ret_numbers[0], ascending);
  return length < 0 ? -errno : (int)count;
}

int fl_proc_numbers(int directory, int64_t from, int *ret_numbers, uint32_t most)
{
  int64_t unused;

  return list(directory, from, ret_numbers, most, &unused);
}

/* Hexadecimal is read without a prefix, and written with one. */
static void number(const struct fl_proc *proc, enum fl_proc_file file, const char *prefix, char ret_text[FL_PROC_NUMBER])
{
  char text[FL_PROC_NUMBER - 2];

  ret_text[0] = 0;
  if (proc->file[file] >= 0 && fl_proc_read(proc->file[file], text, sizeof text) > 0)
    snprintf(ret_text, FL_PROC_NUMBER, "%s%s", prefix, text);
}

int fl_proc_open(struct fl_proc *ret, pid_t pid, pid_t init, struct fl_error *err)
{
  char path[64];

  ret->pid = pid;
  snprintf(path, sizeof path, "/proc/%d", pid);
  ret->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/%d/root/proc", init);
  ret->processes = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (ret->directory < 0 || ret->processes < 0)
    return fl_fail_errno(err, "open_proc");
  for (int i = 0; i < FL_PROC_FILES; i++) {
    int flags = i == FL_PROC_MEM ? O_RDWR : O_RDONLY;

    ret->file[i] = openat(ret->directory, fl_proc_names[i], flags | O_CLOEXEC);
    if (ret->file[i] < 0 && i >= FL_PROC_FACTS)
      return fl_fail(err, FL_ERR_UNSUPPORTED, errno, "open_proc", "%s", fl_proc_names[i]);
  }
  number(ret, FL_PROC_OOM_SCORE, "", ret->oom_score);
  number(ret, FL_PROC_COREDUMP_FILTER, HEXADECIMAL, ret->coredump_filter);
  ret->process_count = list(ret->processes, 0, ret->process, FL_PROC_PROCESSES, &ret->processes_at);
  return ret->process_count < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, -ret->process_count, "list_processes", "of %d", init) : 0;
}

void fl_proc_put(const struct fl_proc *proc, enum fl_proc_file file, char ret_now[FL_PROC_NUMBER])
{
  const char *prefix = file == FL_PROC_OOM_SCORE ? "" : HEXADECIMAL, *then = file == FL_PROC_OOM_SCORE ? proc->oom_score : proc->coredump_filter;

  number(proc, file, prefix, ret_now);
  if (strcmp(ret_now, then) == 0)
    return;
  fl_file_write(proc->directory, fl_proc_names[file], then);
  number(proc, file, prefix, ret_now);
}

int fl_proc_stat(const struct fl_proc *proc, const int *fields, size_t count, uint64_t *ret)
{
  char text[STAT_BYTES];
  ssize_t r = fl_proc_read(proc->file[FL_PROC_STAT], text, sizeof text);
  const char *at = r < 0 ? NULL : strrchr(text, ')');        /* the name before it may hold anything */
  size_t found = 0;

  for (int field = FIRST_BEHIND_NAME; at && found < count && (at = strchr(at, ' ')); field++, at++)
    if (field == fields[found])
      ret[found++] = strtoull(at, NULL, 10);
  return found == count ? 0 : r < 0 ? (int)r : -EINVAL;
}

int fl_proc_open_thread(struct fl_proc *proc, uint32_t index, pid_t tid, struct fl_error *err)
{
  char path[64];

  snprintf(path, sizeof path, "task/%d/status", tid);
  proc->status[index] = openat(proc->directory, path, O_RDONLY | O_CLOEXEC);
  return proc->status[index] < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, errno, "open_proc", "%s", path) : 0;
}

static ssize_t read_until(int fd, char *ret_text, size_t size, ssize_t last)
{
  size_t length = 0;
  ssize_t got;

  do {
    got = pread(fd, ret_text + length, size - 1 - length, (off_t)length);
    length += got > 0 ? (size_t)got : 0;
  } while (got > last && length < size - 1);
  ret_text[length] = 0;
  return got < 0 ? -errno : length == size - 1 ? -E2BIG : (ssize_t)length;
}

ssize_t fl_proc_read(int fd, char *ret_text, size_t size)
{
  return read_until(fd, ret_text, size, SHORT_BYTES);
}

ssize_t fl_proc_read_lines(int fd, char *ret_text, size_t size)
{
  return read_until(fd, ret_text, size, 0);
}
