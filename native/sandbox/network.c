/* See network.h. Formats: net/core/net-procfs.c, net/ipv4/proc.c. */
#include "sandbox/network.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { TABLE_BYTES = 4096, WAITING_MAX = 1024 };

int fl_network_loopback(struct fl_error *err)
{
  struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
  fl_autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return fl_fail_errno(err, "socket");
  return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? fl_fail(err, FL_ERR_SYSTEM, errno, "SIOCSIFFLAGS", "lo") : 0;
}

/* Connections that nobody has accepted yet, and those that wait for their end, are kernel memory that is nobody's (net/ipv4/inet_connection_sock.c, inet_csk_accept; tcp_minisocks.c). */
static int limit(struct fl_error *err)
{
  static const struct { const char *path; uint64_t most; } limits[] = { { "/proc/sys/net/core/somaxconn", FL_NETWORK_BACKLOG_MAX }, { "/proc/sys/net/ipv4/tcp_max_tw_buckets", WAITING_MAX } };

  for (size_t i = 0; i < FL_COUNT(limits); i++) {
    int result = fl_file_write_number(AT_FDCWD, limits[i].path, limits[i].most);

    if (result < 0)
      return fl_fail(err, FL_ERR_NETWORK, -result, "limit connections", "%s", limits[i].path);
  }
  return 0;
}

static int furnish(struct fl_error *err)
{
  int result = limit(err);

  return result < 0 ? result : fl_network_loopback(err);
}

static int open_current(struct fl_error *err)
{
  int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

  return fd < 0 ? fl_fail_errno(err, "open netns") : fd;
}

int fl_networks_open(struct fl_networks *networks, const char *name, uint32_t slots, struct fl_error *err)
{
  *networks = (struct fl_networks){ .slots = slots, .taken = calloc(slots, sizeof(int)) };
  if (!networks->taken)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", "networks");
  for (uint32_t slot = 0; slot < slots; slot++)
    networks->taken[slot] = -1;
  networks->own = open_current(err);
  networks->egress = (struct fl_egress_maker){ .name = name, .own = networks->own };
  return networks->own < 0 ? networks->own : 0;
}

/* The only interface is lo, and its counters are all zero. */
static bool no_packet_ever(void)
{
  char table[TABLE_BYTES], *line, *rest = table;
  int interfaces = 0;

  if (fl_file_read(AT_FDCWD, "/proc/self/net/dev", table, sizeof table) < 0)
    return false;
  while ((line = strsep(&rest, "\n"))) {
    char *colon = strchr(line, ':');

    if (!colon)
      continue;                                                  /* the two lines of the head, and the end */
    interfaces++;
    if (strncmp(line + strspn(line, " "), "lo:", 3) != 0 || colon[1 + strspn(colon + 1, " 0")] != 0)
      return false;
  }
  return interfaces == 1;
}

static bool no_socket(void)
{
  char table[TABLE_BYTES];

  return fl_file_read(AT_FDCWD, "/proc/self/net/sockstat", table, sizeof table) > 0 && strncmp(table, "sockets: used 0\n", 16) == 0;
}

int fl_networks_enter(struct fl_networks *networks, uint32_t slot, struct fl_network_want want, struct fl_error *err)
{
  int result, fd;

  if (want.kind == FL_NETWORK_EGRESS) {
    result = fl_egress_part_make(&networks->egress, slot, want.address, err);
    return result < 0 ? result : furnish(err);
  }
  if (networks->spares > 0) {
    fd = networks->spare[--networks->spares];
    if (setns(fd, CLONE_NEWNET) < 0) {
      result = fl_fail_errno(err, "setns network");
      close(fd);
      return result;
    }
    networks->taken[slot] = fd;
    return 0;
  }
  if (unshare(CLONE_NEWNET) < 0)
    return fl_fail_errno(err, "unshare network");
  result = furnish(err);
  fd = result < 0 ? result : open_current(err);
  if (fd >= 0)
    networks->taken[slot] = fd;
  return fd < 0 ? fd : 0;
}

int fl_networks_leave(const struct fl_networks *networks, struct fl_error *err)
{
  return setns(networks->own, CLONE_NEWNET) < 0 ? fl_fail_errno(err, "leave network") : 0;
}

void fl_networks_release(struct fl_networks *networks, uint32_t slot, struct fl_network_want want)
{
  int fd = fl_steal_fd(&networks->taken[slot]);

  if (want.kind == FL_NETWORK_EGRESS)
    fl_egress_part_remove(&networks->egress, slot, want.address);
  if (fd < 0)
    return;
  bool untouched = networks->spares < FL_NETWORK_SPARES_MAX && setns(fd, CLONE_NEWNET) == 0 && no_socket() && no_packet_ever();
  if (fl_networks_leave(networks, NULL) < 0)
    _exit(1);                                                    /* sandboxd starts another builder; better none than one in a sandbox's network */
  if (untouched)
    networks->spare[networks->spares++] = fd;
  else
    close(fd);
}
