/* Sockets: what kinds there are, and whom those that there are reach. The targets listen, as the test makes sure before. */
#include "attempts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static long made(int family, int type, int protocol)
{
  int fd = socket(family, type, protocol);

  if (fd >= 0)
    close(fd);
  return fd;
}

/* abstract: a name that no file system, only the network namespace, keeps apart. */
static long to_unix(const char *path, int abstract, int type)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), result;

  snprintf(address.sun_path + abstract, sizeof address.sun_path - 1, "%s", path);
  result = connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) + !abstract));
  int errno_value = errno;
  close(fd);
  errno = errno_value;
  return result;
}

static long to_internet(const char *ip, int port)
{
  struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
  int is_v6 = strchr(ip, ':') != NULL, fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

  inet_pton(is_v6 ? AF_INET6 : AF_INET, ip, is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
  result = is_v6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4);
  int errno_value = errno;
  close(fd);
  errno = errno_value;
  return result;
}

/* Asks the kernel to change a link or a route; its answer is the errno. */
static long netlink(uint16_t type, const void *body, size_t size)
{
  struct { struct nlmsghdr head; char body[256]; } request = { .head = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE } };
  struct { struct nlmsghdr head; struct nlmsgerr error; char rest[512]; } answer;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

  memcpy(request.body, body, size);
  request.head.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
  if (fd < 0 || send(fd, &request, request.head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < (ssize_t)NLMSG_LENGTH(sizeof answer.error.error))
    return -1;
  close(fd);
  errno = -answer.error.error;
  return answer.error.error;
}

static void kinds(void)
{
  static const struct { const char *name; int family, type, protocol; } sockets[] = {
    { "packet socket", AF_PACKET, SOCK_RAW, 0 }, { "packet socket, cooked", AF_PACKET, SOCK_DGRAM, 0x0300 }, { "raw socket", AF_INET, SOCK_RAW, IPPROTO_RAW }, { "raw icmp socket", AF_INET, SOCK_RAW, IPPROTO_ICMP },
    { "raw ipv6 socket", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 }, { "netlink uevent", AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT }, { "netlink audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT },
    { "netlink netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER }, { "netlink generic", AF_NETLINK, SOCK_RAW, NETLINK_GENERIC }, { "netlink xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM },
    { "netlink sock_diag", AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG }, { "vsock", AF_VSOCK, SOCK_STREAM, 0 }, { "crypto socket", AF_ALG, SOCK_SEQPACKET, 0 }, { "key socket", AF_KEY, SOCK_RAW, 2 },
    { "bluetooth socket", AF_BLUETOOTH, SOCK_RAW, 1 }, { "can socket", AF_CAN, SOCK_RAW, 1 }, { "tipc socket", AF_TIPC, SOCK_RDM, 0 }, { "rds socket", AF_RDS, SOCK_SEQPACKET, 0 },
    { "xdp socket", 44, SOCK_RAW, 0 }, { "smc socket", 43, SOCK_STREAM, 0 }, { "ax25 socket", AF_AX25, SOCK_DGRAM, 0 }, { "x25 socket", AF_X25, SOCK_SEQPACKET, 0 }, { "kcm socket", AF_KCM, SOCK_DGRAM, 0 },
    { "nfc socket", AF_NFC, SOCK_SEQPACKET, 0 }, { "llc socket", AF_LLC, SOCK_STREAM, 0 }, { "qipcrtr socket", 42, SOCK_DGRAM, 0 }, { "packet socket the old way", AF_INET, 10 /* SOCK_PACKET */, 0x0300 },
  };

  for (size_t index = 0; index < sizeof sockets / sizeof *sockets; index++)
    TRY(sockets[index].name, made(sockets[index].family, sockets[index].type, sockets[index].protocol));
  TRY("vsock and high bits", syscall(41 /* socket */, 1ul << 32 | AF_VSOCK, SOCK_STREAM, 0));
  TRY("socketpair of tipc", socketpair(AF_TIPC, SOCK_STREAM, 0, (int[2]){ 0 }));
}

static void configuration(void)
{
  struct { struct ifinfomsg head; } up = { { .ifi_index = 1, .ifi_flags = 0, .ifi_change = IFF_UP } };
  struct { struct rtmsg head; } route = { { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST } };
  struct ifreq request = { .ifr_name = "lo" };
  struct sockaddr_in low = { .sin_family = AF_INET, .sin_port = htons(80) };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  TRY("change a link", netlink(RTM_NEWLINK, &up, sizeof up));
  TRY("add a route", netlink(RTM_NEWROUTE, &route, sizeof route));
  TRY("interface down", ioctl(fd, SIOCSIFFLAGS, &request));
  TRY("name an interface", ioctl(fd, SIOCSIFNAME, &request));
  TRY("mark packets", setsockopt(fd, SOL_SOCKET, SO_MARK, &(int){ 1 }, sizeof(int)));
  TRY("transparent proxy", setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &(int){ 1 }, sizeof(int)));
  TRY("larger buffers", setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ 1 << 28 }, sizeof(int)));
  TRY("busy polling", setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &(int){ 7 }, sizeof(int)));
  TRY("port 80", bind(fd, (struct sockaddr *)&low, sizeof low));
  TRY("iptables", setsockopt(fd, IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */, "", 0));
  close(fd);
}

/* Saying that one is root of the host. */
static long forge_credentials(void)
{
  union { char bytes[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(struct ucred)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS } };
  struct iovec bytes = { "x", 1 };
  struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  int pair[2];
  long result;

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return 0;
  *(struct ucred *)CMSG_DATA(&control.align) = (struct ucred){ .pid = 1, .uid = 0, .gid = 0 };
  result = sendmsg(pair[0], &message, 0);
  close(pair[0]);
  close(pair[1]);
  return result;
}

static int listed(const char *path, const char *name)
{
  FILE *file = fopen(path, "re");
  char line[256];
  int found = 0;

  while (file && fgets(line, sizeof line, file))
    found = found || strstr(line, name) != NULL;
  if (file)
    fclose(file);
  return found;
}

static void others(void)
{
  TRY("abstract socket of the host", to_unix(given("abstract socket"), 1, SOCK_STREAM));
  TRY("abstract socket of the host, datagrams", to_unix(given("abstract socket"), 1, SOCK_DGRAM));
  TRY("socket of the host in a file", to_unix(given("socket file"), 0, SOCK_STREAM));
  TRY("management socket", to_unix(given("management socket"), 0, SOCK_STREAM));
  TRY("abstract socket of the victim", to_unix("victim", 1, SOCK_STREAM));
  TRY("port of the gateway", to_internet("127.0.0.1", given_number("port")));
  TRY("port of the gateway by 0.0.0.0", to_internet("0.0.0.0", given_number("port")));
  TRY("port of the host's", to_internet("127.0.0.1", given_number("host port")));
  TRY("port of the host's by ipv6", to_internet("::1", given_number("host port")));
  TRY("port of the host's by its address", to_internet(given("host address"), given_number("host port")));
  TRY("port of the victim", to_internet("127.0.0.1", 4444));
  TRY("the internet", to_internet("192.0.2.1", 443));
  TRY("the internet by ipv6", to_internet("2001:db8::1", 443));
  TRY("metadata service", to_internet("169.254.169.254", 80));
  TRY("shared memory of the victim", shmget(0x666c6173, 4096, 0));
  TRY("message queue of the victim", msgget(0x666c6173, 0));
  TRY("named shared memory of the victim", shm_open("/victim", O_RDONLY, 0));
  TRY("forged credentials", forge_credentials());
  TRY("descriptor of the process at the other end", getsockopt(3, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &(int){ -1 }, &(socklen_t){ sizeof(int) }));
  TRY("descriptors of processes with messages", setsockopt(3, SOL_SOCKET, 76 /* SO_PASSPIDFD */, &(int){ 1 }, sizeof(int)));
  /* Before the next, which would be listed too where there is no other of that name. */
  say("the victim's socket in /proc/net/unix", "%s", listed("/proc/net/unix", "@victim") ? "listed" : "unlisted");
  TRY("the name of a socket that the victim has", bind(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX, .sun_path = "\0victim" }, offsetof(struct sockaddr_un, sun_path) + 7));
  TRY("the number of a port that the victim has", bind(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(4445) }, sizeof(struct sockaddr_in)));
}

void try_network(void)
{
  kinds();
  configuration();
  others();
}
