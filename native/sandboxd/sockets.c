/*
 * Sockets. What lies in a netlink socket to be read, and who waits to be accepted with what it has sent, is memory of the kernel's that no cgroup counts (net/netlink/af_netlink.c; net/ipv4/inet_connection_sock.c, inet_csk_accept):
 * a quarter of a megabyte each, so that there may not be many of them. Whoever has more sockets than one process may have descriptors, and a full backlog, is ended. Descriptors do not limit them: each process has
 * its own, and who waits to be accepted has none.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "sandbox/network.h"
#include "sandboxd/daemon.h"

enum { TABLE_BYTES = 4096 };

/* Those of its network namespace (net/ipv4/proc.c); 0 when they cannot be told. */
static unsigned long count(const struct fl_instance *instance)
{
  static const char head[] = "sockets: used ";
  char path[64], table[TABLE_BYTES];

  snprintf(path, sizeof path, "/proc/%d/net/sockstat", instance->pid);
  if (fl_file_read(AT_FDCWD, path, table, sizeof table) < 0 || strncmp(table, head, sizeof head - 1) != 0)
    return 0;
  return strtoul(table + sizeof head - 1, NULL, 10);
}

void fl_sockets_look(struct fl_instance *instance)
{
  unsigned long sockets;

  if (instance->network == FL_NETWORK_LIGHT || instance->state != FL_INSTANCE_RUNNING)      /* the light class shares its network */
    return;
  sockets = count(instance);
  if (sockets <= instance->limits.descriptors + FL_NETWORK_BACKLOG_MAX)
    return;
  instance->sockets = (uint32_t)sockets;
  fl_instances_kill(instance);
}
