/* See manager.h. */
#include "sandboxd/manager.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

int fl_manager_tell(const char *socket_path, const char *state, struct fl_error *err)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(socket_path);
  fl_autoclose int fd = -1;

  if ((socket_path[0] != '/' && socket_path[0] != '@') || length < 2 || length >= sizeof address.sun_path)
    return fl_fail(err, FL_ERR_UNSUPPORTED, EAFNOSUPPORT, "connect", "NOTIFY_SOCKET is neither a path nor an abstract name");
  memcpy(address.sun_path, socket_path, length);
  if (socket_path[0] == '@')
    address.sun_path[0] = 0;
  fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fl_fail_errno(err, "socket");
  if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
    return fl_fail_errno(err, "sendto");
  return 0;
}
