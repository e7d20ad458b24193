/* See tracee.h. */
#include "inject/tracee.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "inject/arch/x86_64/frame.h"

enum { STOP_ROUNDS_MAX = 16, LINKS_BESIDE_THREADS = 2 };

int fl_tracee_wait(pid_t tid, struct fl_error *err)
{
  int status;

  for (;;) {
    if (waitpid(tid, &status, __WALL) < 0) {
      if (errno == EINTR)
        continue;
      return fl_fail_errno(err, "waitpid");
    }
    if (WIFSTOPPED(status))
      return status >> 8;
    return fl_fail(err, FL_ERR_TEMPLATE, ESRCH, "waitpid", "thread %d ended (status %#x) while it was stopped", tid, status);
  }
}

static bool known(const struct fl_tracee *tracee, pid_t tid)
{
  for (uint32_t i = 0; i < tracee->threads; i++)
    if (tracee->thread[i].tid == tid)
      return true;
  return false;
}

/* It has been told to stop; settle() waits for it. */
static int seize(struct fl_tracee *tracee, pid_t tid, struct fl_error *err)
{
  if (tracee->threads == FL_PARASITE_THREADS_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "freeze", "more than %d threads", FL_PARASITE_THREADS_MAX);
  if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD | (tracee->dies ? PTRACE_O_EXITKILL : 0)) < 0)
    return errno == ESRCH ? 0 : fl_fail_errno(err, "ptrace_seize");
  tracee->thread[tracee->threads++] = (struct fl_thread){.tid = tid};
  return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ? fl_fail_errno(err, "ptrace_interrupt") : 0;
}

static int settle(struct fl_tracee *tracee, uint32_t from, struct fl_error *err)
{
  for (uint32_t i = from; i < tracee->threads; i++) {
    struct fl_thread *thread = &tracee->thread[i];
    int r = fl_tracee_wait(thread->tid, err);

    if (r < 0)
      return r;
    if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &thread->regs) < 0)
      return fl_fail_errno(err, "ptrace_getregs");
  }
  return 0;
}

/* One pass over /proc/PID/task; returns how many threads were new. */
static int seize_round(struct fl_tracee *tracee, struct fl_error *err)
{
  char path[64];
  const uint32_t before = tracee->threads;

  snprintf(path, sizeof path, "/proc/%d/task", tracee->pid);
  fl_autoclosedir DIR *tasks = opendir(path);
  if (!tasks)
    return fl_fail_errno(err, "opendir_task");
  for (const struct dirent *entry; (entry = readdir(tasks));) {
    pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

    if (tid <= 0 || known(tracee, tid))
      continue;
    int r = seize(tracee, tid, err);
    if (r < 0)
      return r;
  }
  int r = settle(tracee, before, err);
  return r < 0 ? r : (int)(tracee->threads - before);
}

/* A directory has a link for each directory in it, and two more. */
uint32_t fl_tracee_count(int tasks)
{
  struct stat status;

  return fstat(tasks, &status) < 0 || status.st_nlink < LINKS_BESIDE_THREADS ? 0 : (uint32_t)status.st_nlink - LINKS_BESIDE_THREADS;
}

/* Whoever is stopped makes no threads: when there are no others, these are all. */
static bool has_all(const struct fl_tracee *tracee)
{
  return tracee->tasks && fl_tracee_count(tracee->tasks) == tracee->threads;
}

int fl_tracee_stop(pid_t pid, struct fl_tracee *tracee, struct fl_error *err)
{
  tracee->pid = pid;                           /* one by one: there is room for many threads, and few are */
  tracee->call_at = 0;
  tracee->memory = tracee->tasks = 0;
  tracee->dies = false;
  return fl_tracee_stop_again(tracee, err);
}

int fl_tracee_stop_again(struct fl_tracee *tracee, struct fl_error *err)
{
  tracee->threads = 0;
  int r = seize(tracee, tracee->pid, err);       /* the main thread first: it is thread[0] */
  if (r == 0)
    r = settle(tracee, 0, err);
  for (int round = 0; r >= 0; round++) {
    r = has_all(tracee) ? 0 : seize_round(tracee, err);
    if (r == 0)
      return 0;
    if (round == STOP_ROUNDS_MAX)
      r = fl_fail(err, FL_ERR_TEMPLATE, EAGAIN, "freeze", "threads keep appearing");
  }
  fl_tracee_release(tracee);
  return r;
}

/* A wait that the stop has cut short is made again from its start. Else the kernel would go on with it by a call of its own (restart_syscall), and what it waits for could not be told at the next stop. */
static void go_on(pid_t tid)
{
  struct user_regs_struct regs;

  if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) == 0 && fl_arch_is_kept(&regs)) {
    fl_arch_rewind_call(&regs);
    ptrace(PTRACE_SETREGS, tid, NULL, &regs);
  }
  ptrace(PTRACE_DETACH, tid, NULL, NULL);
}

void fl_tracee_release(struct fl_tracee *tracee)
{
  for (uint32_t i = 0; i < tracee->threads; i++)
    go_on(tracee->thread[i].tid);
  tracee->threads = 0;
}

void fl_tracee_let_go(struct fl_tracee *tracee)
{
  for (uint32_t i = 0; i < tracee->threads; i++)
    ptrace(PTRACE_DETACH, tracee->thread[i].tid, NULL, NULL);
  tracee->threads = 0;
}

int fl_tracee_disarm(const struct fl_tracee *tracee, struct fl_error *err)
{
  static const struct { uint64_t section; uint32_t flags; } nowhere = {0};
  enum { BYTES = sizeof nowhere.section + sizeof nowhere.flags };
  struct iovec from[FL_PARASITE_THREADS_MAX], to[FL_PARASITE_THREADS_MAX];
  uint32_t registered = 0;

  _Static_assert(offsetof(struct rseq, flags) == offsetof(struct rseq, rseq_cs) + sizeof nowhere.section, "one behind the other");
  for (uint32_t i = 0; i < tracee->threads; i++) {
    struct __ptrace_rseq_configuration rseq = {0};

    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tracee->thread[i].tid, (void *)sizeof rseq, &rseq) <= 0 || !rseq.rseq_abi_pointer)
      continue;
    from[registered] = (struct iovec){(void *)&nowhere, BYTES};
    to[registered++] = (struct iovec){(void *)(rseq.rseq_abi_pointer + offsetof(struct rseq, rseq_cs)), BYTES};
  }
  if (registered && process_vm_writev(tracee->pid, from, registered, to, registered, 0) != (ssize_t)registered * BYTES)
    return fl_fail(err, FL_ERR_UNSUPPORTED, errno, "disarm", "a thread's restartable sequences are registered where nothing can be written");
  return 0;
}

int64_t fl_tracee_call(struct fl_tracee *tracee, uint32_t thread, long nr, const uint64_t args[6], struct fl_error *err)
{
  pid_t tid = tracee->thread[thread].tid;
  struct user_regs_struct regs = tracee->thread[thread].regs;

  fl_arch_set_call(&regs, tracee->call_at, nr, args);
  if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 || ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL) < 0)
    return fl_fail_errno(err, "remote_call");
  int stop = fl_tracee_wait(tid, err);
  if (stop < 0)
    return stop;
  if ((stop & 0xff) != SIGTRAP)
    return fl_fail(err, FL_ERR_TEMPLATE, EINTR, "remote_call", "stopped by signal %d during call %ld", stop & 0xff, nr);
  if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
    return fl_fail_errno(err, "ptrace_getregs");
  return fl_arch_result(&regs);
}

int fl_tracee_restore(struct fl_tracee *tracee, struct fl_error *err)
{
  struct user_regs_struct regs = tracee->thread[0].regs;

  fl_arch_rewind_call(&regs);
  return ptrace(PTRACE_SETREGS, tracee->thread[0].tid, NULL, &regs) < 0 ? fl_fail_errno(err, "ptrace_setregs") : 0;
}

int fl_tracee_end_thread(struct fl_tracee *tracee, uint32_t thread, struct fl_error *err)
{
  pid_t tid = tracee->thread[thread].tid;
  struct user_regs_struct regs = tracee->thread[thread].regs;

  fl_arch_set_call(&regs, tracee->call_at, SYS_exit, (const uint64_t[6]){0});
  if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 || ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0)
    return fl_fail_errno(err, "end_thread");
  tracee->thread[thread].tid = 0;
  return 0;
}

static int transfer(const struct fl_tracee *tracee, uint64_t address, void *bytes, size_t size, int flags, struct fl_error *err)
{
  char path[64];
  fl_autoclose int opened = -1;

  snprintf(path, sizeof path, "/proc/%d/mem", tracee->pid);
  if (!tracee->memory && (opened = open(path, flags | O_CLOEXEC)) < 0)
    return fl_fail_errno(err, "open_mem");
  int mem = tracee->memory ? tracee->memory : opened;
  ssize_t done = flags == O_RDONLY ? pread(mem, bytes, size, (off_t)address) : pwrite(mem, bytes, size, (off_t)address);
  if (done != (ssize_t)size)
    return fl_fail(err, FL_ERR_SYSTEM, done < 0 ? errno : EFAULT, flags == O_RDONLY ? "read_mem" : "write_mem", "%zu bytes at %#lx", size, address);
  return 0;
}

int fl_tracee_read(const struct fl_tracee *tracee, uint64_t address, void *bytes, size_t size, struct fl_error *err)
{
  return transfer(tracee, address, bytes, size, O_RDONLY, err);
}

int fl_tracee_write(const struct fl_tracee *tracee, uint64_t address, const void *bytes, size_t size, struct fl_error *err)
{
  return transfer(tracee, address, (void *)bytes, size, O_WRONLY, err);
}
