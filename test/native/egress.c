/* Egress with real packets, in a world of its own (world.h). */
#include "network/part.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "network/connections.h"
#include "sandbox/network.h"
#include "world.h"

enum { SLOTS = 8 };

static const struct fl_prefix range = { 0x0ae00000, 12 };        /* 10.224.0.0/12 */
static void grant(uint32_t slot, const struct fl_egress_policy *policy)
{
  struct fl_error error = { 0 };

  must(fl_egress_grant(&egress, slot, policy, &error), &error);
}

static char forwarding(const char *link)
{
  char path[80], value[8] = "";

  snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/forwarding", link);
  CHECK(fl_file_read(AT_FDCWD, path, value, sizeof value) > 0);
  return value[0];
}

static void start(const char *name, struct fl_egress *ret_egress)
{
  struct fl_egress_config config = { .name = name, .range = range, .slots = SLOTS, .nameserver = ip("10.255.255.53") };
  struct fl_error error = { 0 };

  must(fl_egress_start(&config, ret_egress, &error), &error);
}

static void open_egress(struct fl_egress *which)
{
  struct fl_error error = { 0 };

  must(fl_egress_open(which, &error), &error);
}

enum { PLENTY = 125000000 };                   /* bytes a second */

static const struct fl_egress_policy everything_public = { .flags = FL_EGRESS_PUBLIC, .bytes_per_second = PLENTY };

static void nothing_without_a_policy(int part)
{
  CHECK(tcp(part, "8.8.8.8", 443) == ECONNREFUSED);
  CHECK(udp(part, FL_EGRESS_GATEWAY_TEXT, 53) == EHOSTUNREACH);
}

static void public_is_what_it_says(int part)
{
  static const char *const never[] = { "10.9.9.9", "172.16.5.5", "192.168.7.7", "100.64.1.1", "169.254.169.254", "198.18.0.1", "198.51.100.2", "192.0.2.7", "10.255.255.53" };
  uint32_t seen;

  CHECK(tcp(part, "8.8.8.8", 443) == CONNECTED && tcp(part, "203.0.113.80", 80) == CONNECTED && udp(part, "8.8.8.8", 443) == CONNECTED);
  CHECK(talk(part, "8.8.8.8", 80, SOCK_STREAM, &seen) == CONNECTED && seen == ip("198.51.100.2"));
  CHECK(udp(part, FL_EGRESS_GATEWAY_TEXT, 53) == CONNECTED && tcp(part, FL_EGRESS_GATEWAY_TEXT, 53) == CONNECTED);
  CHECK(tcp(part, FL_EGRESS_GATEWAY_TEXT, 80) == ECONNREFUSED);  /* a name server, nothing else */
  for (size_t index = 0; index < FL_COUNT(never); index++)
    CHECK(tcp(part, never[index], 80) == ECONNREFUSED && udp(part, never[index], 53) != CONNECTED);     /* the kernel limits how often it explains */
}

static void a_list_narrows_and_reopens(void)
{
  const struct fl_egress_policy list = { .bytes_per_second = PLENTY, .rules = 3, .rule = { { ip("203.0.113.0"), 80, 24, 0 }, { ip("10.9.9.9"), 0, 32, 0 }, { ip("169.254.0.0"), 0, 16, 0 } } };
  const struct fl_egress_policy both = { .flags = FL_EGRESS_PUBLIC, .bytes_per_second = PLENTY, .rules = 1, .rule = { { ip("10.0.0.0"), 443, 8, 0 } } };
  const struct fl_egress_policy all = { .bytes_per_second = PLENTY, .rules = 1, .rule = { { 0, 0, 0, 0 } } };
  int narrow = make_part(2), wide = make_part(3), open = make_part(4);
  struct in_addr other = { htonl(fl_egress_address(&egress, 3)) };

  grant(2, &list);
  grant(3, &both);
  grant(4, &all);
  CHECK(tcp(narrow, "203.0.113.80", 80) == CONNECTED && tcp(narrow, "10.9.9.9", 443) == CONNECTED && udp(narrow, "10.9.9.9", 443) == CONNECTED);
  CHECK(tcp(narrow, "203.0.113.80", 443) == ECONNREFUSED && tcp(narrow, "8.8.8.8", 443) == ECONNREFUSED && tcp(narrow, "10.255.255.53", 80) == ECONNREFUSED);
  CHECK(tcp(narrow, "169.254.169.254", 80) == ECONNREFUSED);     /* no list opens it */
  CHECK(tcp(wide, "8.8.8.8", 80) == CONNECTED && tcp(wide, "10.9.9.9", 443) == CONNECTED && tcp(wide, "10.9.9.9", 80) == ECONNREFUSED);
  CHECK(tcp(open, "192.168.7.7", 80) == CONNECTED);
  CHECK(tcp(open, "198.51.100.2", 80) == ECONNREFUSED && tcp(open, "192.0.2.7", 80) == ECONNREFUSED && tcp(open, inet_ntoa(other), 80) == ECONNREFUSED);
  CHECK(tcp(open, FL_EGRESS_GATEWAY_TEXT, 443) == ECONNREFUSED);
  close(narrow);
  close(wide);
  close(open);
  for (uint32_t slot = 2; slot <= 4; slot++)
    fl_egress_part_remove(&maker, slot, fl_egress_address(&egress, slot));
}

/* Sends a datagram to the internet from an address that is not its own, as somebody with every privilege in the sandbox's network could. */
static void nobody_speaks_for_another(int part)
{
  struct fl_error error = { 0 };
  struct sockaddr_in source = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(fl_egress_address(&egress, 1)) };
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = htonl(ip("8.8.8.8")) };
  struct pollfd polled = { .events = POLLIN };

  for (int attempt = 0; attempt < 2; attempt++) {
    enter(part);
    struct fl_netlink *route = fl_netlink_open(NETLINK_ROUTE, &error);
    must(fl_address_add(route, if_nametoindex("eth0"), ntohl(source.sin_addr.s_addr), &error), &error);
    fl_netlink_close(route);
    polled.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    enter(host);
    CHECK(bind(polled.fd, (struct sockaddr *)&source, sizeof source) == 0 && sendto(polled.fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
    CHECK(poll(&polled, 1, WAIT_MS) == 0);
    close(polled.fd);
    source.sin_addr.s_addr = htonl(ip("198.51.100.77"));         /* then one of nobody */
  }
}

static void there_is_no_ipv6(int part)
{
  struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
  int fd;

  CHECK(inet_pton(AF_INET6, "2001:db8::1", &to.sin6_addr) == 1);
  enter(part);
  fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  enter(host);
  CHECK(fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && (errno == ENETUNREACH || errno == EADDRNOTAVAIL)));
  close(fd);
}

static void set_ipv6(const char *link, const char *key, const char *value)
{
  char path[80];

  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/%s", link, key);
  CHECK(fl_file_write(AT_FDCWD, path, value) == 0);
}

/* As nobody in a sandbox can: the address is there at once, its network is behind that link, and everything else too, there or at the gateway. */
static void add_ipv6(int network, const char *link, const char *address, const char *gateway)
{
  struct in6_ifreq request = { .ifr6_prefixlen = 64 };
  struct in6_rtmsg route = { .rtmsg_metric = 1, .rtmsg_flags = RTF_UP | (gateway ? RTF_GATEWAY : 0) };
  int fd;

  enter(network);
  set_ipv6(link, "accept_dad", "0");
  set_ipv6(link, "disable_ipv6", "0");
  CHECK(inet_pton(AF_INET6, address, &request.ifr6_addr) == 1 && (request.ifr6_ifindex = (int)if_nametoindex(link)) > 0);
  fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0 && ioctl(fd, SIOCSIFADDR, &request) == 0);
  route.rtmsg_ifindex = request.ifr6_ifindex;
  CHECK((!gateway || inet_pton(AF_INET6, gateway, &route.rtmsg_gateway) == 1) && (network == host || ioctl(fd, SIOCADDRT, &route) == 0));
  close(fd);
  enter(host);
}

enum { ATTEMPTS = 5 };                         /* a link that has just got its address needs a moment */

/* Whether a datagram arrives. scope: the link at `from` that a link-local address is behind, or NULL. */
static bool arrives_by_ipv6(int from, const char *scope, int to, const char *address)
{
  struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(6666) }, target = any;
  struct pollfd polled = { .events = POLLIN };
  int fd;

  enter(to);
  polled.fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(polled.fd >= 0 && bind(polled.fd, (struct sockaddr *)&any, sizeof any) == 0);
  enter(from);
  fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  target.sin6_scope_id = scope ? if_nametoindex(scope) : 0;
  CHECK(fd >= 0 && inet_pton(AF_INET6, address, &target.sin6_addr) == 1);
  enter(host);
  bool arrived = false;
  for (int attempt = 0; attempt < ATTEMPTS && !arrived; attempt++) {
    sendto(fd, "x", 1, 0, (struct sockaddr *)&target, sizeof target);
    arrived = poll(&polled, 1, WAIT_MS / 3) == 1;
  }
  close(fd);
  close(polled.fd);
  return arrived;
}

/* Even where somebody turns it on at both ends of a cable: the table lets none of it pass, neither out, nor in, nor to a neighbour, link-local and multicast included. */
static void no_ipv6_passes_where_it_is_on(int one, int two)
{
  char link[2][IF_NAMESIZE];

  add_ipv6(host, "uplink", "fd00:1::1", NULL);
  add_ipv6(internet, "cable", "fd00:1::2", "fd00:1::1");
  CHECK(arrives_by_ipv6(host, NULL, internet, "fd00:1::2"));     /* as it would arrive */
  for (uint32_t slot = 0; slot < 2; slot++) {
    char address[2][INET6_ADDRSTRLEN];

    snprintf(link[slot], sizeof link[slot], "%.12s%u", maker.links, slot);
    snprintf(address[0], sizeof address[0], "fd00:2:%u::1", slot);
    snprintf(address[1], sizeof address[1], "fd00:2:%u::2", slot);
    add_ipv6(host, link[slot], address[0], NULL);
    add_ipv6(slot ? two : one, "eth0", address[1], NULL);
    CHECK(!arrives_by_ipv6(slot ? two : one, NULL, host, address[0]) && !arrives_by_ipv6(host, NULL, slot ? two : one, address[1]));
  }
  set_ipv6("all", "forwarding", "1");
  CHECK(!arrives_by_ipv6(one, NULL, two, "fd00:2:1::2") && !arrives_by_ipv6(one, NULL, internet, "fd00:1::2") && !arrives_by_ipv6(internet, NULL, one, "fd00:2::2"));
  CHECK(!arrives_by_ipv6(one, "eth0", host, "ff02::1") && !arrives_by_ipv6(host, link[0], one, "ff02::1"));
  set_ipv6("all", "forwarding", "0");
  for (uint32_t slot = 0; slot < 2; slot++) {
    set_ipv6(link[slot], "disable_ipv6", "1");
    enter(slot ? two : one);
    set_ipv6("eth0", "disable_ipv6", "1");
    enter(host);
  }
}

static void nobody_comes_in(int part)
{
  struct in_addr address = { htonl(fl_egress_address(&egress, 0)) };
  struct fl_error error = { 0 };
  struct fl_netlink *route;

  enter(part);
  serve();
  enter(internet);
  route = fl_netlink_open(NETLINK_ROUTE, &error);                /* a neighbour of the host, who knows where the sandboxes are */
  must(fl_route_add(route, egress.block, if_nametoindex("cable"), 0, &error), &error);
  fl_netlink_close(route);
  enter(host);
  CHECK(tcp(host, inet_ntoa(address), 80) == SILENT && tcp(internet, inet_ntoa(address), 80) == SILENT);
  /* The uplink forwards now, but for nobody else. */
  CHECK(forwarding("uplink") == '1' && tcp(internet, "192.0.2.99", 80) == SILENT);
}

/* Begins so many connections and keeps them; how many of them were refused. */
static int crowd(int part, int fds[], size_t count)
{
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = htonl(ip("8.8.8.8")) };
  int refused = 0;

  for (size_t index = 0; index < count; index++) {
    enter(part);
    fds[index] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    enter(host);
    CHECK(fds[index] >= 0 && connect(fds[index], (struct sockaddr *)&to, sizeof to) == 0);
    send(fds[index], "x", 1, 0);
    struct pollfd polled = { .fd = fds[index], .events = POLLIN };
    char answer[8];
    refused += poll(&polled, 1, WAIT_MS) == 0 || recv(fds[index], answer, sizeof answer, 0) < 0;
  }
  return refused;
}

static void end_all(const int fds[], size_t count)
{
  for (size_t index = 0; index < count; index++)
    close(fds[index]);
}

static void connections_are_counted(void)
{
  int part = make_part(5), fds[FL_EGRESS_CONNECTIONS_MAX + 8];
  uint64_t tracked = 0;

  CHECK(fl_file_read_number(AT_FDCWD, "/proc/sys/net/netfilter/nf_conntrack_max", &tracked) == 0);
  CHECK(maker.connections >= FL_EGRESS_CONNECTIONS_MIN && maker.connections <= FL_EGRESS_CONNECTIONS_MAX && (maker.connections == FL_EGRESS_CONNECTIONS_MIN || maker.connections * 64 <= tracked / 2));
  grant(5, &everything_public);
  CHECK(crowd(part, fds, maker.connections + 8) == 8);
  end_all(fds, maker.connections + 8);
  close(part);
  fl_egress_part_remove(&maker, 5, fl_egress_address(&egress, 5));
  part = make_part(5);                                           /* the next one's count begins anew, and it has been granted nothing */
  CHECK(tcp(part, "8.8.8.8", 443) == ECONNREFUSED);
  grant(5, &everything_public);
  CHECK(tcp(part, "8.8.8.8", 443) == CONNECTED);
  close(part);
  fl_egress_part_remove(&maker, 5, fl_egress_address(&egress, 5));
}

enum { TICK_US = 10000 };                      /* the slowest clock Linux has: HZ=100 */

/* Either way, and nobody else's. */
static void connections_are_forgotten(void)
{
  static int (*const ways[])(struct fl_netlink *, uint32_t, struct fl_error *) = { fl_connections_forget, fl_connections_forget_each };
  int other = make_part(6), fds[FL_EGRESS_CONNECTIONS_MAX], others[FL_EGRESS_CONNECTIONS_MAX];
  struct fl_error error = { 0 };

  grant(6, &everything_public);
  CHECK(crowd(other, others, maker.connections) == 0);
  for (size_t way = 0; way < FL_COUNT(ways); way++) {
    int part = make_part(5);

    grant(5, &everything_public);
    CHECK(crowd(part, fds, maker.connections) == 0);
    CHECK(tcp(part, "8.8.8.8", 443) != CONNECTED);
    end_all(fds, maker.connections);
    must(ways[way](maker.conntrack, fl_egress_address(&egress, 5), &error), &error);
    usleep(TICK_US);                                             /* nf_conncount looks for those that are gone once a tick */
    CHECK(tcp(part, "8.8.8.8", 443) == CONNECTED);
    CHECK(tcp(other, "8.8.8.8", 443) != CONNECTED);
    close(part);
    fl_egress_part_remove(&maker, 5, fl_egress_address(&egress, 5));
  }
  end_all(others, maker.connections);
  close(other);
  fl_egress_part_remove(&maker, 6, fl_egress_address(&egress, 6));
}

enum { RATE = 1000000, DATAGRAM = 1000, FLOOD_MS = 2000, TOLERANCE = 20 };      /* bytes a second; percent */

static int64_t now_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Takes what has arrived, until nothing comes any more. */
static uint64_t drain(int fd, int wait_ms)
{
  struct pollfd polled = { .fd = fd, .events = POLLIN };
  char datagram[DATAGRAM];
  uint64_t bytes = 0;
  ssize_t got;

  while (poll(&polled, 1, wait_ms) > 0)
    while ((got = recv(fd, datagram, sizeof datagram, MSG_DONTWAIT)) > 0)
      bytes += (uint64_t)got;
  return bytes;
}

/* Ten times as much as may pass, for FLOOD_MS: a second's worth passes at once, and what the rate lets. */
static void check_flood(int from, int to)
{
  char datagram[DATAGRAM] = "";
  uint64_t sent = 0, arrived = 0;

  for (int64_t begin = now_ms(), at; (at = now_ms() - begin) < FLOOD_MS; arrived += drain(to, 0)) {
    for (; sent < (uint64_t)at * RATE / 100; sent += DATAGRAM)
      send(from, datagram, sizeof datagram, MSG_DONTWAIT);
    usleep(500);
  }
  arrived += drain(to, WAIT_MS);
  const uint64_t right = (uint64_t)RATE * (FLOOD_MS + 1000) / 1000;
  if (arrived < right * (100 - TOLERANCE) / 100 || arrived > right * (100 + TOLERANCE) / 100)
    fprintf(stderr, "%lu of %lu bytes arrived, %lu may\n", arrived, sent, right);
  CHECK(arrived >= right * (100 - TOLERANCE) / 100 && arrived <= right * (100 + TOLERANCE) / 100);
}

static void the_rate_holds_both_ways_and_for_each_alone(int other)
{
  const struct fl_egress_policy slow = { .flags = FL_EGRESS_PUBLIC, .bytes_per_second = RATE };
  struct sockaddr_in outside = { .sin_family = AF_INET, .sin_port = htons(9000), .sin_addr.s_addr = htonl(ip("8.8.8.8")) }, peer;
  socklen_t size = sizeof peer;
  int part = make_part(7), in, out;
  char byte;

  grant(7, &slow);
  enter(internet);
  out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  enter(part);
  in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  enter(host);
  CHECK(bind(out, (struct sockaddr *)&outside, sizeof outside) == 0 && connect(in, (struct sockaddr *)&outside, sizeof outside) == 0);
  for (int index = 0; index < 2; index++)
    CHECK(setsockopt(index ? in : out, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ 8 << 20 }, sizeof(int)) == 0);
  CHECK(send(in, "x", 1, 0) == 1 && recvfrom(out, &byte, 1, 0, (struct sockaddr *)&peer, &size) == 1 && connect(out, (struct sockaddr *)&peer, size) == 0);
  check_flood(in, out);
  CHECK(tcp(other, "8.8.8.8", 443) == CONNECTED);                /* a neighbour's rate is its own */
  check_flood(out, in);
  close(in);
  close(out);
  close(part);
  fl_egress_part_remove(&maker, 7, fl_egress_address(&egress, 7));
}

/* What nft(8) and ip(8) would show. */
static bool anything_left(const char *name)
{
  char links[FL_EGRESS_PREFIX_BYTES + 1], line[256];
  struct fl_nft nft;
  struct fl_error error = { 0 };
  fl_autofclose FILE *devices = fopen("/proc/thread-self/net/dev", "re");
  fl_autofclose FILE *routes = fopen("/proc/thread-self/net/fib_trie", "re");
  bool left = false;
  size_t size;

  fl_egress_links(name, links);
  while (fgets(line, sizeof line, devices))
    left = left || strstr(line, links);
  while (fgets(line, sizeof line, routes))
    left = left || strstr(line, "10.224") || strstr(line, "10.23");
  must(fl_nft_open(&nft, name, &error), &error);
  left = left || fl_nft_table_note(&nft, line, 1, &size, NULL) >= 0;
  fl_nft_close(&nft);
  return left || forwarding("uplink") == '1';
}

static void a_dead_generation_is_removed(const char *name)
{
  struct fl_egress dead = egress;

  CHECK(anything_left(name));
  start(name, &egress);                                          /* the one before never said farewell */
  CHECK(!anything_left(name));
  fl_netlink_close(dead.news);
  fl_netlink_close(dead.route);
  fl_nft_close(&dead.nft);
  open_egress(&egress);
  CHECK(anything_left(name));
}

/* `nft flush ruleset`: whoever is inside must not be left without rules. */
static void without_rules_there_is_no_way_out(void)
{
  int part = make_part(6);
  struct fl_error error = { 0 };
  struct fl_nft nft;

  grant(6, &everything_public);
  CHECK(tcp(part, "8.8.8.8", 443) == CONNECTED && !fl_egress_lost(&egress));
  must(fl_nft_open(&nft, egress.config.name, &error), &error);
  fl_nft_begin(&nft);
  fl_nft_chain_flush(&nft, "entry");
  must(fl_nft_commit(&nft, "flush", &error), &error);
  CHECK(fl_egress_lost(&egress) && !egress.open && tcp(part, "8.8.8.8", 443) == ENETUNREACH);
  open_egress(&egress);
  fl_nft_begin(&nft);
  fl_nft_table_delete(&nft);
  must(fl_nft_commit(&nft, "delete", &error), &error);
  fl_nft_close(&nft);
  CHECK(fl_egress_lost(&egress));
  open_egress(&egress);
  close(part);
}

static void two_have_blocks_of_their_own(void)
{
  struct fl_egress other;

  start("flashd-other", &other);
  open_egress(&other);
  CHECK(!fl_prefix_overlaps(other.block, egress.block));
  fl_egress_stop(&other);
}

static void a_range_in_use_is_an_error(void)
{
  const struct fl_prefix used = { ip("10.128.0.0"), 9 };
  struct fl_error error = { 0 };
  struct fl_egress other;

  start("flashd-crowded", &other);
  must(fl_route_claim(other.route, used, &error), &error);
  CHECK(fl_egress_open(&other, &error) < 0 && error.code == FL_ERR_NETWORK && strstr(error.detail, "egressRange"));
  must(fl_route_unclaim(other.route, used, &error), &error);
  open_egress(&other);
  fl_egress_stop(&other);
  start("flashd-crowded", &other);
  other.config.slots = 1 << 21;
  error = (struct fl_error){ 0 };
  CHECK(fl_egress_open(&other, &error) < 0 && error.errno_value == ERANGE);
  fl_egress_stop(&other);
}

static void name_servers_are_found(void)
{
  CHECK(fl_resolver_parse("# mine\nsearch example.org\nnameserver 10.255.255.53\nnameserver 8.8.8.8\n") == ip("10.255.255.53"));
  CHECK(fl_resolver_parse("nameserver 127.0.0.53\nnameserver\t192.0.2.1 # second\n") == ip("192.0.2.1"));
  CHECK(fl_resolver_parse("nameserver ::1\nnameserver 127.0.0.1\n") == 0);
  CHECK(fl_resolver_parse("nameservers 1.2.3.4\nnameserver 1.2.3\nnameserver") == 0 && fl_resolver_parse("") == 0);
}

int main(void)
{
  static const char name[] = "flashd-egress-test";
  int one, two;

  name_servers_are_found();
  build_world();
  build_behind();
  maker = (struct fl_egress_maker){ .name = name, .own = host };
  start(name, &egress);
  CHECK(!anything_left(name));                                   /* nobody has asked yet */
  open_egress(&egress);
  one = make_part(0);
  two = make_part(1);
  nothing_without_a_policy(one);
  grant(0, &everything_public);
  public_is_what_it_says(one);
  nothing_without_a_policy(two);
  grant(1, &everything_public);
  nobody_comes_in(one);
  CHECK(tcp(two, inet_ntoa((struct in_addr){ htonl(fl_egress_address(&egress, 0)) }), 80) == ECONNREFUSED);
  a_list_narrows_and_reopens();
  there_is_no_ipv6(one);
  no_ipv6_passes_where_it_is_on(one, two);
  nobody_speaks_for_another(one);
  connections_are_counted();
  connections_are_forgotten();
  the_rate_holds_both_ways_and_for_each_alone(one);
  fl_egress_part_remove(&maker, 1, fl_egress_address(&egress, 1));
  CHECK(tcp(two, "8.8.8.8", 443) == ENETUNREACH);                /* the cable is gone, whoever still holds the network */
  without_rules_there_is_no_way_out();
  one = make_part(0);
  grant(0, &everything_public);
  two_have_blocks_of_their_own();
  a_range_in_use_is_an_error();
  a_dead_generation_is_removed(name);
  CHECK(tcp(one, "8.8.8.8", 443) == ENETUNREACH);
  fl_egress_stop(&egress);
  CHECK(!anything_left(name) && tcp(internet, "192.0.2.99", 80) == SILENT);
  CHECK(fl_file_write(AT_FDCWD, "/proc/sys/net/ipv4/conf/uplink/forwarding", "1") == 0 && tcp(internet, "192.0.2.99", 80) == CONNECTED);
  return 0;
}
