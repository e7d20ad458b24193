/* See process.h. */
#include "rewind/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { STATUS_BYTES = 8192, STAT_BYTES = 2048, PROCESSES_MAX = 64, DISPATCH_REQUEST = 0x4211 };

/* Lines of status that tell of memory (which is compared itself), of time spent, of us, and of masks that are put back last. */
static const char *const passing[] = {"State:", "Vm", "Rss", "Hugetlb", "Threads:", "FDSize:", "SigQ:", "SigBlk:", "voluntary_ctxt", "nonvoluntary_ctxt", "TracerPid:"};

/* Fields of stat (proc(5)): group, session, terminal, its process group, addresses of code, stack and arguments, exit signal. */
static const int fields[] = {5, 6, 7, 8, 26, 27, 28, 38, 45, 46, 47, 48, 49, 50, 51};

static const char *const links[] = {"exe", "cwd", "root"};
static const char *const files[] = {"auxv", "oom_score_adj", "coredump_filter", "autogroup", "timers", "net/dev", "loginuid", "sessionid", "attr/current", "cgroup"};

static bool is_passing(const char *line)
{
  for (size_t i = 0; i < FL_COUNT(passing); i++)
    if (strncmp(line, passing[i], strlen(passing[i])) == 0)
      return true;
  return false;
}

static int add_status(struct fl_facts *facts, pid_t pid, uint32_t index, pid_t tid, struct fl_error *err)
{
  char path[64], text[STATUS_BYTES], kept[STATUS_BYTES];
  size_t length = 0;

  snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
  int r = fl_file_read(AT_FDCWD, path, text, sizeof text);
  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_status", "thread %d", tid);
  for (const char *line = text, *next; *line; line = next) {
    size_t bytes = strcspn(line, "\n");

    next = line + bytes + (line[bytes] != 0);
    if (is_passing(line))
      continue;
    memcpy(kept + length, line, (size_t)(next - line));
    length += (size_t)(next - line);
  }
  fl_facts_add(facts, kept, length, "thread %u status", index);
  return 0;
}

static int add_thread(struct fl_facts *facts, const struct fl_tracee *tracee, uint32_t index, struct fl_error *err)
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
  return add_status(facts, tracee->pid, index, tid, err);
}

static int add_stat(struct fl_facts *facts, pid_t pid, struct fl_error *err)
{
  char path[64], text[STAT_BYTES], kept[STAT_BYTES] = "";
  size_t length = 0, wanted = 0;

  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int r = fl_file_read(AT_FDCWD, path, text, sizeof text);
  const char *at = r < 0 ? NULL : strrchr(text, ')');        /* the name before it may hold anything */
  if (!at)
    return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_stat", "process %d", pid);
  for (int field = 3; wanted < FL_COUNT(fields) && (at = strchr(at, ' ')); field++, at++)
    if (field == fields[wanted]) {
      size_t bytes = strcspn(at + 1, " \n") + 1;

      memcpy(kept + length, at, bytes);
      length += bytes;
      wanted++;
    }
  fl_facts_add(facts, kept, length, "group, session and addresses");
  return 0;
}

static int ascending(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

/* As they are numbered inside: the init, itself, and whatever else there is. */
static int add_processes(struct fl_facts *facts, pid_t init, struct fl_error *err)
{
  int inside[PROCESSES_MAX];
  size_t count = 0;
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/root/proc", init);
  fl_autoclosedir DIR *proc = opendir(path);
  if (!proc)
    return fl_fail_errno(err, "open_proc");
  for (const struct dirent *entry; count < PROCESSES_MAX && (entry = readdir(proc));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
      inside[count++] = atoi(entry->d_name);
  qsort(inside, count, sizeof inside[0], ascending);
  fl_facts_add(facts, inside, count * sizeof inside[0], "processes");
  return 0;
}

int fl_process_limits_get(pid_t pid, struct fl_process_limits *ret, struct fl_error *err)
{
  struct rlimit64 limit;

  memset(ret, 0, sizeof *ret);
  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    if (prlimit64(pid, resource, NULL, &limit) < 0)
      return fl_fail_errno(err, "prlimit");
    ret->limit[resource][0] = limit.rlim_cur;
    ret->limit[resource][1] = limit.rlim_max;
  }
  return 0;
}

void fl_process_limits_put(pid_t pid, const struct fl_process_limits *limits)
{
  struct rlimit64 now;

  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    const struct rlimit64 then = {limits->limit[resource][0], limits->limit[resource][1]};

    if (prlimit64(pid, resource, NULL, &now) == 0 && (now.rlim_cur != then.rlim_cur || now.rlim_max != then.rlim_max))
      prlimit64(pid, resource, &then, NULL);
  }
}

int fl_process_facts(const struct fl_tracee *tracee, pid_t init, struct fl_facts *facts, struct fl_error *err)
{
  struct fl_process_limits limits;
  int r = add_processes(facts, init, err);

  for (size_t i = 0; i < FL_COUNT(links); i++)
    fl_facts_add_link(facts, tracee->pid, links[i]);
  for (size_t i = 0; i < FL_COUNT(files); i++)
    fl_facts_add_file(facts, tracee->pid, files[i]);
  if (r == 0)
    r = add_stat(facts, tracee->pid, err);
  if (r == 0 && (r = fl_process_limits_get(tracee->pid, &limits, err)) == 0)
    fl_facts_add(facts, &limits, sizeof limits, "resource limits");
  for (uint32_t i = 0; i < tracee->threads && r == 0; i++)
    r = add_thread(facts, tracee, i, err);
  return r;
}
