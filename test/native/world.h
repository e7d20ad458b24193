/*
 * A small world of networks for tests of egress: this process lives in the "host", one cable leads to an "internet" that has every address it is asked for, private ones and the metadata
 * service included, and answers on each. So what does not arrive was held back by the host.
 */
#ifndef FLASHD_TEST_WORLD_H
#define FLASHD_TEST_WORLD_H
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "check.h"
#include "network/rtnetlink.h"
#include "sandbox/network.h"
#include "sys/syscalls.h"

enum { WAIT_MS = 300, CONNECTED = 0, SILENT = 254, SERVED_PORTS = 3 };

static const uint16_t ports[SERVED_PORTS] = { 53, 80, 443 };
static int host, internet, behind;

static void must(int result, const struct fl_error *error)
{
  if (result >= 0)
    return;
  fprintf(stderr, "%s: %s: %s\n", error->op, error->detail, strerror(error->errno_value));
  exit(1);
}

static uint32_t ip(const char *text)
{
  struct in_addr address;

  CHECK(inet_pton(AF_INET, text, &address) == 1);
  return ntohl(address.s_addr);
}

static void enter(int network)
{
  CHECK(setns(network, CLONE_NEWNET) == 0);
}

static int new_network(void)
{
  struct fl_error error = { 0 };
  int fd;

  CHECK(unshare(CLONE_NEWNET) == 0);
  must(fl_network_loopback(&error), &error);
  fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

/* With who has sent it, from the address that it was sent to. */
static void answer_datagram(int fd)
{
  struct sockaddr_in peer;
  char byte, control[CMSG_SPACE(sizeof(struct in_pktinfo))];
  struct iovec part = { &byte, 1 };
  struct msghdr message = { .msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };

  if (recvmsg(fd, &message, 0) < 0)
    return;
  ((struct in_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&message)))->ipi_ifindex = 0;
  part = (struct iovec){ &peer.sin_addr, sizeof peer.sin_addr };
  sendmsg(fd, &message, 0);
}

/* Answers each TCP connection and each datagram on the ports, on every address of the current network, for as long as the test lives. */
static void serve(void)
{
  struct pollfd polled[2 * SERVED_PORTS];
  pid_t parent = getpid();

  if (fork() != 0)
    return;
  CHECK(fl_die_with_parent(parent) == 0);
  for (int index = 0; index < 2 * SERVED_PORTS; index++) {
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(ports[index / 2]) };

    polled[index] = (struct pollfd){ .fd = socket(AF_INET, index % 2 ? SOCK_DGRAM : SOCK_STREAM, 0), .events = POLLIN };
    setsockopt(polled[index].fd, IPPROTO_IP, IP_PKTINFO, &(int){ 1 }, sizeof(int));
    setsockopt(polled[index].fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    CHECK(bind(polled[index].fd, (struct sockaddr *)&any, sizeof any) == 0 && (index % 2 || listen(polled[index].fd, 16) == 0));
  }
  for (;;) {
    poll(polled, 2 * SERVED_PORTS, -1);
    for (int index = 0; index < 2 * SERVED_PORTS; index++) {
      struct sockaddr_in peer;
      socklen_t size = sizeof peer;

      if (!polled[index].revents)
        continue;
      if (index % 2) {
        answer_datagram(polled[index].fd);
      } else {
        int fd = accept(polled[index].fd, (struct sockaddr *)&peer, &size);

        CHECK(write(fd, &peer.sin_addr, sizeof peer.sin_addr) == sizeof peer.sin_addr);
        close(fd);
      }
    }
  }
}

/* What comes of talking to the address from the network: CONNECTED, an errno, or SILENT. ret_seen: who the other end saw. */
static int talk(int network, const char *address, uint16_t port, int type, uint32_t *ret_seen)
{
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip(address)) };
  struct pollfd polled = { .events = POLLIN };
  uint32_t seen = 0;
  int result = 0;

  enter(network);
  polled.fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  enter(host);
  CHECK(polled.fd >= 0);
  if (connect(polled.fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
    result = errno;
  else if (type == SOCK_DGRAM && send(polled.fd, "x", 1, 0) < 0)
    result = errno;
  else if (poll(&polled, 1, WAIT_MS) == 0)
    result = SILENT;
  else if (recv(polled.fd, &seen, sizeof seen, 0) != sizeof seen)
    result = errno;
  close(polled.fd);
  if (ret_seen)
    *ret_seen = ntohl(seen);
  return result;
}

static int tcp(int network, const char *address, uint16_t port) { return talk(network, address, port, SOCK_STREAM, NULL); }
static int udp(int network, const char *address, uint16_t port) { return talk(network, address, port, SOCK_DGRAM, NULL); }

enum { DESCRIPTORS = 4096 };                   /* more than a sandbox may have connections */

/* Containers are given settings of the kernel that cannot be changed; those of networks of one's own can, through a /proc of one's own. */
static void be_able_to_set(void)
{
  if (access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0)
    return;
  CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("proc", "/proc", "proc", 0, NULL) == 0);
}

/* A cable between the two; the internet has all these addresses, the host two of its own. */
static void build_world(void)
{
  static const char *const everywhere[] = { "198.51.100.1", "203.0.113.80", "8.8.8.8", "10.9.9.9", "172.16.5.5", "192.168.7.7", "100.64.1.1", "169.254.169.254", "224.0.0.9", "198.18.0.1", "10.255.255.53" };
  const uint8_t hardware[6] = { 2, 0, 0, 0, 0, 1 };
  struct fl_error error = { 0 };
  struct fl_netlink *route;

  be_able_to_set();
  CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ DESCRIPTORS, DESCRIPTORS }) == 0);
  internet = new_network();
  host = new_network();
  CHECK(fl_file_write(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "0") == 0);     /* a host that forwards for nobody */
  route = fl_netlink_open(NETLINK_ROUTE, &error);
  must(fl_veth_add(route, "uplink", "cable", internet, hardware, &error), &error);
  must(fl_address_add(route, if_nametoindex("uplink"), ip("198.51.100.2"), &error), &error);
  must(fl_address_add(route, if_nametoindex("lo"), ip("192.0.2.7"), &error), &error);
  must(fl_link_up(route, "uplink", &error), &error);
  must(fl_route_add(route, (struct fl_prefix){ 0, 0 }, if_nametoindex("uplink"), ip("198.51.100.1"), &error), &error);
  fl_netlink_close(route);
  serve();
  enter(internet);
  route = fl_netlink_open(NETLINK_ROUTE, &error);
  for (size_t index = 0; index < FL_COUNT(everywhere); index++)
    if (ip(everywhere[index]) >> 28 != 14)
      must(fl_address_add(route, if_nametoindex("cable"), ip(everywhere[index]), &error), &error);
  must(fl_link_up(route, "cable", &error), &error);
  must(fl_link_settle(route, "cable", &error), &error);
  must(fl_route_add(route, (struct fl_prefix){ ip("198.51.100.2"), 32 }, if_nametoindex("cable"), 0, &error), &error);
  fl_netlink_close(route);
  serve();
  enter(host);
}

/* A third network, which the host has a cable to: it would forward to it, if it did that for anybody. */
__attribute__((unused)) static void build_behind(void)
{
  const uint8_t hardware[6] = { 2, 0, 0, 0, 0, 2 };
  struct fl_error error = { 0 };
  struct fl_netlink *route;

  behind = new_network();
  route = fl_netlink_open(NETLINK_ROUTE, &error);
  must(fl_veth_add(route, "outer", "inner", host, hardware, &error), &error);
  must(fl_address_add(route, if_nametoindex("outer"), ip("192.0.2.99"), &error), &error);
  must(fl_link_up(route, "outer", &error), &error);
  must(fl_route_add(route, (struct fl_prefix){ 0, 0 }, if_nametoindex("outer"), 0, &error), &error);
  fl_netlink_close(route);
  serve();
  enter(host);
  route = fl_netlink_open(NETLINK_ROUTE, &error);
  must(fl_link_up(route, "inner", &error), &error);
  must(fl_link_settle(route, "inner", &error), &error);
  must(fl_route_add(route, (struct fl_prefix){ ip("192.0.2.99"), 32 }, if_nametoindex("inner"), 0, &error), &error);
  fl_netlink_close(route);
  CHECK(fl_file_write(AT_FDCWD, "/proc/sys/net/ipv4/conf/inner/forwarding", "1") == 0);
  enter(internet);
  route = fl_netlink_open(NETLINK_ROUTE, &error);
  must(fl_route_add(route, (struct fl_prefix){ ip("192.0.2.99"), 32 }, if_nametoindex("cable"), 0, &error), &error);
  fl_netlink_close(route);
  enter(host);
}
static struct fl_egress egress;
static struct fl_egress_maker maker;

/* The network of a sandbox in that slot, with its cable; nothing is granted to it. */
static int make_part(uint32_t slot)
{
  struct fl_error error = { 0 };
  int network;

  must(fl_egress_part_make(&maker, slot, fl_egress_address(&egress, slot), &error), &error);
  must(fl_network_loopback(&error), &error);
  network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  enter(host);
  CHECK(network >= 0);
  return network;
}
#endif
