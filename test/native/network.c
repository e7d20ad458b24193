/* Network namespaces are used again only when nothing ever happened in them. */
#include "sandbox/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"

static ino_t current(void)
{
  struct stat status;

  CHECK(stat("/proc/self/ns/net", &status) == 0);
  return status.st_ino;
}

static void send_packet(void)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  CHECK(fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address) == 1);
  close(fd);
}

static bool reads(const char *path, uint64_t expected)
{
  uint64_t value;

  return fl_file_read_number(AT_FDCWD, path, &value) == 0 && value == expected;
}

int main(void)
{
  struct fl_networks networks;
  struct fl_error error = { 0 };
  const struct fl_network_want none = { .kind = FL_NETWORK_NONE };
  ino_t home = current(), first, second;

  CHECK(fl_networks_open(&networks, "flashd-test", 4, &error) == 0);
  CHECK(fl_networks_enter(&networks, 0, none, &error) == 0);
  first = current();
  CHECK(reads("/proc/sys/net/core/somaxconn", 128) && reads("/proc/sys/net/ipv4/tcp_max_tw_buckets", 1024));
  CHECK(first != home && fl_networks_leave(&networks, &error) == 0 && current() == home);

  fl_networks_release(&networks, 0, none);                             /* untouched: it comes back */
  CHECK(networks.spares == 1 && fl_networks_enter(&networks, 1, none, &error) == 0 && current() == first && networks.spares == 0);
  send_packet();
  CHECK(fl_networks_leave(&networks, &error) == 0);
  fl_networks_release(&networks, 1, none);                             /* a packet passed: it does not */
  CHECK(networks.spares == 0);

  CHECK(fl_networks_enter(&networks, 2, none, &error) == 0);
  second = current();
  CHECK(second != home);
  pid_t holder = fork();
  if (holder == 0) {
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
    raise(SIGSTOP);
    _exit(0);
  }
  int status;
  CHECK(waitpid(holder, &status, WUNTRACED) == holder && WIFSTOPPED(status) && fl_networks_leave(&networks, &error) == 0);
  fl_networks_release(&networks, 2, none);                             /* somebody still has a socket in it: it does not */
  CHECK(networks.spares == 0 && current() == home);
  kill(holder, SIGKILL);
  waitpid(holder, NULL, 0);

  fl_networks_release(&networks, 3, none);                             /* never taken: nothing happens */
  CHECK(networks.spares == 0);
  free(networks.taken);
  return 0;
}
