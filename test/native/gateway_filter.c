/* The gateway's filter: applied to a child with a second thread, then each door is tried. */
#include "addon/gateway_filter.h"

#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define REFUSED(...) CHECK(syscall(__VA_ARGS__) == -1 && errno == EPERM)

static int go[2], done[2];

/* Runs in a thread that was there before the filter. */
static void *earlier_thread(void *unused)
{
  char byte;

  (void)unused;
  CHECK(read(go[0], &byte, 1) == 1);
  REFUSED(SYS_unshare, CLONE_NEWUSER);
  CHECK(write(done[1], "d", 1) == 1);
  return NULL;
}

static void *later_thread(void *unused)
{
  (void)unused;
  REFUSED(SYS_execve, "/bin/true", NULL, NULL);
  return NULL;
}

static void the_doors_are_closed(void)
{
  struct clone_args arguments = { .exit_signal = SIGCHLD };

  REFUSED(SYS_execve, "/bin/true", NULL, NULL);
  REFUSED(SYS_execveat, -1, "", NULL, NULL, 0x1000);
  REFUSED(SYS_ptrace, 0, 0, 0, 0);
  REFUSED(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
  REFUSED(SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0);
  REFUSED(SYS_mount, "", "/", "", 0, NULL);
  REFUSED(SYS_chroot, "/");
  REFUSED(SYS_open_tree, -1, "/", 1);
  REFUSED(SYS_setns, -1, 0);
  REFUSED(SYS_open_by_handle_at, -1, NULL, 0);
  REFUSED(SYS_setuid, getuid());
  REFUSED(SYS_capset, NULL, NULL);
  REFUSED(SYS_bpf, 0, NULL, 0);
  REFUSED(SYS_perf_event_open, NULL, 0, 0, 0, 0);
  REFUSED(SYS_userfaultfd, 0);
  REFUSED(SYS_io_uring_setup, 1, NULL);
  REFUSED(SYS_keyctl, 0);
  REFUSED(SYS_kexec_load, 0, 0, NULL, 0);
  REFUSED(SYS_finit_module, -1, "", 0);
  REFUSED(SYS_reboot, 0, 0, 0, NULL);
  REFUSED(SYS_swapon, "", 0);
  REFUSED(SYS_sethostname, "x", 1);
  REFUSED(SYS_shmget, 0, 4096, 0600);
  REFUSED(SYS_mknodat, -1, "x", 0, 0);
  for (int bit = 0; bit < 32; bit++) {
    unsigned long flag = 1ul << bit;

    if (flag & (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET))
      REFUSED(SYS_clone, flag | SIGCHLD | 1ul << 40, 0, 0, 0, 0);
  }
  CHECK(syscall(SYS_clone3, &arguments, sizeof arguments) == -1 && errno == ENOSYS);
  CHECK(syscall(467, -1, "", 0, NULL, 0) == -1 && errno == ENOSYS);
#ifdef __x86_64__
  REFUSED(0x40000000 | SYS_getpid);
#endif
}

static void what_a_server_needs_works(void)
{
  pthread_t thread;
  int status, pair[2];
  pid_t pid;

  CHECK(pthread_create(&thread, NULL, later_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  pid = fork();
  if (pid == 0)
    _exit(7);
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void foreign_calls_kill(void)
{
#ifdef __x86_64__
  int status;
  pid_t pid = fork();

  if (pid == 0) {
    long result = 20;                          /* getpid of i386 */

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    _exit(0);
  }
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
#endif
}

/* Ends without exit handlers: LeakSanitizer's would need ptrace. */
static void confined_child(void)
{
  struct sock_filter program[FL_DENY_FILTER_MAX];
  struct fl_error error = { 0 };
  int count = fl_deny_filter_build(&fl_gateway_filter, program, FL_DENY_FILTER_MAX);
  pthread_t thread;
  char byte;

  CHECK(count > 100 && count < FL_DENY_FILTER_MAX);
  CHECK(fl_deny_filter_build(&fl_gateway_filter, program, 10) == -ENOSPC);
  CHECK(pipe(go) == 0 && pipe(done) == 0 && pthread_create(&thread, NULL, earlier_thread, NULL) == 0);
  CHECK(fl_gateway_filter_apply(&error) == count);
  CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
  CHECK(write(go[1], "g", 1) == 1 && read(done[0], &byte, 1) == 1);
  pthread_join(thread, NULL);
  the_doors_are_closed();
  what_a_server_needs_works();
  foreign_calls_kill();
  _exit(0);
}

int main(void)
{
  int status;
  pid_t pid = fork();

  if (pid == 0)
    confined_child();
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return 0;
}
