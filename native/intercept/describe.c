/* What a call names, for whoever reads the log: a copy that may have changed by the time that the call is carried out (see Decisions). */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "base/cleanup.h"
#include "intercept/watch.h"

enum argument_kind { PATH, ADDRESS };

/* Which argument is a path, or an address with its length behind it. */
static const struct { uint16_t number; uint8_t argument, kind; } named[] = {
    {SYS_open, 0, PATH}, {SYS_creat, 0, PATH}, {SYS_openat, 1, PATH}, {SYS_openat2, 1, PATH}, {SYS_execve, 0, PATH}, {SYS_execveat, 1, PATH},
    {SYS_stat, 0, PATH}, {SYS_lstat, 0, PATH}, {SYS_newfstatat, 1, PATH}, {SYS_statx, 1, PATH}, {SYS_access, 0, PATH}, {SYS_faccessat, 1, PATH}, {SYS_faccessat2, 1, PATH},
    {SYS_readlink, 0, PATH}, {SYS_readlinkat, 1, PATH}, {SYS_unlink, 0, PATH}, {SYS_unlinkat, 1, PATH}, {SYS_rmdir, 0, PATH}, {SYS_mkdir, 0, PATH}, {SYS_mkdirat, 1, PATH},
    {SYS_mknod, 0, PATH}, {SYS_mknodat, 1, PATH}, {SYS_rename, 0, PATH}, {SYS_renameat, 1, PATH}, {SYS_renameat2, 1, PATH}, {SYS_link, 0, PATH}, {SYS_linkat, 1, PATH},
    {SYS_symlink, 0, PATH}, {SYS_symlinkat, 0, PATH}, {SYS_chmod, 0, PATH}, {SYS_fchmodat, 1, PATH}, {SYS_chown, 0, PATH}, {SYS_lchown, 0, PATH}, {SYS_fchownat, 1, PATH},
    {SYS_truncate, 0, PATH}, {SYS_chdir, 0, PATH}, {SYS_utimensat, 1, PATH}, {SYS_statfs, 0, PATH}, {SYS_memfd_create, 0, PATH},
    {SYS_connect, 1, ADDRESS}, {SYS_bind, 1, ADDRESS}, {SYS_sendto, 4, ADDRESS},
};

static void describe_address(const struct sockaddr_storage *address, socklen_t bytes, char *to, size_t room)
{
  char text[INET6_ADDRSTRLEN] = "";

  if (address->ss_family == AF_INET && bytes >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    snprintf(to, room, "%s:%u", text, ntohs(v4->sin_port));
  } else if (address->ss_family == AF_INET6 && bytes >= sizeof(struct sockaddr_in6)) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    snprintf(to, room, "[%s]:%u", text, ntohs(v6->sin6_port));
  } else if (address->ss_family == AF_UNIX && bytes > offsetof(struct sockaddr_un, sun_path)) {
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    int length = (int)(bytes - offsetof(struct sockaddr_un, sun_path)), abstract = local->sun_path[0] == 0;

    snprintf(to, room, "unix:%s%.*s", abstract ? "@" : "", length - abstract, local->sun_path + abstract);
  } else {
    snprintf(to, room, "family %u", address->ss_family);
  }
}

void fl_describe(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, char *to, size_t bytes)
{
  const __u64 *argument = notice->data.args;
  struct sockaddr_storage address = {0};
  size_t i = 0;

  to[0] = 0;
  while (i < FL_COUNT(named) && named[i].number != notice->data.nr)
    i++;
  if (i == FL_COUNT(named) || argument[named[i].argument] == 0)
    return;
  if (named[i].kind == PATH) {
    int length = fl_target_read_string(monitor, watch, notice, argument[named[i].argument], to, bytes - 1);

    to[length >= 0 ? length : length == -ENAMETOOLONG ? (int)bytes - 1 : 0] = 0;
    return;
  }
  uint32_t length = (uint32_t)argument[named[i].argument + 1];
  if (length > sizeof address)
    length = sizeof address;
  if (length >= sizeof address.ss_family && fl_target_read(monitor, watch, notice, argument[named[i].argument], &address, length) == 0)
    describe_address(&address, length, to, bytes);
}
