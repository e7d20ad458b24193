/* Processes: those of the host by the numbers they have there, the sandbox's init, and one's own children where even those are off limits. */
#include "attempts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <stdint.h>
#include <unistd.h>

static const char *const hosts[] = { "supervisor", "sandboxd", "gateway", "builder", "template", "function template", "victim", "victim's init", "test" };
static const char *const parts[] = { "mem", "maps", "environ", "root", "cwd", "exe", "fd", "ns/mnt", "syscall", "stack", "auxv", "map_files", "task/1/mem" };

/* Opening it follows the links among them, which is what an attacker wants. */
static long opened(int pid, const char *part, int flags)
{
  char path[64];
  int fd;

  snprintf(path, sizeof path, "/proc/%d/%s", pid, part);
  fd = open(path, flags | O_CLOEXEC);
  if (fd >= 0)
    close(fd);
  return fd;
}

static void reach(const char *who, int pid)
{
  char name[128], byte;
  struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x400000, 1 };
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

#define REACH(what, call) (snprintf(name, sizeof name, "%s %s", what, who), TRY(name, call))
  for (size_t index = 0; index < sizeof parts / sizeof *parts; index++)
    REACH(parts[index], opened(pid, parts[index], O_RDONLY));
  REACH("write mem of", opened(pid, "mem", O_RDWR));
  REACH("clear_refs of", opened(pid, "clear_refs", O_WRONLY));
  REACH("oom_score_adj of", opened(pid, "oom_score_adj", O_WRONLY));
  REACH("uid_map of", opened(pid, "uid_map", O_WRONLY));
  REACH("kill", kill(pid, SIGKILL));
  if (pid > 1)                                   /* -1 is everybody: see bombs.c */
    REACH("kill group of", kill(-pid, SIGKILL));
  REACH("tgkill", syscall(SYS_tgkill, pid, pid, SIGKILL));
  REACH("queue a signal to", syscall(SYS_rt_sigqueueinfo, pid, SIGKILL, &(siginfo_t){ .si_code = SI_QUEUE }));
  REACH("signal the pidfd of", syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0));
  REACH("pidfd_getfd of", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
  REACH("ptrace attach", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
  REACH("ptrace seize", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
  REACH("process_vm_readv", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0));
  REACH("process_vm_writev", syscall(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0));
  REACH("process_madvise", syscall(SYS_process_madvise, pidfd, &there, 1, 4, 0));
  REACH("process_mrelease", syscall(SYS_process_mrelease, pidfd, 0));
  REACH("kcmp", syscall(SYS_kcmp, pid, getpid(), KCMP_FILE, 0, 0));
  REACH("prlimit", syscall(SYS_prlimit64, pid, 7, &(unsigned long[2]){ 1, 1 }, NULL));
  REACH("priority of", syscall(SYS_setpriority, 0, pid, 19));
  REACH("affinity of", syscall(SYS_sched_setaffinity, pid, sizeof(long), &(long){ 1 }));
  REACH("session of", getsid(pid));
  REACH("processors of", syscall(SYS_sched_getaffinity, pid, sizeof(long), &(long){ 0 }));
  if (pidfd >= 0)
    close(pidfd);
}

/* Nobody debugs in here, not even a parent its child: it would have to be killed at worst, so it is one that waits. */
static void reach_a_child(void)
{
  char byte;
  struct iovec here = { &byte, 1 }, there = { &byte, 1 };
  pid_t pid = fork();
  int pidfd;

  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
      pause();
  }
  pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  TRY("ptrace attach own child", ptrace(PTRACE_ATTACH, pid, NULL, NULL));
  TRY("ptrace traceme", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
  TRY("process_vm_readv own child", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0));
  TRY("pidfd_getfd own child", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
  close(pidfd);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

/* Whom it sees who is neither the init nor one of its own. */
static void strangers(void)
{
  DIR *directory = opendir("/proc");
  int count = 0;

  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    int pid = atoi(entry->d_name);

    count += pid > 1 && pid != getpid() && pid != getppid();
  }
  if (directory)
    closedir(directory);
  say("strangers in /proc", directory ? "%d" : "?", count);
}

/* From whichever it is on, and all at once. */
static void move(void)
{
  unsigned long before[16] = {0}, asked[16] = {0}, after[16] = {0};
  long size = syscall(SYS_sched_getaffinity, 0, sizeof before, before);

  for (int processor = 0; processor < 2; processor++) {
    asked[0] = 1ul << processor;
    syscall(SYS_sched_setaffinity, 0, sizeof asked, asked);
    syscall(SYS_sched_getaffinity, 0, sizeof after, after);
    if (memcmp(before, after, sizeof before) != 0)
      break;
  }
  say("to other processors", "%s", size > 0 && memcmp(before, after, sizeof before) == 0 ? "as before" : "moved");
}

void try_processes(void)
{
  move();
  for (size_t index = 0; index < sizeof hosts / sizeof *hosts; index++)
    reach(hosts[index], given_number(hosts[index]));
  reach("the init", 1);
  reach_a_child();
  strangers();
}
