/* See process.h. */
#include "rewind/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"

enum { STATUS_BYTES = 8192, DISPATCH_REQUEST = 0x4211 };

/* Lines of status that tell of memory (which is compared itself), of time spent, of us, of processors (threads.c), and of masks that are put back last. */
static const char *const passing[] = {"State:", "Cpus_allowed", "Vm", "Rss", "Hugetlb", "Threads:", "FDSize:", "SigQ:", "SigBlk:", "voluntary_ctxt", "nonvoluntary_ctxt", "TracerPid:"};

#define LOCKED "VmLck:"

/* Fields of stat (proc(5)): group, session, terminal, its process group, addresses of code, stack and arguments, exit signal. */
static const int fields[] = {5, 6, 7, 8, 26, 27, 28, 38, 45, 46, 47, 48, 49, 50, 51};

static const char *const links[] = {"exe", "cwd", "root"};

static bool is_passing(const char *line)
{
  for (size_t i = 0; i < FL_COUNT(passing); i++)
    if (strncmp(line, passing[i], strlen(passing[i])) == 0)
      return true;
  return false;
}

static int add_status(struct fl_facts *facts, const struct fl_proc *proc, uint32_t index, bool *ret_locked, struct fl_error *err)
{
  char text[STATUS_BYTES], kept[STATUS_BYTES];
  size_t length = 0;
  ssize_t r = fl_proc_read(proc->status[index], text, sizeof text);

  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-r, "read_status", "thread %u", index);
  for (const char *line = text, *next; *line; line = next) {
    size_t bytes = strcspn(line, "\n");

    next = line + bytes + (line[bytes] != 0);
    if (strncmp(line, LOCKED, sizeof LOCKED - 1) == 0)
      *ret_locked = strtoul(line + sizeof LOCKED - 1, NULL, 10) > 0;
    if (is_passing(line))
      continue;
    memcpy(kept + length, line, (size_t)(next - line));
    length += (size_t)(next - line);
  }
  fl_facts_add(facts, kept, length, "thread %u status", index);
  return 0;
}

static int add_registrations(struct fl_facts *facts, const struct fl_tracee *tracee, uint32_t index, struct fl_error *err)
{
  struct { uint64_t robust; size_t robust_bytes; struct __ptrace_rseq_configuration rseq; long dispatching; uint64_t dispatch[4]; } kept;
  pid_t tid = tracee->thread[index].tid;
  uint64_t robust = 0;

  memset(&kept, 0, sizeof kept);
  if (syscall(SYS_get_robust_list, tid, &robust, &kept.robust_bytes) < 0)
    return fl_fail_errno(err, "get_robust_list");
  kept.robust = robust;
  ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof kept.rseq, &kept.rseq);
  kept.dispatching = syscall(SYS_ptrace, DISPATCH_REQUEST, tid, sizeof kept.dispatch, kept.dispatch);
  fl_facts_add(facts, &kept, sizeof kept, "thread %u registrations", index);
  return 0;
}

int fl_process_registrations(const struct fl_tracee *tracee, struct fl_facts *facts, struct fl_error *err)
{
  int r = 0;

  for (uint32_t i = 0; i < tracee->threads && r == 0; i++)
    r = add_registrations(facts, tracee, i, err);
  return r;
}

static int add_stat(struct fl_facts *facts, const struct fl_proc *proc, struct fl_error *err)
{
  uint64_t number[FL_COUNT(fields)];
  int r = fl_proc_stat(proc, fields, FL_COUNT(fields), number);

  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_stat", "process %d", proc->pid);
  fl_facts_add(facts, number, sizeof number, "group, session and addresses");
  return 0;
}

int fl_process_limits_learn(const struct fl_proc *proc, struct fl_process_limits *ret, struct fl_error *err)
{
  struct rlimit64 limit;

  memset(ret, 0, sizeof *ret);
  ssize_t r = fl_proc_read(proc->file[FL_PROC_LIMITS], ret->told, sizeof ret->told);
  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-r, "read_limits", "process %d", proc->pid);
  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    if (prlimit64(proc->pid, resource, NULL, &limit) < 0)
      return fl_fail_errno(err, "prlimit");
    ret->limit[resource][0] = limit.rlim_cur;
    ret->limit[resource][1] = limit.rlim_max;
  }
  return 0;
}

/* All of them are told at once, which takes half as long as asking for each. */
int fl_process_limits_put(const struct fl_proc *proc, const struct fl_process_limits *then, struct fl_facts *facts, struct fl_error *err)
{
  char now[FL_PROCESS_LIMITS_BYTES];
  ssize_t told = fl_proc_read(proc->file[FL_PROC_LIMITS], now, sizeof now);

  if (told >= 0 && strcmp(now, then->told) != 0) {
    for (int resource = 0; resource < RLIM_NLIMITS; resource++)
      prlimit64(proc->pid, resource, &(const struct rlimit64){then->limit[resource][0], then->limit[resource][1]}, NULL);
    told = fl_proc_read(proc->file[FL_PROC_LIMITS], now, sizeof now);
  }
  if (told < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-told, "read_limits", "process %d", proc->pid);
  fl_facts_add(facts, now, (size_t)told, "resource limits");
  return 0;
}

/*
 * Any process may have the kernel take the marks from its mappings that say that they were written to (Documentation/admin-guide/mm/soft-dirty.rst), and see later which have one again. Every mapping is born with
 * its mark, and only a new one brings it back; this one is the kernel's own, which nobody can map.
 */
static int add_mark(struct fl_facts *facts, const struct fl_proc *proc, uint64_t kernels_own, struct fl_error *err)
{
  uint64_t page = 0;
  int r = kernels_own ? fl_pagemap_read(proc->file[FL_PROC_PAGEMAP], kernels_own, &page) : 0;

  page &= FL_PAGEMAP_SOFT_DIRTY;
  fl_facts_add(facts, &page, sizeof page, "marks of written pages");
  return r < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_pagemap", "process %d", proc->pid) : 0;
}

int fl_process_put(const struct fl_proc *proc, uint64_t kernels_own, struct fl_facts *facts, struct fl_error *err)
{
  for (int file = FL_PROC_OOM_SCORE; file <= FL_PROC_COREDUMP_FILTER; file++) {
    char number[FL_PROC_NUMBER];

    fl_proc_put(proc, file, number);
    fl_facts_add(facts, number, strlen(number), "%s", fl_proc_names[file]);
  }
  for (size_t i = 0; i < FL_COUNT(links); i++)
    fl_facts_add_link(facts, proc->directory, links[i]);
  for (int i = FL_PROC_FIRST_FACT; i < FL_PROC_FACTS; i++)
    fl_facts_add_file(facts, proc->file[i], fl_proc_names[i]);
  int r = add_mark(facts, proc, kernels_own, err);
  return r < 0 ? r : add_stat(facts, proc, err);
}

int fl_process_threads(const struct fl_proc *proc, uint32_t threads, struct fl_facts *facts, bool *ret_locked, struct fl_error *err)
{
  int r = 0;

  *ret_locked = false;
  for (uint32_t i = 0; i < threads && r == 0; i++)
    r = add_status(facts, proc, i, ret_locked, err);
  return r;
}
