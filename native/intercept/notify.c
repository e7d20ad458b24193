/* One notification: taken, judged, answered, and then told, if it is to be told at all. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "intercept/policy.h"
#include "intercept/watch.h"
#include "sys/packet.h"

/* The kernel's structures may have grown (SECCOMP_GET_NOTIF_SIZES): it writes no more than its own, which fits. */
enum { NOTICE_BYTES = 1024 };
union notice { struct seccomp_notif notice; uint8_t bytes[NOTICE_BYTES]; };
union reply { struct seccomp_notif_resp reply; uint8_t bytes[NOTICE_BYTES]; };

static void reply(int listener, uint64_t id, int error, bool proceed)
{
  union reply answer = {.reply = {.id = id, .error = proceed ? 0 : -error, .flags = proceed ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0}};

  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);   /* ENOENT: it does not wait any more */
}

void fl_notify_reply(int listener, uint64_t id, int error)
{
  reply(listener, id, error, false);
}

static bool is_knock(const struct seccomp_notif *notice)
{
  return notice->data.nr == SYS_seccomp && (uint32_t)notice->data.args[0] == FL_KNOCK;
}

/* The parasite's own calls pass until its last knock; what knocks later is told what the kernel tells whoever asks for an operation that it does not know. */
static bool admit(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  if (is_knock(notice)) {
    bool expected = watch->knocks > 0;

    watch->knocks -= expected;
    monitor->awaited -= expected && watch->knocks == 0 && monitor->awaited > 0;
    reply(watch->listener, notice->id, expected ? 0 : ENOSYS, false);
    return true;
  }
  if (watch->knocks == 0)
    return false;
  reply(watch->listener, notice->id, 0, true);
  return true;
}

static void judge_by_rule(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_answer *ret_answer)
{
  switch (notice->data.nr) {
  case SYS_open: case SYS_openat: case SYS_creat:
    fl_opening(monitor, watch, notice, ret_answer);
    break;
  case SYS_connect:
    fl_connecting(monitor, watch, notice, ret_answer);
    break;
  case SYS_execve: case SYS_execveat:
    fl_executing(monitor, watch, notice, ret_answer);
    break;
  case SYS_sendto:
    if (notice->data.args[4] == 0) {             /* it is here to be told only */
      *ret_answer = (struct fl_answer){.verdict = FL_SYSCALL_ALLOWED, .proceed = true};
      break;
    }
    __attribute__((fallthrough));
  default:
    *ret_answer = (struct fl_answer){.error = fl_intercept_errno(&watch->policy, (uint32_t)notice->data.nr), .verdict = FL_SYSCALL_DENIED};
  }
}

static struct fl_answer judge(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  uint32_t number = (uint32_t)notice->data.nr, verdict = fl_intercept_verdict(&watch->policy, number);
  struct fl_answer answer = {.verdict = FL_SYSCALL_AUDITED, .proceed = true};

  if (verdict == FL_INTERCEPT_DENY)
    answer = (struct fl_answer){.error = fl_intercept_errno(&watch->policy, number), .verdict = FL_SYSCALL_DENIED};
  else if (verdict == FL_INTERCEPT_RULE)
    judge_by_rule(monitor, watch, notice, &answer);
  return answer;
}

static void tell(struct fl_monitor *monitor, struct fl_watch *watch, struct fl_syscall *event)
{
  event->header.type = FL_MSG_SYSCALL;
  event->header.size = sizeof *event;
  event->instance = watch->instance;
  event->dropped = watch->dropped;
  event->denied = watch->denied;
  if (fl_packet_send(monitor->socket, event, sizeof *event, NULL, 0) == 0) {
    watch->dropped = watch->denied = 0;
  } else {
    watch->dropped++;
    watch->denied += event->verdict == FL_SYSCALL_DENIED;
  }
}

/* Told once per call: that it is used is all that is asked. */
static void learn(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  uint32_t number = (uint32_t)notice->data.nr;
  struct fl_syscall event = {.number = number, .verdict = FL_SYSCALL_SEEN};

  if (number >= FL_INTERCEPT_CALLS || watch->seen[number])
    return;
  watch->seen[number] = 1;
  tell(monitor, watch, &event);
}

static void look(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice, struct fl_syscall *event)
{
  event->pid = fl_target_name(monitor, watch, notice);
  memcpy(event->argument, notice->data.args, sizeof event->argument);
  fl_describe(monitor, watch, notice, event->detail, sizeof event->detail);
}

static void handle(struct fl_monitor *monitor, struct fl_watch *watch, const struct seccomp_notif *notice)
{
  uint32_t number = (uint32_t)notice->data.nr;
  struct fl_syscall event = {.number = number};

  /* Before the answer: afterwards its memory says something else. What is too much to be told is not looked into. */
  bool room = watch->events >= 1, logged = fl_intercept_logged(&watch->policy, number);
  if (room && logged)
    look(monitor, watch, notice, &event);
  struct fl_answer answer = judge(monitor, watch, notice);
  if (room && !logged && answer.verdict == FL_SYSCALL_DENIED)
    look(monitor, watch, notice, &event);
  if (!answer.answered)
    reply(watch->listener, notice->id, answer.error, answer.proceed);
  if (answer.verdict == FL_SYSCALL_ALLOWED && !logged)
    return;
  if (!room) {
    watch->dropped++;
    watch->denied += answer.verdict == FL_SYSCALL_DENIED;
    return;
  }
  watch->events--;
  event.verdict = answer.verdict;
  event.error = answer.error;
  tell(monitor, watch, &event);
}

bool fl_notify(struct fl_monitor *monitor, struct fl_watch *watch)
{
  union notice received = {0};

  /* Whoever asked may have been interrupted since its event came, and receiving would wait for the next one, and all others for us. */
  if (poll(&(struct pollfd){.fd = watch->listener, .events = POLLIN}, 1, 0) <= 0)
    return true;
  if (ioctl(watch->listener, SECCOMP_IOCTL_NOTIF_RECV, &received) < 0)
    return errno == ENOENT || errno == EINTR;
  watch->notices--;
  if (admit(monitor, watch, &received.notice))
    return true;
  bool learning = watch->policy.flags & FL_INTERCEPT_LEARN;
  if (learning && fl_intercept_verdict(&watch->policy, (uint32_t)received.notice.data.nr) == FL_INTERCEPT_ALLOW)
    reply(watch->listener, received.notice.id, 0, true);
  else                                           /* rules hold meanwhile */
    handle(monitor, watch, &received.notice);
  if (learning)
    learn(monitor, watch, &received.notice);
  fl_target_forget(watch);
  return true;
}
