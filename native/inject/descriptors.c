/* See descriptors.h. Formats: Documentation/filesystems/proc.rst, 3.8. */
#include "inject/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FUNCTION_FILES "/function"

enum { MEM_MAJOR = 1, SECOND_NS = 1000000000 };

/* One number of the process, as /proc tells. */
struct found {
  int number, original;                        /* original: the lowest number of the same open file */
  uint32_t flags;
  uint64_t position;
  struct stat status;
  char target[PATH_MAX];
};

struct survey {
  pid_t pid;
  int pidfd;
  uint32_t count;
  struct found found[FL_CARRIED_MAX];
  struct fl_descriptors *to;
};

static int refuse(const struct found *found, const char *why, struct fl_error *err)
{
  return fl_fail(err, FL_ERR_UNSUPPORTED, EBADF, "freeze", "descriptor %d (%.60s) is open in the template%s", found->number, found->target, why);
}

static FILE *open_fdinfo(const struct survey *survey, int number)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", survey->pid, number);
  return fopen(path, "re");
}

static int look_at(struct survey *survey, int number, struct fl_error *err)
{
  struct found *found = &survey->found[survey->count];
  char path[64], line[256];

  *found = (struct found){.number = number, .original = number};
  snprintf(path, sizeof path, "/proc/%d/fd/%d", survey->pid, number);
  ssize_t length = readlink(path, found->target, sizeof found->target - 1);
  fl_autofclose FILE *info = open_fdinfo(survey, number);
  if (length < 0 || !info || stat(path, &found->status) < 0)
    return fl_fail_errno(err, "descriptor");
  while (fgets(line, sizeof line, info)) {
    sscanf(line, "flags: %o", &found->flags);
    sscanf(line, "pos: %lu", &found->position);
  }
  for (uint32_t i = 0; i < survey->count && found->original == number; i++) {
    const struct found *other = &survey->found[i];
    if (other->status.st_dev != found->status.st_dev || other->status.st_ino != found->status.st_ino)
      continue;
    long order = syscall(SYS_kcmp, survey->pid, survey->pid, KCMP_FILE, other->number, number);
    if (order < 0)
      return fl_fail_errno(err, "kcmp");
    if (order == 0)
      found->original = other->original;
  }
  survey->count++;
  return 0;
}

static int ascending(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static int look_around(struct survey *survey, struct fl_error *err)
{
  int numbers[FL_CARRIED_MAX], r = 0;
  uint32_t count = 0;
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/fd", survey->pid);
  fl_autoclosedir DIR *dir = opendir(path);
  if (!dir)
    return fl_fail_errno(err, "opendir_fd");
  for (const struct dirent *entry; (entry = readdir(dir));) {
    int number = (int)strtol(entry->d_name, NULL, 10);

    if (entry->d_name[0] == '.' || number <= FL_DATA_FD)
      continue;
    if (count == FL_CARRIED_MAX)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EMFILE, "freeze", "more than %d descriptors are open in the template", FL_CARRIED_MAX);
    numbers[count++] = number;
  }
  qsort(numbers, count, sizeof numbers[0], ascending);
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = look_at(survey, numbers[i], err);
  return r;
}

static int take(const struct survey *survey, int number, struct fl_error *err)
{
  int fd = pidfd_getfd(survey->pidfd, number, 0);

  return fd < 0 ? fl_fail_errno(err, "pidfd_getfd") : fd;
}

static char *allot(struct fl_descriptors *to, struct fl_carried *carried, size_t bytes)
{
  if (bytes > FL_CARRIED_BYTES_MAX - to->bytes)
    return NULL;
  carried->at = to->bytes;
  carried->bytes = (uint32_t)bytes;
  to->bytes += (uint32_t)bytes;
  return to->byte + carried->at;
}

static int describe_eventfd(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  char line[128];
  fl_autofclose FILE *info = open_fdinfo(survey, found->number);
  fl_autoclose int fd = take(survey, found->number, err);
  eventfd_t value = 0;

  if (fd < 0)
    return fd;
  carried->kind = FL_CARRIED_EVENTFD;
  while (info && fgets(line, sizeof line, info))
    sscanf(line, "eventfd-count: %lx", &carried->eventfd.count);
  /* Whether it is a semaphore, older kernels do not tell: of 2 or more, it gives out one. */
  fcntl(fd, F_SETFL, O_NONBLOCK);
  eventfd_write(fd, 2);
  eventfd_read(fd, &value);
  carried->eventfd.semaphore = value == 1 ? EFD_SEMAPHORE : 0;
  return 0;
}

/* Entered at its read end; nothing for its write end. */
static int describe_pipe(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  const struct found *read_end = NULL, *write_end = NULL;
  int content = 0;

  for (uint32_t i = 0; i < survey->count; i++) {
    const struct found *end = &survey->found[i];
    const struct found **side = (end->flags & O_ACCMODE) == O_RDONLY ? &read_end : &write_end;

    if (end->original != end->number || end->status.st_ino != found->status.st_ino || end->status.st_dev != found->status.st_dev)
      continue;
    if (*side || (end->flags & O_ACCMODE) == O_RDWR)
      return refuse(end, ", opened twice", err);
    *side = end;
  }
  if (!read_end || !write_end || (found->flags & O_DIRECT))
    return refuse(found, "", err);
  if (found == write_end)
    return 0;
  fl_autoclose int fd = take(survey, found->number, err);
  if (fd < 0)
    return fd;
  if (ioctl(fd, FIONREAD, &content) < 0)
    return fl_fail_errno(err, "fionread");
  char *bytes = allot(survey->to, carried, (size_t)content);
  if (!bytes)
    return refuse(found, ", with more in it than can be carried", err);
  if (content && read(fd, bytes, (size_t)content) != content)
    return fl_fail_errno(err, "read_pipe");
  carried->kind = FL_CARRIED_PIPE;
  carried->write_end.number = write_end->number;
  carried->write_end.flags = write_end->flags;
  return 0;
}

/* Asking for the time left brings the ticks up to date, too. A timer set to a date keeps its date; others go on where they stood. */
static int describe_timer(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  char line[128];
  struct timespec now;
  struct itimerspec left;
  fl_autoclose int fd = take(survey, found->number, err);

  if (fd < 0)
    return fd;
  if (timerfd_gettime(fd, &left) < 0)
    return fl_fail_errno(err, "timerfd_gettime");
  fl_autofclose FILE *info = open_fdinfo(survey, found->number);
  carried->kind = FL_CARRIED_TIMER;
  memcpy(carried->timer.value, &left.it_value, sizeof carried->timer.value);
  memcpy(carried->timer.interval, &left.it_interval, sizeof carried->timer.interval);
  while (info && fgets(line, sizeof line, info)) {
    sscanf(line, "clockid: %d", &carried->timer.clock);
    sscanf(line, "ticks: %lu", &carried->timer.ticks);
    sscanf(line, "settime flags: %o", &carried->timer.flags);
  }
  if (carried->timer.clock != CLOCK_REALTIME && carried->timer.clock != CLOCK_MONOTONIC && carried->timer.clock != CLOCK_BOOTTIME)
    return refuse(found, ", on a clock that wakes the machine", err);
  if ((carried->timer.flags & TFD_TIMER_ABSTIME) && (carried->timer.value[0] || carried->timer.value[1])) {
    clock_gettime(carried->timer.clock, &now);
    carried->timer.value[1] += now.tv_nsec;
    carried->timer.value[0] += now.tv_sec + carried->timer.value[1] / SECOND_NS;
    carried->timer.value[1] %= SECOND_NS;
  }
  return 0;
}

static int describe_signals(const struct survey *survey, const struct found *found, struct fl_carried *carried)
{
  char line[128];
  fl_autofclose FILE *info = open_fdinfo(survey, found->number);

  carried->kind = FL_CARRIED_SIGNALS;
  while (info && fgets(line, sizeof line, info))
    sscanf(line, "sigmask: %lx", &carried->signals);
  return 0;
}

/* Of the sockets only this: one end of a pair whose other end is closed (a JVM puts it in the place of descriptors that it closes). */
static int describe_socket(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  fl_autoclose int fd = take(survey, found->number, err);
  int domain = 0, type = 0;
  socklen_t size = sizeof(int);
  char byte;

  if (fd < 0)
    return fd;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
    return fl_fail_errno(err, "getsockopt");
  if (domain != AF_UNIX || type != SOCK_STREAM || recv(fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) != 0)
    return refuse(found, "", err);
  carried->kind = FL_CARRIED_ENDED;
  return 0;
}

static bool is_open(const struct survey *survey, int number)
{
  for (uint32_t i = 0; i < survey->count; i++)
    if (survey->found[i].number == number)
      return true;
  return number <= FL_DATA_FD;
}

static int describe_epoll(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  char line[256];
  struct fl_watch watch = {.epoll = found->number};
  fl_autofclose FILE *info = open_fdinfo(survey, found->number);

  carried->kind = FL_CARRIED_EPOLL;
  while (info && fgets(line, sizeof line, info)) {
    if (sscanf(line, "tfd: %d events: %x data: %lx", &watch.number, &watch.events, &watch.data) != 3)
      continue;
    if (!is_open(survey, watch.number))
      return refuse(found, ", watching what was closed", err);
    if (survey->to->watches == FL_WATCHES_MAX)
      return refuse(found, ", watching too much", err);
    survey->to->watch[survey->to->watches++] = watch;
  }
  return 0;
}

static bool is_device_without_state(const struct stat *status)
{
  static const unsigned minors[] = {3, 5, 7, 8, 9};              /* null, zero, full, random, urandom */

  for (size_t i = 0; S_ISCHR(status->st_mode) && major(status->st_rdev) == MEM_MAJOR && i < FL_COUNT(minors); i++)
    if (minor(status->st_rdev) == minors[i])
      return true;
  return false;
}

/* By its path, because the descriptor itself would lead into the template's mounts. So the path must mean the same thing in every sandbox, and the fork must be allowed to open it. */
static int describe_file(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  char path[PATH_MAX + 64];
  struct stat status;
  struct statvfs mount;
  struct statfs system;
  bool device = is_device_without_state(&found->status), read_only = (found->flags & O_ACCMODE) == O_RDONLY;

  if (!device && !(read_only && (S_ISREG(found->status.st_mode) || S_ISDIR(found->status.st_mode))))
    return refuse(found, "", err);
  snprintf(path, sizeof path, "/proc/%d/fd/%d", survey->pid, found->number);
  if (statvfs(path, &mount) < 0 || statfs(path, &system) < 0)
    return fl_fail_errno(err, "statfs");
  if (!(mount.f_flag & ST_RDONLY) || system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC)
    return refuse(found, ", which is not the same in every sandbox", err);
  snprintf(path, sizeof path, "/proc/%d/root%s", survey->pid, found->target);
  if (stat(path, &status) < 0 || status.st_dev != found->status.st_dev || status.st_ino != found->status.st_ino)
    return refuse(found, ", but no longer there", err);
  if (!(status.st_mode & S_IROTH))
    return refuse(found, ", which others may not read", err);
  size_t bytes = strlen(found->target) + 1;
  char *to = allot(survey->to, carried, bytes);
  if (!to)
    return refuse(found, ", with too long a path", err);
  memcpy(to, found->target, bytes);
  carried->kind = FL_CARRIED_FILE;
  carried->late = strncmp(found->target, FUNCTION_FILES, sizeof FUNCTION_FILES - 1) == 0;
  carried->offset = device ? 0 : found->position;
  return 0;
}

static int describe(const struct survey *survey, const struct found *found, struct fl_carried *carried, struct fl_error *err)
{
  if (S_ISFIFO(found->status.st_mode) && strncmp(found->target, "pipe:", 5) == 0)
    return describe_pipe(survey, found, carried, err);
  if (S_ISSOCK(found->status.st_mode))
    return describe_socket(survey, found, carried, err);
  if (strcmp(found->target, "anon_inode:[eventfd]") == 0)
    return describe_eventfd(survey, found, carried, err);
  if (strcmp(found->target, "anon_inode:[eventpoll]") == 0)
    return describe_epoll(survey, found, carried, err);
  if (strcmp(found->target, "anon_inode:[timerfd]") == 0)
    return describe_timer(survey, found, carried, err);
  if (strcmp(found->target, "anon_inode:[signalfd]") == 0)
    return describe_signals(survey, found, carried);
  return describe_file(survey, found, carried, err);
}

static int add(struct survey *survey, const struct found *found, struct fl_error *err)
{
  struct fl_carried carried = {.number = found->number, .flags = found->flags};
  int r = 0;

  if (found->original == found->number) {
    r = describe(survey, found, &carried, err);
  } else {
    carried.kind = FL_CARRIED_DUPLICATE;
    carried.original = found->original;
    for (uint32_t i = 0; i < survey->to->count; i++)
      carried.late |= survey->to->carried[i].number == found->original && survey->to->carried[i].late;
  }
  if (r == 0 && carried.kind)
    survey->to->carried[survey->to->count++] = carried;
  return r;
}

static int describe_data(const struct survey *survey, struct fl_error *err)
{
  char line[128];
  unsigned flags = 0;
  fl_autofclose FILE *info = open_fdinfo(survey, FL_DATA_FD);

  if (!info)
    return fl_fail_errno(err, "open_fdinfo");
  while (fgets(line, sizeof line, info))
    sscanf(line, "flags: %o", &flags);
  survey->to->data_flags = flags & O_NONBLOCK;
  return 0;
}

int fl_descriptors_describe(pid_t pid, struct fl_descriptors *ret, struct fl_error *err)
{
  fl_autofree struct survey *survey = calloc(1, sizeof *survey);
  fl_autoclose int pidfd = pidfd_open(pid, 0);

  if (!survey)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "survey");
  if (pidfd < 0)
    return fl_fail_errno(err, "pidfd_open");
  survey->pid = pid;
  survey->pidfd = pidfd;
  survey->to = ret;
  int r = look_around(survey, err);
  if (r == 0)
    r = describe_data(survey, err);
  for (int duplicates = 0; duplicates <= 1; duplicates++)
    for (uint32_t i = 0; i < survey->count && r == 0; i++)
      if ((survey->found[i].original != survey->found[i].number) == duplicates)
        r = add(survey, &survey->found[i], err);
  return r;
}

void fl_descriptors_enclose(struct fl_descriptors *descriptors, int socket, int bell)
{
  int kept[2 * FL_CARRIED_MAX + 2];
  uint32_t count = 0, first = FL_DATA_FD + 1;

  kept[count++] = socket;
  kept[count++] = bell;
  for (uint32_t i = 0; i < descriptors->count; i++) {
    kept[count++] = descriptors->carried[i].number;
    if (descriptors->carried[i].kind == FL_CARRIED_PIPE)
      kept[count++] = descriptors->carried[i].write_end.number;
  }
  qsort(kept, count, sizeof kept[0], ascending);
  for (uint32_t i = 0; i < count; i++) {
    if ((uint32_t)kept[i] > first) {
      descriptors->gap[descriptors->gaps].first = first;
      descriptors->gap[descriptors->gaps++].last = (uint32_t)kept[i] - 1;
    }
    first = (uint32_t)kept[i] + 1;
  }
  descriptors->gap[descriptors->gaps].first = first;
  descriptors->gap[descriptors->gaps++].last = UINT32_MAX;
}
