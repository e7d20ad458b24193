/* See files.h. */
#include "rewind/files.h"

#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <stdbool.h>
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

enum { INFO_BYTES = 16384, TARGET_BYTES = 512, OPTIONS = 92, OPTION_BYTES = 64, NAME_BYTES = 128, DRAINED_MAX = 1 << 20 };
/* Options of sockets that are not asked for: the error is taken by asking, memory and processor change by themselves, a pidfd would be made. */
enum { OPTION_ERROR = 4, OPTION_INCOMING_CPU = 49, OPTION_MEMORY = 55, OPTION_NAPI = 56, OPTION_PEER_PIDFD = 77 };
/* Nor those that nobody can set, of a socket that is the same one: type, protocol, domain, what is known of the peer, cookies, what filters can do; and limits of time, which are told twice, in two sizes. */
enum { OPTION_TYPE = 3, OPTION_PEER = 17, OPTION_PEER_SECURITY = 31, OPTION_PROTOCOL = 38, OPTION_DOMAIN = 39, OPTION_FILTER_EXTENSIONS = 48, OPTION_COOKIE = 57, OPTION_PEER_GROUPS = 59, OPTION_NETWORK_COOKIE = 71 };
enum { OPTION_RECEIVE_TIME_AGAIN = 66, OPTION_SEND_TIME_AGAIN = 67 };

/* Of asynchronous notification. */
struct owner { struct f_owner_ex who; int signal; };
struct kept { uint64_t device, inode, kind; int link_bytes, owner[2], signal, pipe_bytes, readable, unread, name_bytes; };
struct option { int32_t result; uint32_t length; uint8_t bytes[OPTION_BYTES]; };

static int ascending(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static int list(const struct fl_proc *proc, int *ret_numbers, uint32_t *ret_count, uint32_t most, struct fl_error *err)
{
  int count = fl_proc_numbers(proc->file[FL_PROC_FD], 0, ret_numbers, most);

  *ret_count = count < 0 ? 0 : (uint32_t)count;
  if (count == -E2BIG)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "rewind", "more than %u descriptors are open", most);
  return count < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, -count, "rewind", "its descriptors cannot be listed") : 0;
}

static int read_info(const struct fl_files *files, uint32_t index, char *ret, struct fl_error *err)
{
  ssize_t length = fl_proc_read(files->info[index], ret, INFO_BYTES);

  return length < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, (int)-length, "rewind", "descriptor %d cannot be read", files->number[index]) : (int)length;
}

/* Of a file that is read in place: each instance has opened it itself. -1: it has none. */
static int64_t position_of(const struct stat *status, const char *info)
{
  return S_ISREG(status->st_mode) && strncmp(info, "pos:", 4) == 0 ? strtoll(info + 4, NULL, 10) : -1;
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

static int learn_pipe(pid_t pid, int number, int fd, struct fl_files_pipe *ret, struct fl_error *err)
{
  int readable = 0;

  if (ioctl(fd, FIONREAD, &readable) < 0 || readable == 0)
    return 0;
  if (readable > FL_FILES_PIPE_BYTES)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "snapshot", "descriptor %d holds more than %d bytes", number, FL_FILES_PIPE_BYTES);
  ret->bytes = drain(fd, ret->byte, FL_FILES_PIPE_BYTES);
  fill(pid, number, ret);
  return 0;
}

static bool is_asked(int name)
{
  static const int unasked[] = {OPTION_ERROR, OPTION_INCOMING_CPU, OPTION_MEMORY, OPTION_NAPI, OPTION_PEER_PIDFD, OPTION_TYPE, OPTION_PEER, OPTION_PEER_SECURITY, OPTION_PROTOCOL, OPTION_DOMAIN,
                                OPTION_FILTER_EXTENSIONS, OPTION_COOKIE, OPTION_PEER_GROUPS, OPTION_NETWORK_COOKIE, OPTION_RECEIVE_TIME_AGAIN, OPTION_SEND_TIME_AGAIN};

  for (size_t i = 0; i < FL_COUNT(unasked); i++)
    if (name == unasked[i])
      return false;
  return true;
}

static void learn_options(int fd, uint64_t ret_unknown[2])
{
  for (int name = 1; name < OPTIONS; name++) {
    uint8_t bytes[OPTION_BYTES];
    socklen_t length = sizeof bytes;

    if (!is_asked(name) || (getsockopt(fd, SOL_SOCKET, name, bytes, &length) < 0 && errno == ENOPROTOOPT))
      ret_unknown[name / 64] |= 1ull << name % 64;
  }
}

static int learn_file(const struct fl_proc *proc, struct fl_files *ret, uint32_t i, struct fl_error *err)
{
  fl_autoclose int fd = pidfd_getfd(ret->pidfd, ret->number[i], 0);
  char info[INFO_BYTES], path[64];
  struct stat status;

  if (fd < 0 || fstat(fd, &status) < 0)
    return fl_fail_errno(err, "pidfd_getfd");
  if (S_ISDIR(status.st_mode))                 /* notifications for a directory (F_NOTIFY) are told by nobody */
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBADF, "snapshot", "descriptor %d is a directory", ret->number[i]);
  snprintf(path, sizeof path, "fdinfo/%d", ret->number[i]);
  ret->info[i] = openat(proc->directory, path, O_RDONLY | O_CLOEXEC);
  int r = ret->info[i] < 0 ? fl_fail_errno(err, "open_fdinfo") : read_info(ret, i, info, err);
  if (r >= 0 && ret->number[i] > FL_DATA_FD && is_read_end(fd, &status))
    r = learn_pipe(proc->pid, ret->number[i], fd, &ret->pipe[i], err);
  if (r < 0)
    return r;
  if (S_ISSOCK(status.st_mode))
    learn_options(fd, ret->unknown[i].bits);
  ret->eventfd[i] = eventfd_count(info);
  ret->position[i] = position_of(&status, info);
  ret->flags[i] = fcntl(fd, F_GETFL) & ~O_CLOEXEC;
  return 0;
}

int fl_files_learn(const struct fl_proc *proc, struct fl_files *ret, struct fl_error *err)
{
  int r = list(proc, ret->number, &ret->count, FL_FILES_MAX, err);

  ret->pidfd = pidfd_open(proc->pid, 0);
  if (r == 0 && ret->pidfd < 0)
    return fl_fail_errno(err, "pidfd_open");
  for (uint32_t i = 0; i < ret->count && r == 0; i++)
    r = learn_file(proc, ret, i, err);
  return r;
}

/* --- back --- */

static bool are_open(const struct fl_files *files, const int *number, uint32_t count)
{
  return count == files->count && memcmp(number, files->number, count * sizeof number[0]) == 0;
}

int fl_files_close(struct fl_batch *batch, const struct fl_proc *proc, const struct fl_files *files, struct fl_error *err)
{
  int number[FL_BATCH_CALLS_MAX];
  uint32_t count = 0;
  int r = list(proc, number, &count, FL_BATCH_CALLS_MAX, err);
  if (r < 0 || are_open(files, number, count))
    return r;
  fl_batch_begin(batch);
  for (uint32_t i = 0; i < count; i++)
    if (!bsearch(&number[i], files->number, files->count, sizeof number[0], ascending))
      fl_batch_add(batch, SYS_close, (uint64_t)number[i], 0, 0, 0, 0);
  r = batch->calls ? fl_batch_run(batch, 0, err) : 0;
  if (r == 0)
    r = list(proc, number, &count, FL_BATCH_CALLS_MAX, err);
  return r < 0 || are_open(files, number, count) ? r : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "descriptors: not as they were");
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

static struct owner owner_of(int fd)
{
  struct owner owner = {.signal = fcntl(fd, F_GETSIG)};

  fcntl(fd, F_GETOWN_EX, &owner.who);
  return owner;
}

/* What F_SETFL and the like have changed; the file is shared by whoever else has it, as it was before. */
static struct owner put_flags(int fd, int then)
{
  const struct f_owner_ex nobody = {F_OWNER_TID, 0};
  const struct owner owner = owner_of(fd);
  int now = fcntl(fd, F_GETFL);

  if (now >= 0 && (now & ~O_CLOEXEC) != then)
    fcntl(fd, F_SETFL, then);
  if (owner.signal <= 0 && owner.who.pid == 0 && owner.who.type == F_OWNER_TID)
    return owner;
  fcntl(fd, F_SETSIG, 0);
  fcntl(fd, F_SETOWN_EX, &nobody);
  return owner_of(fd);
}

static int put_contents(pid_t pid, const struct fl_files *files, uint32_t i, int fd, const struct stat *status, struct fl_error *err)
{
  char info[INFO_BYTES];

  if (files->position[i] >= 0 && S_ISREG(status->st_mode))
    lseek(fd, files->position[i], SEEK_SET);
  if (files->number[i] <= FL_DATA_FD)
    return 0;
  if (files->eventfd[i] != UINT64_MAX) {
    int r = read_info(files, i, info, err);
    if (r < 0)
      return r;
    put_count(fd, eventfd_count(info), files->eventfd[i]);
  } else if (is_read_end(fd, status)) {
    drain(fd, NULL, 0);
    if (files->pipe[i].bytes)
      fill(pid, files->number[i], &files->pipe[i]);
  }
  return 0;
}

/* --- facts --- */

static void add_options(struct fl_facts *facts, int number, int fd, const uint64_t unknown[2])
{
  struct option options[OPTIONS];

  memset(options, 0, sizeof options);
  for (int name = 1; name < OPTIONS; name++) {
    struct option *option = &options[name];
    socklen_t length = sizeof option->bytes;

    if (unknown[name / 64] >> name % 64 & 1)
      continue;
    option->result = getsockopt(fd, SOL_SOCKET, name, option->bytes, &length) < 0 ? -errno : 0;
    option->length = length;
  }
  fl_facts_add(facts, options, sizeof options, "descriptor %d options", number);
}

static void add_state(struct fl_facts *facts, int number, int fd, const struct stat *status, const struct owner *owner, const uint64_t unknown[2], struct kept *kept)
{
  char name[NAME_BYTES] = "";

  kept->kind = (uint64_t)status->st_mode << 32 | status->st_rdev;
  kept->device = status->st_dev;
  kept->inode = status->st_ino;
  kept->owner[0] = owner->who.type;
  kept->owner[1] = owner->who.pid;
  kept->signal = owner->signal;
  if (S_ISFIFO(status->st_mode)) {
    kept->pipe_bytes = fcntl(fd, F_GETPIPE_SZ);
    if (number > FL_DATA_FD)                   /* what was said on 1 and 2 is being read by the gateway */
      ioctl(fd, FIONREAD, &kept->readable);
  }
  if (S_ISSOCK(status->st_mode)) {
    socklen_t length = sizeof name;

    ioctl(fd, SIOCINQ, &kept->readable);
    if (number != FL_DATA_FD)                  /* what was said there is being read as well: how it was started, to begin with */
      ioctl(fd, SIOCOUTQ, &kept->unread);
    if (getsockname(fd, (struct sockaddr *)name, &length) == 0)
      fl_facts_add(facts, name, length < sizeof name ? length : sizeof name, "descriptor %d name", number);
    add_options(facts, number, fd, unknown);
  }
  fl_facts_add(facts, kept, sizeof *kept, "descriptor %d", number);
}

/* Through a descriptor of our own to the same file, for a moment. */
static int put_file(const struct fl_proc *proc, const struct fl_files *files, uint32_t i, struct kept *kept, struct fl_facts *facts, struct fl_error *err)
{
  fl_autoclose int fd = pidfd_getfd(files->pidfd, files->number[i], 0);
  char info[INFO_BYTES], path[64], target[TARGET_BYTES];
  struct stat status;

  if (fd < 0 || fstat(fd, &status) < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, errno, "rewind", "descriptor %d: not as it was", files->number[i]);
  const struct owner owner = put_flags(fd, files->flags[i]);
  int r = put_contents(proc->pid, files, i, fd, &status, err);
  if ((status.st_mode & S_IFMT) == 0) {        /* epoll sets, counters and the like are of one inode: its name tells which kind it is */
    snprintf(path, sizeof path, "fd/%d", files->number[i]);
    ssize_t length = readlinkat(proc->directory, path, target, sizeof target);
    fl_facts_add(facts, target, length < 0 ? 0 : (size_t)length, "descriptor %d kind", files->number[i]);
  }
  int bytes = r < 0 ? r : read_info(files, i, info, err);
  if (bytes < 0)
    return bytes;
  fl_facts_add(facts, info, (size_t)bytes, "descriptor %d information", files->number[i]);
  memset(kept, 0, sizeof *kept);
  add_state(facts, files->number[i], fd, &status, &owner, files->unknown[i].bits, kept);
  return 0;
}

/* Which numbers are the same open file: for each, the lowest of them. */
static int add_twins(struct fl_facts *facts, pid_t pid, const struct fl_files *files, const struct kept *kept, struct fl_error *err)
{
  const int *number = files->number;
  int twin[FL_FILES_MAX];

  for (uint32_t i = 0; i < files->count; i++) {
    twin[i] = number[i];
    for (uint32_t j = 0; j < i && twin[i] == number[i]; j++) {
      if (kept[i].device != kept[j].device || kept[i].inode != kept[j].inode)
        continue;
      long order = syscall(SYS_kcmp, pid, pid, KCMP_FILE, number[j], number[i]);
      if (order < 0)
        return fl_fail_errno(err, "kcmp");
      if (order == 0)
        twin[i] = number[j];
    }
  }
  fl_facts_add(facts, twin, files->count * sizeof twin[0], "duplicates of descriptors");
  return 0;
}

int fl_files_put(const struct fl_proc *proc, const struct fl_files *files, struct fl_facts *facts, struct fl_error *err)
{
  struct kept kept[FL_FILES_MAX];
  int r = 0;

  for (uint32_t i = 0; i < files->count && r == 0; i++)
    r = put_file(proc, files, i, &kept[i], facts, err);
  return r < 0 ? r : add_twins(facts, proc->pid, files, kept, err);
}
