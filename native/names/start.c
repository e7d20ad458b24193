/* What the forwarder is before it reads its first packet: in its network, with all it will ever need, and without a privilege. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "names/questions.h"
#include "sys/syscalls.h"

enum { PRIORITY_DECIDE = -150, TYPE_ADDRESS = 7, ADDRESS_BYTES = 4, METER_SECONDS = 60, SOCKET_BUFFER_BYTES = 1 << 20 };

/* In its own network: a sandbox that asks without end is cut off here, so that others are heard. */
static int limit_questions(uint32_t slots, struct fl_error *err)
{
  static const char chain[] = "questions", meter[] = "askers";
  static const uint8_t transports[] = { IPPROTO_UDP, IPPROTO_TCP };
  const uint16_t port = htons(FL_DNS_PORT);
  struct fl_nft nft;
  int result = fl_nft_open(&nft, "flashd-names", err);

  if (result < 0)
    return result;
  fl_nft_begin(&nft);
  fl_nft_table_add(&nft, chain, sizeof chain);
  fl_nft_meter_add(&nft, meter, TYPE_ADDRESS, ADDRESS_BYTES, slots, METER_SECONDS);
  fl_nft_hook_add(&nft, chain, "filter", NF_INET_PRE_ROUTING, PRIORITY_DECIDE);
  for (size_t index = 0; index < FL_COUNT(transports); index++) {
    fl_nft_rule(&nft, chain);
    fl_nft_meta(&nft, NFT_META_L4PROTO);
    fl_nft_is(&nft, &transports[index], sizeof transports[index]);
    fl_nft_destination_port(&nft);
    fl_nft_is(&nft, &port, sizeof port);
    fl_nft_address(&nft, FL_NFT_SOURCE);
    fl_nft_metered(&nft, meter, FL_NAMES_QUERY_RATE, FL_NAMES_QUERY_BURST);
    fl_nft_verdict(&nft, NF_DROP, NULL);
    fl_nft_rule_end(&nft);
  }
  result = fl_nft_commit(&nft, "limit questions", err);
  fl_nft_close(&nft);
  return result;
}

static int listen_for_questions(uint32_t address, struct fl_error *err)
{
  const struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(FL_DNS_PORT), .sin_addr.s_addr = htonl(address) };
  fl_autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  /* In this network alone; sandboxd may not take such a port otherwise, and a translation of ports would be needed. */
  if (fl_file_write(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "53") < 0)
    return fl_fail(err, FL_ERR_NETWORK, EACCES, "listen for questions", "net.ipv4.ip_unprivileged_port_start");
  if (fd < 0 || bind(fd, (const struct sockaddr *)&own, sizeof own) < 0)
    return fl_fail_errno(err, "listen for questions");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){ SOCKET_BUFFER_BYTES }, sizeof(int));
  return fl_steal_fd(&fd);
}

/* What is accepted has its sizes. */
static int listen_for_connections(uint32_t address, struct fl_error *err)
{
  const struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(FL_DNS_PORT), .sin_addr.s_addr = htonl(address) };
  fl_autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ FL_NAMES_STREAM_BYTES }, sizeof(int)) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ FL_NAMES_STREAM_BYTES }, sizeof(int)) < 0 || bind(fd, (const struct sockaddr *)&own, sizeof own) < 0 || listen(fd, FL_NAMES_STREAMS_MAX) < 0)
    return fl_fail_errno(err, "listen for connections");
  return fl_steal_fd(&fd);
}

/* Afterwards the process is in its network: the one before's, or a new one. */
static int enter_network(const struct fl_forwarder_start *start, struct fl_forwarder *forwarder, int ret_fds[FL_NAMES_READY_DESCRIPTORS])
{
  struct fl_egress_maker maker = { .name = start->name };
  struct fl_error err = { 0 };

  if (start->network >= 0) {
    forwarder->socket = start->socket;
    forwarder->listener = start->listener;
    return setns(start->network, CLONE_NEWNET) < 0 ? -errno : 0;
  }
  maker.own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (maker.own < 0)
    return -errno;
  int result = fl_egress_part_make(&maker, start->slots, start->first + start->slots, &err);
  if (result == 0)
    result = limit_questions(start->slots, &err);
  if (result == 0)
    result = forwarder->socket = listen_for_questions(start->first + start->slots, &err);
  if (result >= 0)
    result = forwarder->listener = listen_for_connections(start->first + start->slots, &err);
  if (result < 0) {
    dprintf(STDERR_FILENO, "flashd-sandboxd: forwarder of names: %s: %s\n", err.op, err.detail);
    return result;
  }
  ret_fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  ret_fds[1] = forwarder->socket;
  ret_fds[2] = forwarder->listener;
  return ret_fds[0] < 0 ? -errno : 0;
}

static int watch(const struct fl_forwarder *forwarder, int fd, uint32_t index, uint32_t events)
{
  struct epoll_event event = { .events = events, .data.u32 = index };

  return epoll_ctl(forwarder->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int make_sockets(struct fl_forwarder *forwarder)
{
  int result = 0;

  forwarder->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (forwarder->epoll < 0)
    return -errno;
  for (uint32_t index = 0; index < FL_NAMES_QUERIES_MAX && result == 0; index++) {
    forwarder->question[index].socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    result = forwarder->question[index].socket < 0 ? -errno : watch(forwarder, forwarder->question[index].socket, index, EPOLLIN);
  }
  for (uint32_t index = 0; index < FL_NAMES_UPSTREAMS_MAX && result == 0; index++) {
    int fd = forwarder->upstream[index].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    result = fd < 0 ? -errno : watch(forwarder, fd, FL_FORWARDER_UPSTREAMS + index, EPOLLIN | EPOLLOUT | EPOLLET);
  }
  for (uint32_t index = 0; index < FL_NAMES_STREAMS_MAX; index++)
    forwarder->connection[index].fd = -1;
  if (result == 0)
    result = watch(forwarder, forwarder->control, FL_FORWARDER_CONTROL, EPOLLIN);
  if (result == 0)
    result = watch(forwarder, forwarder->listener, FL_FORWARDER_LISTENER, EPOLLIN);
  return result < 0 ? result : watch(forwarder, forwarder->socket, FL_FORWARDER_SOCKET, EPOLLIN);
}

static int drop_privileges(uint32_t id, pid_t parent)
{
  int result = fl_capabilities_bound_none();

  if (result < 0)
    return result;
  if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
    return -errno;
  if ((result = fl_capabilities_drop()) < 0 || (result = fl_die_with_parent(parent)) < 0)    /* a change of uid forgets whom to die with */
    return result;
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

int fl_forwarder_prepare(const struct fl_forwarder_start *start, struct fl_forwarder *forwarder, int ret_fds[FL_NAMES_READY_DESCRIPTORS])
{
  const int given[] = { start->control, start->network, start->socket, start->listener };
  int result;

  *forwarder = (struct fl_forwarder){ .control = start->control, .slots = start->slots, .first = start->first };
  fl_signals_reset();
  if ((result = fl_close_others(given, FL_COUNT(given))) < 0 || (result = enter_network(start, forwarder, ret_fds)) < 0)
    return result;
  const int kept[] = { forwarder->control, forwarder->socket, forwarder->listener, ret_fds[0] };
  if ((result = fl_close_others(kept, FL_COUNT(kept))) < 0 || (result = make_sockets(forwarder)) < 0)    /* what making the network took is gone */
    return result;
  forwarder->asker = calloc(start->slots, sizeof *forwarder->asker);
  if (!forwarder->asker || prctl(PR_SET_NAME, "flashd-names", 0, 0, 0) < 0)
    return -ENOMEM;
  result = drop_privileges(start->id, start->parent);
  return result < 0 ? result : fl_forwarder_confine();
}
