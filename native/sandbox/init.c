/*
 * A sandbox's pid 1: see init.h. Order matters throughout; each step that gives something up comes after the last one that needs it. It runs on pages shared
 * with the builder, so it allocates nothing.
 */
#include "sandbox/init.h"

#include <errno.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/base.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { SOCKET = 0 };                                             /* the only descriptor it keeps while it starts */

static const char hostname[] = "function";

static void await_letter(char letter)
{
  char got = 0;
  size_t fds;

  if (fl_packet_receive(SOCKET, &got, 1, NULL, 0, &fds) != 1 || got != letter)
    _exit(1);
}

/* Root inside. Before any mount: a file made by an id that is not mapped is EOVERFLOW. */
static int become_inner_root(struct fl_error *err)
{
  if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
    return fl_fail_errno(err, "become inner root");
  return 0;
}

/* Nothing is needed after this. PDEATHSIG last: changing ids or capabilities clears it. */
static int give_up_everything(struct fl_error *err)
{
  int result = fl_capabilities_bound_none();

  if (result == 0)
    result = fl_set_no_new_privs();
  if (result == 0)
    result = fl_capabilities_drop();
  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "drop capabilities", NULL);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
    return fl_fail_errno(err, "prctl");
  return 0;
}

static int assemble(const struct fl_limits *limits, int *ret_scratch_fd, struct fl_error *err)
{
  int result = become_inner_root(err);

  if (result < 0)
    return result;
  if (unshare(CLONE_NEWCGROUP) < 0)                              /* after joining: its root is where we stand now */
    return fl_fail_errno(err, "unshare cgroup");
  if (limits)
    result = fl_base_enter(&(struct fl_root){ .tmp_bytes = limits->tmp_bytes, .tmp_inodes = limits->tmp_inodes, .owner = FL_INNER_UID }, ret_scratch_fd, err);
  else
    result = fl_base_room(err);
  if (result == 0 && sethostname(hostname, sizeof hostname - 1) < 0)
    return fl_fail_errno(err, "sethostname");
  return result < 0 ? result : give_up_everything(err);
}

/* Orphans of the sandbox come to pid 1: with SIGCHLD ignored the kernel reaps them by itself, so there is nothing to do. */
__attribute__((noreturn)) static void hold(void)
{
  static const struct sock_filter only_pause[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pause, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = { .len = FL_COUNT(only_pause), .filter = (struct sock_filter *)only_pause };

  if (fl_close_from(0) < 0 || fl_seccomp_filter(&program, 0) < 0)
    _exit(1);
  for (;;)
    pause();
}

void fl_init_run(int socket_fd, const struct fl_cgroup *cgroup, const struct fl_limits *limits)
{
  struct sigaction ignore = { .sa_handler = SIG_IGN };
  struct fl_error error = { 0 };
  fl_autoclose int scratch_fd = -1;
  int result = 0;

  prctl(PR_SET_NAME, "flashd-init", 0, 0, 0);
  for (uint32_t index = 0; index < cgroup->joins; index++)
    if (write(cgroup->join_fds[index], "0", 1) != 1 && result == 0)
      result = fl_fail_errno(&error, "join cgroup");
  /* The builder's ends of other sockets too: holding them would hide its death from other inits, and from this one. */
  if (dup2(socket_fd, SOCKET) < 0 || fl_close_from(SOCKET + 1) < 0)
    _exit(1);
  fl_signals_reset();
  sigaction(SIGCHLD, &ignore, NULL);
  await_letter(FL_INIT_GO);
  if (result == 0)
    result = assemble(limits, &scratch_fd, &error);
  if (fl_packet_send(SOCKET, &error, sizeof error, &scratch_fd, scratch_fd >= 0) < 0 || result < 0)
    _exit(1);
  await_letter(FL_INIT_LIVE);
  hold();
}
