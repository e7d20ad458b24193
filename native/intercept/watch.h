/* The monitor's state, shared by its rooms: monitor.c (process and loop), notify.c (one notification), target.c, opening.c, connecting.c. One thread answers; only connections that may block have threads of their own. */
#ifndef FLASHD_INTERCEPT_WATCH_H
#define FLASHD_INTERCEPT_WATCH_H
#include <flashd/intercept.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "intercept/handshake.h"

enum {
  FL_WATCH_NAMES = 8,                            /* threads of an instance whose numbers inside are remembered */
  FL_WATCH_PATH_BYTES = 4096,
  FL_WATCH_CONNECTING_MAX = 16,                  /* of an instance, at a time: further ones are told EAGAIN */
  FL_CONNECTING_MAX = 1024                       /* of all */
};

/* Who asks, while its call is being looked at and no longer: ids may be given to others, and an address space be replaced. */
struct fl_target { uint64_t notice; pid_t tid, tgid, inner_tgid, inner_tid; int memory; };
/* For the log alone, where an id that was given to another thread meanwhile does no harm. */
struct fl_inner_name { pid_t tid, inner_tid; };

struct fl_watch {
  uint64_t instance;
  uint32_t id;                                   /* uid and gid on the host */
  int link, pidfd, listener, root;               /* -1: not yet, or not any more */
  int32_t number;                                /* of the listener in the instance */
  uint32_t knocks;                               /* still to come until it is an instance's code that asks */
  bool over, paused;
  double notices, events;                        /* left of what it may ask and have told */
  uint64_t refilled_ns;
  uint32_t dropped, denied, connecting, next_name;
  struct fl_target target;                       /* memory is -1 while notice is 0 */
  struct fl_inner_name name[FL_WATCH_NAMES];
  uint8_t seen[FL_INTERCEPT_CALLS];
  LIST_ENTRY(fl_watch) all;
  struct fl_intercept policy;
};

struct fl_connection {
  uint64_t instance, id;                         /* id: of the notification */
  int listener, socket, done;
  socklen_t bytes;
  struct sockaddr_storage address;
  LIST_ENTRY(fl_connection) all;
};

struct fl_monitor {
  int epoll, socket, proc, self, done, finished; /* self: /proc/self/fd; a pipe's ends: where finished connections are told, and heard of */
  uint32_t id, connecting;
  uint32_t awaited;                              /* instances that will knock in a moment, or have given up doing so */
  uint64_t awake_until_ns;
  LIST_HEAD(, fl_watch) watches;
  LIST_HEAD(, fl_connection) connections;
};

/* What was said to a notification, and what of it is told. */
struct fl_answer { int32_t error; uint32_t verdict; bool answered, proceed; };

/* notify.c: takes one notification and answers it. False when the listener is of no use any more. */
bool fl_notify(struct fl_monitor *monitor, struct fl_watch *watch);
/* A finished connection. */
void fl_notify_reply(int listener, uint64_t id, int error);

/* target.c: who asks. Valid until it is forgotten, which it is with its notification; NULL when it is gone. */
struct fl_target *fl_target_find(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice);
void fl_target_forget(struct fl_watch *watch);
/* Its number inside, or 0. */
pid_t fl_target_name(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice);
/* Exactly so many bytes; 0 or -EFAULT. What was read is a copy: the process may change its own at any time. */
int fl_target_read(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, void *to, size_t bytes);
/* A string with its NUL: its length, or -EFAULT, -ENAMETOOLONG. */
int fl_target_read_string(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, uint64_t address, char *to, size_t bytes);
/* Opens what stands below /proc/PID of a process of the instance: that belongs to the instance, or, when it has forbidden to be looked at, to root or the sandbox's root. -1 and errno. */
int fl_target_open(const struct fl_monitor *monitor, const struct fl_watch *watch, const char *path, int flags);
/* The same for a link's text: its length. */
ssize_t fl_target_readlink(const struct fl_monitor *monitor, const struct fl_watch *watch, const char *path, char *to, size_t bytes);
bool fl_target_umask(const struct fl_monitor *monitor, pid_t tid, uint32_t *ret_mask);
bool fl_notice_valid(const struct fl_watch *watch, const struct seccomp_notif *notice);

/* opening.c: what the call names, opened below the sandbox's root as the instance would, and handed over. */
void fl_opening(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer);
/* Whether what execve names may be executed. */
void fl_executing(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer);

/* connecting.c: the caller's socket, connected to the address as it was when it was looked at. */
void fl_connecting(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer);
void fl_connecting_finished(struct fl_monitor *monitor);
/* Ends what the instance waits for. */
void fl_connecting_cancel(struct fl_monitor *monitor, const struct fl_watch *watch);

/* describe.c: the path or address that the call names, or "". */
void fl_describe(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, char *to, size_t bytes);
#endif
