/* See files.h. */
#include "rewind/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { INFO_BYTES = 16384, TARGET_BYTES = 512, OPTIONS = 92, OPTION_BYTES = 64, NAME_BYTES = 128, DRAINED_MAX = 1 << 20 };
/* Options of sockets that are not asked for: the error is taken by asking, memory and processor change by themselves, a pidfd would be made. */
enum { OPTION_ERROR = 4, OPTION_INCOMING_CPU = 49, OPTION_MEMORY = 55, OPTION_NAPI = 56, OPTION_PEER_PIDFD = 77 };

struct kept { uint64_t device, inode, kind; int link_bytes, owner[2], signal, pipe_bytes, readable, unread, name_bytes; };
struct option { int32_t result; uint32_t length; uint8_t bytes[OPTION_BYTES]; };

static int ascending(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static int list(pid_t pid, int *ret_numbers, uint32_t *ret_count, uint32_t most, struct fl_error *err)
{
  char path[64];

  *ret_count = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  fl_autoclosedir DIR *directory = opendir(path);
  if (!directory)
    return fl_fail_errno(err, "open_fds");
  for (const struct dirent *entry; (entry = readdir(directory));) {
    if (entry->d_name[0] == '.')
      continue;
    if (*ret_count == most)
      return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "more than %u descriptors are open", most);
    ret_numbers[(*ret_count)++] = atoi(entry->d_name);
  }
  qsort(ret_numbers, *ret_count, sizeof ret_numbers[0], ascending);
  return 0;
}

static int read_info(pid_t pid, int number, char *ret, struct fl_error *err)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, number);
  int length = fl_file_read(AT_FDCWD, path, ret, INFO_BYTES);
  return length < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, -length, "rewind", "descriptor %d cannot be read", number) : length;
}

static uint64_t eventfd_count(const char *info)
{
  const char *line = strstr(info, "eventfd-count:");

  return line ? strtoull(line + sizeof "eventfd-count:" - 1, NULL, 16) : UINT64_MAX;
}

/* What is in the pipe, up to so many bytes; all of it is taken out. */
static uint32_t drain(int fd, char *ret, uint32_t most)
{
  char bytes[4096];
  int readable = 0;
  uint32_t kept = 0;

  for (int drained = 0; drained < DRAINED_MAX && ioctl(fd, FIONREAD, &readable) == 0 && readable > 0;) {
    ssize_t got = read(fd, bytes, readable < (int)sizeof bytes ? (size_t)readable : sizeof bytes);

    if (got <= 0)
      break;
    for (ssize_t i = 0; i < got && kept < most; i++)
      ret[kept++] = bytes[i];
    drained += (int)got;
  }
  return kept;
}

/* Through the number of its read end, since the other one may be closed. */
static void fill(pid_t pid, int number, const struct fl_files_pipe *content)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
  fl_autoclose int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && write(fd, content->byte, content->bytes) < 0)
    return;                                    /* what is missing shows in the facts */
}

static bool is_read_end(int fd, const struct stat *status)
{
  return S_ISFIFO(status->st_mode) && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

static int learn_pipe(pid_t pid, int number, struct fl_files_pipe *ret, struct fl_error *err)
{
  fl_autoclose int pidfd = pidfd_open(pid, 0), fd = pidfd < 0 ? -1 : pidfd_getfd(pidfd, number, 0);
  struct stat status;
  int readable = 0;

  ret->bytes = 0;
  if (fd < 0 || fstat(fd, &status) < 0)
    return fl_fail_errno(err, "pidfd_getfd");
  if (number <= FL_DATA_FD || !is_read_end(fd, &status) || ioctl(fd, FIONREAD, &readable) < 0 || readable == 0)
    return 0;
  if (readable > FL_FILES_PIPE_BYTES)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "snapshot", "descriptor %d holds more than %d bytes", number, FL_FILES_PIPE_BYTES);
  ret->bytes = drain(fd, ret->byte, FL_FILES_PIPE_BYTES);
  fill(pid, number, ret);
  return 0;
}

int fl_files_learn(pid_t pid, struct fl_files *ret, struct fl_error *err)
{
  char info[INFO_BYTES], path[64];
  struct stat status;
  int r = list(pid, ret->number, &ret->count, FL_FILES_MAX, err);

  for (uint32_t i = 0; i < ret->count && r >= 0; i++) {
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, ret->number[i]);
    if (stat(path, &status) < 0 || S_ISDIR(status.st_mode))      /* notifications for a directory (F_NOTIFY) are told by nobody */
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBADF, "snapshot", "descriptor %d is a directory", ret->number[i]);
    if ((r = read_info(pid, ret->number[i], info, err)) < 0 || (r = learn_pipe(pid, ret->number[i], &ret->pipe[i], err)) < 0)
      break;
    ret->eventfd[i] = eventfd_count(info);
    const char *flags = strstr(info, "\nflags:");
    ret->flags[i] = flags ? (int)strtol(flags + sizeof "\nflags:", NULL, 8) & ~O_CLOEXEC : 0;
  }
  return r < 0 ? r : 0;
}

/* --- back --- */

static int close_new(struct fl_batch *batch, const struct fl_files *files, struct fl_error *err)
{
  fl_autofree int *number = calloc(FL_BATCH_CALLS_MAX, sizeof *number);
  uint32_t count = 0;

  if (!number)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "numbers");
  int r = list(batch->tracee->pid, number, &count, FL_BATCH_CALLS_MAX, err);
  if (r < 0)
    return r;
  fl_batch_begin(batch);
  for (uint32_t i = 0; i < count; i++)
    if (!bsearch(&number[i], files->number, files->count, sizeof number[0], ascending))
      fl_batch_add(batch, SYS_close, (uint64_t)number[i], 0, 0, 0, 0);
  return batch->calls ? fl_batch_run(batch, 0, err) : 0;
}

/* Only with what is there already: it never waits. */
static void put_count(int fd, uint64_t now, uint64_t then)
{
  eventfd_t taken;

  if (now == then)
    return;
  if (now > 0 && eventfd_read(fd, &taken) < 0)
    return;
  if (then > 0)
    eventfd_write(fd, then);
}

/* What F_SETFL and the like have changed; the file is shared by whoever else has it, as it was before. */
static void put_flags(int fd, int then)
{
  const struct f_owner_ex nobody = {F_OWNER_TID, 0};
  struct f_owner_ex owner = {0};
  int now = fcntl(fd, F_GETFL);

  if (now >= 0 && (now & ~O_CLOEXEC) != then)
    fcntl(fd, F_SETFL, then);
  if (fcntl(fd, F_GETSIG) > 0)
    fcntl(fd, F_SETSIG, 0);
  if (fcntl(fd, F_GETOWN_EX, &owner) == 0 && (owner.pid || owner.type != F_OWNER_TID))
    fcntl(fd, F_SETOWN_EX, &nobody);
}

static int put_contents(pid_t pid, const struct fl_files *files, struct fl_error *err)
{
  fl_autoclose int pidfd = pidfd_open(pid, 0);
  char info[INFO_BYTES];
  struct stat status;
  int r = pidfd < 0 ? fl_fail_errno(err, "pidfd_open") : 0;

  for (uint32_t i = 0; i < files->count && r >= 0; i++) {
    fl_autoclose int fd = pidfd_getfd(pidfd, files->number[i], 0);
    if (fd < 0 || fstat(fd, &status) < 0)
      continue;                                /* what is missing shows in the facts */
    put_flags(fd, files->flags[i]);
    if (files->number[i] <= FL_DATA_FD)
      continue;
    if (files->eventfd[i] != UINT64_MAX && (r = read_info(pid, files->number[i], info, err)) >= 0)
      put_count(fd, eventfd_count(info), files->eventfd[i]);
    else if (is_read_end(fd, &status)) {
      drain(fd, NULL, 0);
      if (files->pipe[i].bytes)
        fill(pid, files->number[i], &files->pipe[i]);
    }
  }
  return r < 0 ? r : 0;
}

int fl_files_put(struct fl_batch *batch, const struct fl_files *files, struct fl_error *err)
{
  int r = close_new(batch, files, err);

  return r < 0 ? r : put_contents(batch->tracee->pid, files, err);
}

/* --- facts --- */

static void add_options(struct fl_facts *facts, int number, int fd)
{
  struct option options[OPTIONS];

  memset(options, 0, sizeof options);
  for (int name = 1; name < OPTIONS; name++) {
    struct option *option = &options[name];
    socklen_t length = sizeof option->bytes;

    if (name == OPTION_ERROR || name == OPTION_INCOMING_CPU || name == OPTION_MEMORY || name == OPTION_NAPI || name == OPTION_PEER_PIDFD)
      continue;
    option->result = getsockopt(fd, SOL_SOCKET, name, option->bytes, &length) < 0 ? -errno : 0;
    option->length = length;
  }
  fl_facts_add(facts, options, sizeof options, "descriptor %d options", number);
}

/* Through a descriptor of our own to the same file, for a moment. */
static int add_state(struct fl_facts *facts, int pidfd, int number, struct kept *kept, struct fl_error *err)
{
  fl_autoclose int fd = pidfd_getfd(pidfd, number, 0);
  char name[NAME_BYTES] = "";
  struct f_owner_ex owner = {0};
  struct stat status;

  if (fd < 0 || fstat(fd, &status) < 0)
    return fl_fail_errno(err, "pidfd_getfd");
  kept->kind = (uint64_t)status.st_mode << 32 | status.st_rdev;
  kept->device = status.st_dev;
  kept->inode = status.st_ino;
  fcntl(fd, F_GETOWN_EX, &owner);
  kept->owner[0] = owner.type;
  kept->owner[1] = owner.pid;
  kept->signal = fcntl(fd, F_GETSIG);
  if (S_ISFIFO(status.st_mode)) {
    kept->pipe_bytes = fcntl(fd, F_GETPIPE_SZ);
    if (number > FL_DATA_FD)                   /* what was said on 1 and 2 is being read by the gateway */
      ioctl(fd, FIONREAD, &kept->readable);
  }
  if (S_ISSOCK(status.st_mode)) {
    socklen_t length = sizeof name;

    ioctl(fd, SIOCINQ, &kept->readable);
    ioctl(fd, SIOCOUTQ, &kept->unread);
    if (getsockname(fd, (struct sockaddr *)name, &length) == 0)
      fl_facts_add(facts, name, length < sizeof name ? length : sizeof name, "descriptor %d name", number);
    add_options(facts, number, fd);
  }
  fl_facts_add(facts, kept, sizeof *kept, "descriptor %d", number);
  return 0;
}

static int add_file(struct fl_facts *facts, pid_t pid, int pidfd, int number, struct fl_error *err)
{
  char info[INFO_BYTES], path[64], target[TARGET_BYTES];
  struct kept kept;

  memset(&kept, 0, sizeof kept);
  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
  ssize_t length = readlink(path, target, sizeof target);
  fl_facts_add(facts, target, length < 0 ? 0 : (size_t)length, "descriptor %d target", number);
  int bytes = read_info(pid, number, info, err);
  if (bytes < 0)
    return bytes;
  fl_facts_add(facts, info, (size_t)bytes, "descriptor %d information", number);
  return add_state(facts, pidfd, number, &kept, err);
}

/* Which numbers are the same open file: for each, the lowest of them. */
static int add_twins(struct fl_facts *facts, pid_t pid, const int *number, uint32_t count, struct fl_error *err)
{
  int twin[FL_FILES_MAX];

  for (uint32_t i = 0; i < count; i++) {
    twin[i] = number[i];
    for (uint32_t j = 0; j < i && twin[i] == number[i]; j++) {
      long order = syscall(SYS_kcmp, pid, pid, KCMP_FILE, number[j], number[i]);

      if (order < 0)
        return fl_fail_errno(err, "kcmp");
      if (order == 0)
        twin[i] = number[j];
    }
  }
  fl_facts_add(facts, twin, count * sizeof twin[0], "duplicates of descriptors");
  return 0;
}

int fl_files_facts(pid_t pid, struct fl_facts *facts, struct fl_error *err)
{
  fl_autoclose int pidfd = pidfd_open(pid, 0);
  int number[FL_FILES_MAX], r = pidfd < 0 ? fl_fail_errno(err, "pidfd_open") : 0;
  uint32_t count = 0;

  if (r == 0)
    r = list(pid, number, &count, FL_FILES_MAX, err);
  if (r == 0)
    fl_facts_add(facts, number, count * sizeof number[0], "descriptors");
  for (uint32_t i = 0; i < count && r == 0; i++)
    r = add_file(facts, pid, pidfd, number[i], err);
  return r < 0 ? r : add_twins(facts, pid, number, count, err);
}
