/*
 * connect by rule, without a race: the socket is taken out of the caller (pidfd_getfd) and connected here, to the copy of the address that was judged. A socket belongs to the network namespace it was made in,
 * so that it reaches from here what it reaches from there. A thread of its own waits where the socket blocks; when the instance ends, the socket is shut down, which ends the wait.
 * Local sockets are refused: a path would be looked up in this process's root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/thread.h"
#include "intercept/policy.h"
#include "intercept/watch.h"

enum { STACK_BYTES = 64 << 10 };

static void refuse(struct fl_answer *answer, int error)
{
  *answer = (struct fl_answer){.error = error, .verdict = FL_SYSCALL_DENIED};
}

/* The thread-group leader's descriptors: a thread that has a table of its own gets what its process has under that number, which is its own sandbox's too. */
static int take_socket(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  struct fl_target *target = fl_target_find(monitor, watch, notice);
  fl_autoclose int pidfd = target ? pidfd_open(target->tgid, 0) : -1;
  int domain;
  socklen_t bytes = sizeof domain;

  if (pidfd < 0 || !fl_notice_valid(watch, notice))
    return -ESRCH;
  fl_autoclose int socket = pidfd_getfd(pidfd, (int)notice->data.args[0], 0);
  if (socket < 0)
    return errno == EBADF ? -EBADF : -EACCES;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) < 0)
    return -ENOTSOCK;
  return domain == AF_INET || domain == AF_INET6 ? fl_steal_fd(&socket) : -EACCES;
}

static void *wait_for(void *argument)
{
  struct fl_connection *connection = argument;

  fl_notify_reply(connection->listener, connection->id, connect(connection->socket, (struct sockaddr *)&connection->address, connection->bytes) < 0 ? errno : 0);
  while (write(connection->done, &connection, sizeof connection) < 0 && errno == EINTR)
    ;
  return NULL;
}

static void drop(struct fl_connection *connection)
{
  fl_close(&connection->socket);
  fl_close(&connection->listener);
  free(connection);
}

void fl_connecting(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer)
{
  int refusal = fl_intercept_errno(&watch->policy, (uint32_t)notice->data.nr);
  struct sockaddr_storage address = {0};
  int32_t bytes = (int32_t)notice->data.args[2];

  if (bytes < (int32_t)sizeof address.ss_family || bytes > (int32_t)sizeof address) {
    refuse(ret_answer, EINVAL);
    return;
  }
  int r = fl_target_read(monitor, watch, notice, notice->data.args[1], &address, (size_t)bytes);
  if (r < 0) {
    refuse(ret_answer, -r);
    return;
  }
  if (!fl_intercept_may_connect(&watch->policy, &address, (size_t)bytes)) {
    refuse(ret_answer, refusal);
    return;
  }
  if (watch->connecting >= FL_WATCH_CONNECTING_MAX || monitor->connecting >= FL_CONNECTING_MAX) {
    refuse(ret_answer, EAGAIN);
    return;
  }
  fl_autoclose int socket = take_socket(monitor, watch, notice);
  if (socket < 0) {
    refuse(ret_answer, socket == -EACCES ? refusal : -socket);
    return;
  }
  struct fl_connection *connection = malloc(sizeof *connection);
  if (!connection) {
    refuse(ret_answer, ENOMEM);
    return;
  }
  *connection = (struct fl_connection){.instance = watch->instance, .id = notice->id, .socket = fl_steal_fd(&socket), .done = monitor->done, .bytes = (socklen_t)bytes, .address = address};
  connection->listener = fcntl(watch->listener, F_DUPFD_CLOEXEC, 0);
  if (connection->listener < 0 || !fl_thread_start(wait_for, connection, STACK_BYTES)) {
    drop(connection);
    refuse(ret_answer, EAGAIN);
    return;
  }
  LIST_INSERT_HEAD(&monitor->connections, connection, all);
  watch->connecting++;
  monitor->connecting++;
  *ret_answer = (struct fl_answer){.verdict = FL_SYSCALL_ALLOWED, .answered = true};
}

void fl_connecting_finished(struct fl_monitor *monitor)
{
  struct fl_connection *connection;

  while (read(monitor->finished, &connection, sizeof connection) == (ssize_t)sizeof connection) {
    struct fl_watch *watch;

    LIST_REMOVE(connection, all);
    monitor->connecting--;
    LIST_FOREACH(watch, &monitor->watches, all)
      if (watch->instance == connection->instance)
        watch->connecting--;
    drop(connection);
  }
}

void fl_connecting_cancel(struct fl_monitor *monitor, const struct fl_watch *watch)
{
  struct fl_connection *connection;

  LIST_FOREACH(connection, &monitor->connections, all)
    if (connection->instance == watch->instance)
      shutdown(connection->socket, SHUT_RDWR);
}
