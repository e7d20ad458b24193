/* See template.h. */
#include "inject/template.h"

#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "inject/inspect.h"
#include "parasite/image.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { KEPT_FDS = FL_DATA_FD + 1, PINNED_BYTES_MAX = 256 << 20 };

static uint64_t now_ns(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What setns into a sandbox needs, and nothing else. */
static const uint64_t kept_capabilities = 1ull << CAP_SYS_ADMIN | 1ull << CAP_SYS_PTRACE;

/* Hot pages count as locked memory, those of all templates (and all of root's processes) together. Every instance has a small limit of its own again. */
static void allow_pinning(void)
{
  struct rlimit limit;

  if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){PINNED_BYTES_MAX, PINNED_BYTES_MAX}) < 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
    setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){limit.rlim_max, limit.rlim_max});
}

static int become_runtime(const struct fl_parts *parts, const struct fl_pack_runtime *runtime, const char *executable, int data_fd, int stderr_fd, pid_t parent,
                          struct fl_error *err)
{
  struct sock_fprog filter = fl_parts_filter(parts);
  int r = fl_parts_enter_base(parts, err);

  if (r < 0)
    return r;
  int null = open("/dev/null", O_RDWR);
  if (null < 0)
    return fl_fail_errno(err, "open_null");
  if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(stderr_fd, STDERR_FILENO) < 0 || dup2(data_fd, FL_DATA_FD) < 0 || fcntl(FL_DATA_FD, F_SETFD, 0) < 0)
    return fl_fail_errno(err, "dup2");
  if ((r = fl_close_from(KEPT_FDS)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "close_range", "template");
  fl_signals_reset();
  umask(022);
  setsid();
  if (fl_forbid_core_dumps() < 0)
    return fl_fail_errno(err, "setrlimit");
  allow_pinning();
  if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0)
    return fl_fail_errno(err, "huge_pages");
  if ((r = fl_capabilities_keep(kept_capabilities)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "capabilities", "template");
  if ((r = fl_die_with_parent(parent)) < 0 || (r = fl_set_no_new_privs()) < 0 || (r = fl_seccomp_filter(&filter, 0)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "confine_template", "%s", runtime->name);
  execve(executable, runtime->argv, runtime->envp);
  return fl_fail_errno(err, "execve");
}

int fl_template_boot(const struct fl_parts *parts, const struct fl_pack *pack, uint32_t runtime, const char *executable, struct fl_template *ret_template,
                     struct fl_error *err)
{
  pid_t self = getpid();
  int pair[2], pipe[2];

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1];
  if (pipe2(pipe, O_CLOEXEC) < 0)
    return fl_fail_errno(err, "pipe2");
  fl_autoclose int complaints = pipe[0], stderr_fd = pipe[1];
  fcntl(complaints, F_SETFL, O_NONBLOCK);
  pid_t pid = fork();
  if (pid < 0)
    return fl_fail_errno(err, "fork");
  if (pid == 0) {
    struct fl_error failure = {0};

    become_runtime(parts, &pack->runtime[runtime], executable, theirs, stderr_fd, self, &failure);
    dprintf(STDERR_FILENO, "flashd-sandboxd: template %s: %s: %s %s\n", pack->runtime[runtime].name, failure.op, strerror(failure.errno_value), failure.detail);
    _exit(111);
  }
  *ret_template = (struct fl_template){
      .state = FL_TEMPLATE_BOOTING, .runtime = runtime, .pid = pid, .data_fd = fl_steal_fd(&ours), .stderr_fd = fl_steal_fd(&complaints), .infection = {.socket = -1, .bell = -1}, .booted_ns = now_ns()};
  return 0;
}

/* At most what a pipe holds. */
static void pass_on_complaints(struct fl_template *template)
{
  char text[4096];
  ssize_t length;

  while (template->stderr_fd >= 0 && (length = read(template->stderr_fd, text, sizeof text)) > 0)
    if (write(STDERR_FILENO, text, (size_t)length) < 0)
      break;
  fl_close(&template->stderr_fd);
}

int fl_template_said_ready(struct fl_template *template, struct fl_error *err)
{
  struct fl_frame frame;
  ssize_t length = recv(template->data_fd, &frame, sizeof frame, MSG_WAITALL | MSG_DONTWAIT);
  int error = length < 0 ? errno : EPIPE;

  pass_on_complaints(template);
  if (length != (ssize_t)sizeof frame)
    return fl_fail(err, FL_ERR_TEMPLATE, error, "boot", "the runtime ended before it was ready");
  if (frame.type != FL_FRAME_READY || frame.length != 0)
    return fl_fail(err, FL_ERR_TEMPLATE, EPROTO, "boot", "not a READY frame");
  return 0;
}

int fl_template_freeze(struct fl_template *template, struct fl_error *err)
{
  struct fl_fork_report report;
  int r = fl_infect(template->pid, template->data_fd, &template->infection, err);
  if (r < 0)
    return r;
  fl_close(&template->data_fd);
  ssize_t length = recv(template->infection.socket, &report, sizeof report, 0);
  if (length != (ssize_t)sizeof report || report.kind != FL_FORK_READY)
    return fl_fail(err, FL_ERR_TEMPLATE, length < 0 ? errno : EPIPE, "infect", "the parasite did not answer");
  template->state = FL_TEMPLATE_READY;
  template->known_pid = template->other_pid = template->pid;
  return 0;
}

int fl_template_fork(struct fl_template *template, const struct fl_fork *fork, const int *fds, struct fl_error *err)
{
  int r = fl_packet_send(template->infection.socket, fork, sizeof *fork, fds, fork->home ? FL_IMAGE_FDS : fork->plan.fds + (fork->cgroup_fd != FL_NO_FD));

  return r < 0 ? fl_fail(err, FL_ERR_TEMPLATE, -r, "fork_request", "template %d", template->pid) : 0;
}

struct fl_growth fl_template_growth(struct fl_template *template)
{
  if (template->growth_of != template->pid)
    template->growth = fl_inspect_growth(template->pid, template->infection.region, template->infection.region_bytes);
  template->growth_of = template->pid;
  return template->growth;
}

int fl_template_report(struct fl_template *template, struct fl_fork_report *ret_report)
{
  ssize_t length = recv(template->infection.socket, ret_report, sizeof *ret_report, MSG_DONTWAIT);

  if (length == (ssize_t)sizeof *ret_report)
    return 0;
  return length < 0 ? -errno : length == 0 ? -EPIPE : -EPROTO;
}

void fl_template_kill(struct fl_template *template)
{
  /* A function template whose pid is not known yet ends with its socket. */
  if (template->pid > 0 && (template->state == FL_TEMPLATE_BOOTING || template->state == FL_TEMPLATE_READY))
    kill(template->pid, SIGKILL);
  template->state = FL_TEMPLATE_DEAD;
  pass_on_complaints(template);
  free(template->hot);
  template->hot = NULL;
  fl_copies_close(template->copies);
  template->copies = NULL;
  fl_close(&template->data_fd);
  fl_close(&template->infection.socket);
  fl_close(&template->infection.bell);
}
