/*
 * Descriptors, exec and service notification: see process.h.
 */
#include "addon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
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
  if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
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

int fl_notify(const char *state, size_t length, struct fl_error *err)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const char *path = getenv("NOTIFY_SOCKET");
  size_t path_length = path ? strlen(path) : 0;
  fl_autoclose int fd = -1;

  if (path_length == 0)
    return 0;
  if ((path[0] != '/' && path[0] != '@') || path_length < 2 || path_length >= sizeof address.sun_path)
    return fl_fail(err, FL_ERR_UNSUPPORTED, EAFNOSUPPORT, "connect", "NOTIFY_SOCKET is neither a path nor an abstract name");
  memcpy(address.sun_path, path, path_length);
  if (path[0] == '@')
    address.sun_path[0] = 0;
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fl_fail_errno(err, "socket");
  if (sendto(fd, state, length, MSG_NOSIGNAL, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_length)) < 0)
    return fl_fail_errno(err, "sendto");
  return 1;
}

int fl_peer(int fd, struct ucred *ret_peer, struct fl_error *err)
{
  socklen_t size = sizeof *ret_peer;

  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
    return fl_fail_errno(err, "getsockopt");
  return 0;
}
