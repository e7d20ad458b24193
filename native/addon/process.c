/*
 * Descriptors, exec, turns of the scheduler: see process.h.
 */
#include "addon/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/lane.h"
#include "base/memfd.h"
#include "sys/syscalls.h"

#ifndef MFD_EXEC                               /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

int fl_memfd(const char *name, const void *bytes, size_t size, struct fl_error *err)
{
  fl_autoclose int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

  if (fd < 0 && errno == EINVAL)               /* an older kernel: every memfd is executable */
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0)
    return fl_fail_errno(err, "memfd_create");
  for (size_t done = 0; done < size;) {
    ssize_t written = write(fd, (const char *)bytes + done, size - done);

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return fl_fail_errno(err, "write");
    done += (size_t)written;
  }
  if (fchmod(fd, 0555) < 0)
    return fl_fail_errno(err, "fchmod");
  if (fl_memfd_seal(fd, SEALS) < 0)
    return fl_fail_errno(err, "fcntl");
  return fl_steal_fd(&fd);
}

/* Node sets close-on-exec on the standard streams and may have made them nonblocking; what comes next expects neither. */
static void restore_streams(void)
{
  for (int fd = 0; fd <= 2; fd++) {
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && (flags & O_NONBLOCK))
      fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    fcntl(fd, F_SETFD, 0);
  }
}

int fl_exec(int fd, char *const argv[], char *const envp[], const int *keep_fds, size_t keep_count, struct fl_error *err)
{
  struct sigaction dispositions[NSIG];
  sigset_t mask;
  int result;

  for (size_t index = 0; index < keep_count; index++) {
    int flags = fcntl(keep_fds[index], F_GETFD);

    if (flags < 0 || fcntl(keep_fds[index], F_SETFD, flags & ~FD_CLOEXEC) < 0)
      return fl_fail_errno(err, "fcntl");
  }
  for (int signal = 1; signal < NSIG; signal++)
    if (sigaction(signal, NULL, &dispositions[signal]) < 0)
      dispositions[signal].sa_handler = SIG_DFL;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  restore_streams();
  fl_signals_reset();
  execveat(fd, "", argv, envp, AT_EMPTY_PATH);
  result = fl_fail_errno(err, "execveat");
  for (int signal = 1; signal < NSIG; signal++)
    sigaction(signal, &dispositions[signal], NULL);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  return result;
}

int fl_peer(int fd, struct ucred *ret_peer, struct fl_error *err)
{
  socklen_t size = sizeof *ret_peer;

  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
    return fl_fail_errno(err, "getsockopt");
  return 0;
}

static bool listens(int fd, uint16_t port)
{
  struct sockaddr_storage address;
  socklen_t size = sizeof address, flag_size = sizeof(int);
  int flag = 0;

  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &flag, &flag_size) < 0 || !flag || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
    return false;
  if (address.ss_family == AF_INET6)
    return ((const struct sockaddr_in6 *)&address)->sin6_port == htons(port);
  return address.ss_family == AF_INET && ((const struct sockaddr_in *)&address)->sin_port == htons(port);
}

int fl_prefer_short_turns(struct fl_error *err)
{
  struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; } attributes = { .size = sizeof attributes };

  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0)
    return fl_fail_errno(err, "sched_getattr");
  if (attributes.policy != SCHED_OTHER)
    return 0;                                    /* the operator has other plans */
  attributes.size = sizeof attributes;
  attributes.flags = 0;
  attributes.runtime = FL_TURN_NS;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) < 0 ? fl_fail_errno(err, "sched_setattr") : 0;
}

int fl_keep_lane(bool open, struct fl_error *err)
{
  static struct fl_lane lane;
  static int found = 1;
  static DIR *threads;                           /* kept: without descriptors left the lane could be opened, but never closed again */

  if (found > 0)
    found = fl_lane_find(&lane);
  if (found < 0)
    return 0;
  if (!threads && !(threads = opendir("/proc/self/task")))
    return fl_fail_errno(err, "opendir");
  rewinddir(threads);
  for (const struct dirent *entry; (entry = readdir(threads));) {
    pid_t thread = atoi(entry->d_name);
    enum fl_processors where = !open ? FL_PROCESSORS_ALL : thread == gettid() ? FL_PROCESSORS_LANE : FL_PROCESSORS_OTHERS;

    if (thread > 0)
      sched_setaffinity(thread, sizeof(cpu_set_t), &lane.processors[where]);   /* one that has just ended is nowhere */
  }
  return 1;
}

int fl_prefer_successor(uint16_t port, struct fl_error *err)
{
  /* The group's members are numbered as they joined. One that is alone has number 0: with a number that nobody has, the kernel chooses as if there were no filter. */
  struct sock_filter second[] = { BPF_STMT(BPF_RET | BPF_K, 1) };
  const struct sock_fprog program = { .len = 1, .filter = second };
  DIR *descriptors = opendir("/proc/self/fd");
  int listening = -1;

  if (!descriptors)
    return fl_fail_errno(err, "opendir");
  for (const struct dirent *entry; listening < 0 && (entry = readdir(descriptors));)
    if (listens(atoi(entry->d_name), port))
      listening = atoi(entry->d_name);
  closedir(descriptors);
  if (listening < 0)
    return fl_fail(err, FL_ERR_SYSTEM, ENOENT, "preferSuccessor", "nothing listens on port %u", port);
  return setsockopt(listening, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0 ? fl_fail_errno(err, "setsockopt") : 0;
}
