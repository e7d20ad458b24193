/*
 * open by rule, without a race: the path is copied once; what it leads to is found below the sandbox's root with the instance's ids and no capability, as an O_PATH descriptor; the kernel says where that really
 * stands; and what is handed over is that very file, opened through the descriptor. Nobody looks at the caller's memory a second time.
 *
 * Refused beside what no rule allows: pipes and sockets by name (opening one may block), links below /proc/PID/fd, files that a dangling link would create.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "intercept/policy.h"
#include "intercept/watch.h"

enum { ATTEMPTS = 4, PROC_TEXT = 40 };

struct wanted { int directory; uint64_t flags, mode; char path[FL_WATCH_PATH_BYTES + FL_WATCH_PATH_BYTES]; };

static int find(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
  struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};

  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);

    if (fd >= 0 || errno != EAGAIN)              /* EAGAIN: somebody renames on the way */
      return fd < 0 ? -errno : (int)fd;
  }
  return -EAGAIN;
}

static int capabilities(uint32_t effective, uint32_t permitted)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = effective, .permitted = permitted}};

  return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

#define CAPABILITIES (1u << CAP_SYS_PTRACE | 1u << CAP_SETUID | 1u << CAP_SETGID)

/* For files this thread is the instance from here on, without a capability. The calls themselves do not tell whether they worked: what they are now does. */
static int become(uint32_t id)
{
  syscall(SYS_setfsgid, id);
  syscall(SYS_setfsuid, id);
  if (syscall(SYS_setfsgid, -1) != (long)id || syscall(SYS_setfsuid, -1) != (long)id)
    return -EPERM;
  return capabilities(0, CAPABILITIES);
}

static void unbecome(const struct fl_monitor *monitor)
{
  if (capabilities(CAPABILITIES, CAPABILITIES) < 0)
    abort();
  syscall(SYS_setfsgid, monitor->id);
  syscall(SYS_setfsuid, monitor->id);
}

/* Where a thing stands inside the sandbox, whose root is that of its mount namespace. */
static int whereabouts(const struct fl_monitor *monitor, int fd, char *to, size_t bytes)
{
  char name[16];

  snprintf(name, sizeof name, "%d", fd);
  ssize_t length = readlinkat(monitor->self, name, to, bytes - 1);
  if (length < 0 || (size_t)length >= bytes - 1)
    return -ENAMETOOLONG;
  to[length] = 0;
  return to[0] == '/' ? 0 : -EACCES;
}

static int open_root(struct fl_monitor *monitor, struct fl_watch *watch, pid_t tid)
{
  char path[32];

  if (watch->root >= 0)
    return 0;
  snprintf(path, sizeof path, "%d/root", tid);
  watch->root = fl_target_open(monitor, watch, path, O_PATH | O_DIRECTORY);
  return watch->root < 0 ? -errno : 0;
}

/* "/proc/self" is somebody else here. */
static void name_self(const struct fl_target *target, char *path, size_t bytes)
{
  static const char self[] = "/proc/self", thread[] = "/proc/thread-self";
  char rest[FL_WATCH_PATH_BYTES];
  bool of_thread = strncmp(path, thread, sizeof thread - 1) == 0 && (path[sizeof thread - 1] == '/' || path[sizeof thread - 1] == 0);

  if (!of_thread && !(strncmp(path, self, sizeof self - 1) == 0 && (path[sizeof self - 1] == '/' || path[sizeof self - 1] == 0)))
    return;
  snprintf(rest, sizeof rest, "%s", path + (of_thread ? sizeof thread : sizeof self) - 1);
  if (of_thread)
    snprintf(path, bytes, "/proc/%d/task/%d%s", target->inner_tgid, target->inner_tid, rest);
  else
    snprintf(path, bytes, "/proc/%d%s", target->inner_tgid, rest);
}

/* The path from the sandbox's root: a relative one begins at the caller's directory, or at one that it holds. */
static int locate(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, struct wanted *wanted)
{
  char link[PROC_TEXT], text[FL_WATCH_PATH_BYTES];
  int length = fl_target_read_string(monitor, watch, notice, address, text, sizeof text);
  const struct fl_target *target = fl_target_find(monitor, watch, notice);

  if (length < 0)
    return length;
  if (!target)
    return -ESRCH;
  if (length == 0)
    return -ENOENT;
  wanted->path[0] = 0;
  if (text[0] != '/') {
    if (wanted->directory == AT_FDCWD)
      snprintf(link, sizeof link, "%d/cwd", target->tid);
    else
      snprintf(link, sizeof link, "%d/fd/%d", target->tid, wanted->directory);
    ssize_t bytes = fl_target_readlink(monitor, watch, link, wanted->path, FL_WATCH_PATH_BYTES - 1);
    if (bytes < 0 || wanted->path[0] != '/')
      return wanted->directory == AT_FDCWD ? -ENOENT : bytes < 0 ? -EBADF : -ENOTDIR;
    wanted->path[bytes] = '/';
    wanted->path[bytes + 1] = 0;
  }
  strcat(wanted->path, text);
  name_self(target, wanted->path, sizeof wanted->path);
  int r = open_root(monitor, watch, target->tid);
  return r < 0 ? r : fl_notice_valid(watch, notice) ? 0 : -ESRCH;
}

/* Of regular files, directories and devices nobody waits for; a link itself only as a path. */
static int openable(int fd, uint64_t flags)
{
  struct stat status;

  if (fstat(fd, &status) < 0)
    return -errno;
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISCHR(status.st_mode) || (flags & O_PATH))
    return 0;
  return S_ISLNK(status.st_mode) ? -ELOOP : -ENXIO;
}

static int open_existing(struct fl_monitor *monitor, const struct fl_watch *watch, const struct wanted *wanted, int refusal)
{
  char place[FL_WATCH_PATH_BYTES], name[16];
  uint64_t flags = wanted->flags, tmpfile = flags & O_TMPFILE & ~(uint64_t)O_DIRECTORY;
  bool writes = !(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) || tmpfile);
  fl_autoclose int found = find(watch->root, wanted->path, O_PATH | (flags & (O_NOFOLLOW | O_DIRECTORY)), 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

  if (found < 0)
    return found;
  int r = whereabouts(monitor, found, place, sizeof place);
  if (r < 0 || !fl_intercept_may_reach(&watch->policy, place, writes ? FL_INTERCEPT_WRITE : FL_INTERCEPT_READ))
    return -refusal;
  if ((r = openable(found, flags)) < 0 || (flags & O_PATH))
    return r < 0 ? r : fl_steal_fd(&found);
  snprintf(name, sizeof name, "%d", found);
  int fd = openat(monitor->self, name, (int)(flags & ~(uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW | O_DIRECTORY)) | (tmpfile ? O_TMPFILE : 0) | O_NOCTTY | O_CLOEXEC, (mode_t)wanted->mode);
  return fd < 0 ? -errno : fd;
}

static int create(struct fl_monitor *monitor, const struct fl_watch *watch, struct wanted *wanted, int refusal)
{
  char place[FL_WATCH_PATH_BYTES + NAME_MAX + 2];
  char *slash = strrchr(wanted->path, '/');
  const char *name = slash + 1;

  if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return -EISDIR;
  if (strlen(name) > NAME_MAX)
    return -ENAMETOOLONG;
  *slash = 0;
  fl_autoclose int parent = find(watch->root, slash == wanted->path ? "/" : wanted->path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  *slash = '/';
  if (parent < 0)
    return parent;
  if (whereabouts(monitor, parent, place, FL_WATCH_PATH_BYTES) < 0)
    return -refusal;
  size_t length = strlen(place);
  snprintf(place + length, sizeof place - length, "%s%s", length == 1 ? "" : "/", name);
  if (!fl_intercept_may_reach(&watch->policy, place, FL_INTERCEPT_WRITE))
    return -refusal;
  /* With O_EXCL it is a new file, and nothing that somebody put there meanwhile. */
  return find(parent, name, (wanted->flags & ~(uint64_t)O_DIRECTORY) | O_CREAT | O_EXCL | O_NOFOLLOW, wanted->mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static int open_wanted(struct fl_monitor *monitor, const struct fl_watch *watch, struct wanted *wanted, int refusal)
{
  bool creates = (wanted->flags & O_CREAT) && !(wanted->flags & O_PATH), exclusive = creates && (wanted->flags & O_EXCL);

  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!exclusive) {
      int fd = open_existing(monitor, watch, wanted, refusal);

      if (fd != -ENOENT || !creates)
        return fd;
    }
    if (creates) {
      int fd = create(monitor, watch, wanted, refusal);

      if (fd != -EEXIST || exclusive)
        return fd;
    }
  }
  return -EAGAIN;
}

/* As the kernel reads the arguments of each. */
static uint64_t read_call(const struct seccomp_notif *notice, struct wanted *wanted)
{
  const __u64 *argument = notice->data.args;

  wanted->directory = AT_FDCWD;
  switch (notice->data.nr) {
  case SYS_creat:
    wanted->flags = O_CREAT | O_WRONLY | O_TRUNC;
    wanted->mode = argument[1];
    return argument[0];
  case SYS_open:
    wanted->flags = (uint32_t)argument[1];
    wanted->mode = argument[2];
    return argument[0];
  default:
    wanted->directory = (int)argument[0];
    wanted->flags = (uint32_t)argument[2];
    wanted->mode = argument[3];
    return argument[1];
  }
}

/* open(2) does not mind flags that it does not know, and reads a mode only where it needs one. */
static void tidy(struct wanted *wanted)
{
  wanted->flags &= O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
  if ((wanted->flags & O_TMPFILE) != O_TMPFILE)
    wanted->flags &= ~((uint64_t)O_TMPFILE & ~(uint64_t)O_DIRECTORY);
  if (wanted->flags & O_PATH)
    wanted->flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  wanted->mode = wanted->flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? wanted->mode & 07777 : 0;
}

void fl_opening(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer)
{
  static struct wanted wanted;                   /* one thread opens */
  int refusal = fl_intercept_errno(&watch->policy, (uint32_t)notice->data.nr);
  uint64_t address = read_call(notice, &wanted);

  tidy(&wanted);
  int r = locate(monitor, watch, notice, address, &wanted);
  if (r == 0) {
    uint32_t mask;

    if (wanted.mode && fl_target_umask(monitor, (pid_t)notice->pid, &mask))
      wanted.mode &= ~(uint64_t)mask;
    r = become(watch->id);
    if (r == 0)
      r = open_wanted(monitor, watch, &wanted, refusal);
    unbecome(monitor);
  }
  fl_autoclose int fd = r;
  if (fd >= 0) {
    struct seccomp_notif_addfd give = {.id = notice->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd, .newfd_flags = wanted.flags & O_CLOEXEC};

    r = ioctl(watch->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give) < 0 ? -errno : 0;
    *ret_answer = (struct fl_answer){.verdict = FL_SYSCALL_ALLOWED, .answered = r == 0 || r == -ENOENT, .error = -r};
    return;
  }
  /* What does not exist, or the instance may not open anyway, was not refused by the rule. */
  *ret_answer = (struct fl_answer){.error = -r, .verdict = r == -refusal || r == -ENXIO || r == -ELOOP ? FL_SYSCALL_DENIED : FL_SYSCALL_ALLOWED};
}

void fl_executing(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer)
{
  static struct wanted wanted;
  char place[FL_WATCH_PATH_BYTES], link[PROC_TEXT];
  int refusal = fl_intercept_errno(&watch->policy, (uint32_t)notice->data.nr), r, found = -1;
  bool by_descriptor = notice->data.nr == SYS_execveat && (notice->data.args[4] & AT_EMPTY_PATH);

  wanted.directory = notice->data.nr == SYS_execveat ? (int)notice->data.args[0] : AT_FDCWD;
  r = locate(monitor, watch, notice, notice->data.args[notice->data.nr == SYS_execveat], &wanted);
  if (r == -ENOENT && by_descriptor) {
    snprintf(link, sizeof link, "%d/fd/%d", (pid_t)notice->pid, wanted.directory);
    found = fl_target_open(monitor, watch, link, O_PATH);
    r = found < 0 ? -EBADF : 0;
  } else if (r == 0) {
    if ((r = become(watch->id)) == 0)
      found = r = find(watch->root, wanted.path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    unbecome(monitor);
  }
  fl_autoclose int file = found;
  if (r >= 0 && (whereabouts(monitor, file, place, sizeof place) < 0 || !fl_intercept_may_reach(&watch->policy, place, FL_INTERCEPT_EXECUTE)))
    r = -refusal;
  if (r >= 0)
    *ret_answer = (struct fl_answer){.verdict = FL_SYSCALL_ALLOWED, .proceed = true};
  else
    *ret_answer = (struct fl_answer){.error = -r, .verdict = r == -refusal ? FL_SYSCALL_DENIED : FL_SYSCALL_ALLOWED};
}
