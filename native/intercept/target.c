/* Who asks: see watch.h. Its memory is read through /proc; that the thread still waits for this very answer is asked after everything of it was opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "intercept/watch.h"
#include "sandbox/parts.h"

enum { STATUS_BYTES = 4096, PAGE_BYTES = 4096 };

bool fl_notice_valid(const struct fl_watch *watch, const struct seccomp_notif *notice)
{
  return ioctl(watch->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notice->id) == 0;
}

enum { OWNERS = 3 };

/* Files below /proc/PID are their owner's alone; the capability to look at processes is not one to open others' files. */
static void become(const struct fl_monitor *monitor, const struct fl_watch *watch, int owner)
{
  const uint32_t owners[OWNERS] = {watch->id, 0, watch->id - FL_INNER_UID};

  syscall(SYS_setfsuid, owner < OWNERS ? owners[owner] : monitor->id);
}

int fl_target_open(const struct fl_monitor *monitor, const struct fl_watch *watch, const char *path, int flags)
{
  int fd = -1, error = EACCES;

  for (int owner = 0; owner < OWNERS && fd < 0 && error == EACCES; owner++) {
    become(monitor, watch, owner);
    fd = openat(monitor->proc, path, flags | O_CLOEXEC);
    error = errno;
  }
  become(monitor, watch, OWNERS);
  errno = error;
  return fd;
}

ssize_t fl_target_readlink(const struct fl_monitor *monitor, const struct fl_watch *watch, const char *path, char *to, size_t bytes)
{
  ssize_t length = -1;
  int error = EACCES;

  for (int owner = 0; owner < OWNERS && length < 0 && error == EACCES; owner++) {
    become(monitor, watch, owner);
    length = readlinkat(monitor->proc, path, to, bytes);
    error = errno;
  }
  become(monitor, watch, OWNERS);
  errno = error;
  return length;
}

static bool read_status(const struct fl_monitor *monitor, pid_t tid, char *text, size_t bytes)
{
  char path[32];

  snprintf(path, sizeof path, "%d/status", tid);
  fl_autoclose int fd = openat(monitor->proc, path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, bytes - 1);
  text[length < 0 ? 0 : length] = 0;
  return length > 0;
}

/* The line's value, without its end. */
static const char *value_of(const char *status, const char *name)
{
  const char *line = strstr(status, name);

  return line ? line + strlen(name) : "\n";
}

/* The last of a line's numbers: in the innermost of its pid namespaces. */
static pid_t last_number(const char *line)
{
  size_t end = strcspn(line, "\n");

  while (end > 0 && line[end - 1] != '\t')
    end--;
  return (pid_t)strtol(line + end, NULL, 10);
}

bool fl_target_umask(const struct fl_monitor *monitor, pid_t tid, uint32_t *ret_mask)
{
  char status[STATUS_BYTES];

  if (!read_status(monitor, tid, status, sizeof status))
    return false;
  *ret_mask = (uint32_t)strtoul(value_of(status, "\nUmask:"), NULL, 8);
  return true;
}

static bool open_target(const struct fl_monitor *monitor, const struct fl_watch *watch, struct fl_target *target, const struct seccomp_notif *notice)
{
  char path[32], status[STATUS_BYTES];

  *target = (struct fl_target){.notice = notice->id, .tid = (pid_t)notice->pid};
  snprintf(path, sizeof path, "%d/mem", target->tid);
  target->memory = fl_target_open(monitor, watch, path, O_RDONLY);
  if (target->memory < 0 || !read_status(monitor, target->tid, status, sizeof status))
    return false;
  target->tgid = last_number(value_of(status, "\nTgid:"));
  target->inner_tgid = last_number(value_of(status, "\nNStgid:"));
  target->inner_tid = last_number(value_of(status, "\nNSpid:"));
  return target->tgid > 0 && target->inner_tgid > 0;
}

/* That the thread still waits is asked after everything was opened: so all of it was this thread's. */
struct fl_target *fl_target_find(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  if (watch->target.notice == notice->id)
    return &watch->target;
  fl_target_forget(watch);
  if (open_target(monitor, watch, &watch->target, notice) && fl_notice_valid(watch, notice))
    return &watch->target;
  fl_target_forget(watch);
  return NULL;
}

void fl_target_forget(struct fl_watch *watch)
{
  if (watch->target.notice)
    fl_close(&watch->target.memory);
  watch->target.notice = 0;
}

pid_t fl_target_name(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  char status[STATUS_BYTES];

  for (int i = 0; i < FL_WATCH_NAMES; i++)
    if (watch->name[i].tid == (pid_t)notice->pid)
      return watch->name[i].inner_tid;
  if (!read_status(monitor, (pid_t)notice->pid, status, sizeof status) || !fl_notice_valid(watch, notice))
    return 0;
  struct fl_inner_name *name = &watch->name[watch->next_name++ % FL_WATCH_NAMES];
  *name = (struct fl_inner_name){(pid_t)notice->pid, last_number(value_of(status, "\nNSpid:"))};
  return name->inner_tid;
}

static ssize_t read_some(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, void *to, size_t bytes)
{
  struct fl_target *target = fl_target_find(monitor, watch, notice);
  ssize_t length = target ? pread(target->memory, to, bytes, (off_t)address) : -1;

  return length > 0 ? length : -EFAULT;
}

int fl_target_read(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, void *to, size_t bytes)
{
  for (size_t done = 0; done < bytes;) {
    ssize_t length = read_some(monitor, watch, notice, address + done, (char *)to + done, bytes - done);

    if (length < 0)
      return (int)length;
    done += (size_t)length;
  }
  return 0;
}

/* Page by page: the next one may not be there, and need not. */
int fl_target_read_string(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, char *to, size_t bytes)
{
  for (size_t done = 0; done < bytes;) {
    size_t room = PAGE_BYTES - (address + done) % PAGE_BYTES, wanted = bytes - done < room ? bytes - done : room;
    ssize_t length = read_some(monitor, watch, notice, address + done, to + done, wanted);

    if (length < 0)
      return (int)length;
    const char *end = memchr(to + done, 0, (size_t)length);
    if (end)
      return (int)(end - to);
    done += (size_t)length;
  }
  return -ENAMETOOLONG;
}
