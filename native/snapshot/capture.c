/* See capture.h. */
#include "snapshot/capture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "inject/arch/x86_64/frame.h"
#include "inject/descriptors.h"
#include "inject/inspect.h"
#include "inject/pin.h"
#include "inject/settle.h"
#include "inject/tracee.h"
#include "parasite/image.h"
#include "snapshot/difference.h"
#include "snapshot/rest.h"

enum { PAGE_BYTES = 4096, CODE_CHECKED_BYTES = 16, SCRATCH_BYTES = 4096, STATUS_BYTES = 4096 };
enum { SEAL_FILTERS = 1 };

struct work {
  const struct fl_capture *capture;
  struct fl_tracee tracee;
  struct fl_parasite template;                 /* as it is in the template */
  struct fl_image image;
  uint64_t sigreturn_at, scratch;
  int32_t pid;
};

static int refuse(struct fl_error *err, const char *why)
{
  return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "the function %s", why);
}

static int read_status(pid_t pid, pid_t tid, char *ret_text, struct fl_error *err)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
  int r = fl_file_read(AT_FDCWD, path, ret_text, STATUS_BYTES);
  return r < 0 ? fl_fail(err, FL_ERR_SYSTEM, -r, "read_status", "thread %d", tid) : 0;
}

/* A number behind a name like "\nSigPnd:\t"; the last one of its line. 0 when there is no such line. */
static uint64_t status_number(const char *status, const char *name, int base)
{
  const char *line = strstr(status, name), *end = line ? strchr(line + 1, '\n') : NULL, *last = end;

  if (!end)
    return 0;
  while (last > line && last[-1] != '\t' && last[-1] != ' ')
    last--;
  return strtoull(last, NULL, base);
}

static int check_code_at(const struct work *work, uint64_t at, struct fl_error *err)
{
  struct fl_tracee template = {.pid = work->capture->template};
  uint8_t before[CODE_CHECKED_BYTES], now[CODE_CHECKED_BYTES];
  int r = fl_tracee_read(&template, at, before, sizeof before, err);

  if (r == 0)
    r = fl_tracee_read(&work->tracee, at, now, sizeof now, err);
  return r < 0 ? r : memcmp(before, now, sizeof now) == 0 ? 0 : refuse(err, "has changed the code of its runtime");
}

/* The code that remote calls and resuming forks go through must still be the libc's. */
static int check_code(const struct work *work, struct fl_error *err)
{
  int r = check_code_at(work, work->template.gadget, err);

  return r < 0 ? r : check_code_at(work, work->sigreturn_at, err);
}

/* Threads as the template has them: the main one first, the others by their ids inside the sandbox. */
static int arrange_threads(struct work *work, struct fl_error *err)
{
  struct fl_tracee *tracee = &work->tracee;
  char status[STATUS_BYTES];

  if (tracee->threads != work->template.threads)
    return refuse(err, "has started or ended threads");
  for (uint32_t i = 0; i < tracee->threads; i++) {
    struct fl_thread thread = tracee->thread[i];
    int r = read_status(tracee->pid, thread.tid, status, err);
    if (r < 0)
      return r;
    int32_t inside = (int32_t)status_number(status, "\nNSpid:", 10);
    if (status_number(status, "\nSigPnd:", 16) || status_number(status, "\nShdPnd:", 16))
      return refuse(err, "has signals pending");
    if (i == 0) {
      work->pid = inside;
      if (status_number(status, "\nUmask:", 8) != 022)
        return refuse(err, "has changed its umask");
      continue;
    }
    uint32_t place = 1;
    while (place < tracee->threads && work->template.thread[place].tid != inside)
      place++;
    if (place == tracee->threads)
      return refuse(err, "has started or ended threads");
    if (place == i)
      continue;
    tracee->thread[i--] = tracee->thread[place];
    tracee->thread[place] = thread;
  }
  return 0;
}

static int check_filters(const struct work *work, struct fl_error *err)
{
  char template[STATUS_BYTES], instance[STATUS_BYTES];
  int r = read_status(work->capture->template, work->capture->template, template, err);

  for (uint32_t i = 0; i < work->tracee.threads && r == 0; i++) {
    r = read_status(work->tracee.pid, work->tracee.thread[i].tid, instance, err);
    if (r == 0 && status_number(instance, "\nSeccomp_filters:", 10) != status_number(template, "\nSeccomp_filters:", 10) + SEAL_FILTERS)
      return refuse(err, "has a system-call filter of its own");
  }
  return r;
}

static int check_children(pid_t pid, pid_t tid, struct fl_error *err)
{
  char path[64], text[64] = "";

  snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, tid);
  int r = fl_file_read(AT_FDCWD, path, text, sizeof text);
  if (r < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "read_children", "thread %d", tid);
  return text[0] ? refuse(err, "has child processes") : 0;
}

static int check_directory(pid_t pid, const char *name, struct fl_error *err)
{
  char path[128];

  snprintf(path, sizeof path, "/proc/%d/root%s", pid, name);
  fl_autoclosedir DIR *directory = opendir(path);
  for (const struct dirent *entry; directory && (entry = readdir(directory));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      return refuse(err, "has written files");
  return directory ? 0 : fl_fail_errno(err, "opendir");
}

static int check_surroundings(const struct work *work, struct fl_error *err)
{
  static const char *const writable[] = {"/tmp", "/var/tmp", "/dev/shm", "/home/function"};
  char path[64], target[64] = "";
  int r = check_children(work->capture->init, work->capture->init, err);

  for (uint32_t i = 0; i < work->tracee.threads && r == 0; i++)
    r = check_children(work->tracee.pid, work->tracee.thread[i].tid, err);
  for (size_t i = 0; i < FL_COUNT(writable) && r == 0; i++)
    r = check_directory(work->tracee.pid, writable[i], err);
  snprintf(path, sizeof path, "/proc/%d/cwd", work->tracee.pid);
  if (r == 0 && (readlink(path, target, sizeof target - 1) < 0 || strcmp(target, "/function") != 0))
    return refuse(err, "has left its directory");
  return r;
}

static int64_t call(struct work *work, uint32_t thread, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, struct fl_error *err)
{
  int64_t result = fl_tracee_call(&work->tracee, thread, nr, (const uint64_t[6]){a, b, c, d}, err);

  if (result < 0 && result >= -PAGE_BYTES && err->code == FL_OK)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-result, "freeze", "system call %ld in the function", nr);
  return result;
}

static int describe_thread(struct work *work, uint32_t index, struct fl_error *err)
{
  const struct fl_parasite_thread *before = &work->template.thread[index];
  pid_t tid = work->tracee.thread[index].tid;
  struct __ptrace_rseq_configuration rseq = {0};
  uint64_t tid_address = 0, robust_list = 0;
  size_t robust_bytes = 0;
  stack_t altstack;
  int64_t r = call(work, index, SYS_sigaltstack, 0, work->scratch, 0, 0, err);

  if (r < 0 || (r = fl_tracee_read(&work->tracee, work->scratch, &altstack, sizeof altstack, err)) < 0)
    return (int)r;
  r = call(work, index, SYS_prctl, PR_GET_TID_ADDRESS, work->scratch, 0, 0, err);
  if (r < 0 || (r = fl_tracee_read(&work->tracee, work->scratch, &tid_address, sizeof tid_address, err)) < 0)
    return (int)r;
  if (syscall(SYS_get_robust_list, tid, &robust_list, &robust_bytes) < 0)
    return fl_fail_errno(err, "get_robust_list");
  ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof rseq, &rseq);
  if (tid_address != before->tid_address || robust_list != before->robust_list || rseq.rseq_abi_pointer != before->rseq || work->tracee.thread[index].regs.fs_base != before->tls)
    return refuse(err, "has changed what belongs to its threads");
  return fl_arch_write_frame(&work->tracee, index, work->sigreturn_at, &altstack, &work->image.self.thread[index].frame, err);
}

static int describe_signals(struct work *work, struct fl_error *err)
{
  for (int signal = 1; signal <= FL_IMAGE_SIGNALS; signal++) {
    int64_t r = call(work, 0, SYS_rt_sigaction, (uint64_t)signal, 0, work->scratch, sizeof(uint64_t), err);

    if (r < 0 || (r = fl_tracee_read(&work->tracee, work->scratch, &work->image.action[signal - 1], sizeof work->image.action[0], err)) < 0)
      return (int)r;
  }
  return 0;
}

static int check_timers(struct work *work, struct fl_error *err)
{
  struct fl_timers timers = {0};
  struct itimerval left;
  int r = fl_inspect_timers(work->tracee.pid, &timers, err);

  if (r < 0)
    return r;
  if (timers.count != work->template.timers.count || memcmp(timers.timer, work->template.timers.timer, timers.count * sizeof timers.timer[0]) != 0)
    return refuse(err, "has made timers");
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
    int64_t got = call(work, 0, SYS_getitimer, (uint64_t)which, work->scratch, 0, 0, err);

    if (got < 0 || (got = fl_tracee_read(&work->tracee, work->scratch, &left, sizeof left, err)) < 0)
      return (int)got;
    if (left.it_value.tv_sec || left.it_value.tv_usec)
      return refuse(err, "has set an alarm");
  }
  return 0;
}

/* Numbers behind the last that the function has, for what its template needs itself. */
static int describe_descriptors(struct work *work, struct fl_error *err)
{
  struct fl_descriptors *to = &work->image.self.descriptors;
  int32_t last = FL_DATA_FD;

  *to = (struct fl_descriptors){0};
  int r = fl_descriptors_describe(work->tracee.pid, to, err);
  for (uint32_t i = 0; i < to->count && r == 0; i++) {
    last = to->carried[i].number > last ? to->carried[i].number : last;
    if (to->carried[i].kind == FL_CARRIED_PIPE && to->carried[i].write_end.number > last)
      last = to->carried[i].write_end.number;
  }
  work->image.self.socket = last + 1;
  work->image.self.bell = last + 2;
  if (r == 0)
    fl_descriptors_enclose(to, last + 1, last + 2);
  return r;
}

static int describe(struct work *work, struct fl_error *err)
{
  int r = check_code(work, err);

  work->tracee.call_at = work->template.gadget;
  work->scratch = (work->tracee.thread[0].regs.rsp - 2 * SCRATCH_BYTES) & ~63ull;
  if (r == 0)
    r = check_filters(work, err);
  if (r == 0)
    r = check_surroundings(work, err);
  if (r == 0)
    r = check_timers(work, err);
  if (r == 0)
    r = describe_signals(work, err);
  int64_t brk = r == 0 ? call(work, 0, SYS_brk, 0, 0, 0, 0, err) : r;
  if (brk < 0)
    return (int)brk;
  work->image.brk = (uint64_t)brk;
  r = describe_descriptors(work, err);
  for (uint32_t i = 0; i < work->tracee.threads && r == 0; i++)
    r = describe_thread(work, i, err);
  return r < 0 ? r : check_code(work, err);    /* once more: frames and scratch lie where the function's stack pointers say */
}

static bool put(int fd, const void *bytes, size_t size, uint64_t offset)
{
  return size == 0 || pwrite(fd, bytes, size, (off_t)offset) == (ssize_t)size;
}

static int write_table(struct work *work, const struct fl_difference *difference, int image_fd, struct fl_error *err)
{
  size_t ops_bytes = difference->ops * sizeof difference->op[0], paths_at = sizeof work->image + ops_bytes;

  work->image.ops = difference->ops;
  work->image.paths_at = (uint32_t)paths_at;
  work->image.home = difference->home;
  work->image.table_bytes = (paths_at + difference->paths_bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
  if (work->image.table_bytes > FL_IMAGE_TABLE_BYTES_MAX)
    return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "freeze", "the table has %lu bytes", work->image.table_bytes);
  if (!put(image_fd, (const uint8_t *)work + offsetof(struct work, image), sizeof work->image, 0) || !put(image_fd, difference->op, ops_bytes, sizeof work->image) ||
      !put(image_fd, difference->paths, difference->paths_bytes, paths_at) ||
      ftruncate(image_fd, FL_IMAGE_TABLE_BYTES_MAX + (off_t)difference->pages * PAGE_BYTES) < 0)
    return fl_fail_errno(err, "write_image");
  return 0;
}

int fl_capture(const struct fl_capture *capture, int image_fd, struct fl_captured *ret, struct fl_error *err)
{
  fl_autofree struct work *work = calloc(1, sizeof *work);
  fl_autofree struct fl_difference *difference = calloc(1, sizeof *difference);

  if (!work || !difference)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "capture");
  work->capture = capture;
  int r = fl_rest_template(work->capture->template, work->capture->infection->parasite_at, &work->template, &work->sigreturn_at, err);
  if (r < 0)
    return r;
  fl_settle(work->capture->instance);
  if ((r = fl_rest_stop(work->capture->instance, &work->template, work->sigreturn_at, &work->tracee, err)) < 0)
    return r;
  work->image.self = work->template;
  if (capture->hot)
    fl_pin_touches(capture->hot, FL_PINNED_NOTHING, NULL, &work->image.self.touches);
  r = arrange_threads(work, err);
  if (r == 0)
    r = describe(work, err);
  if (r == 0)
    r = fl_difference_find(capture->template, capture->instance, work->template.region, work->template.region_bytes, image_fd, difference, err);
  if (r == 0)
    r = write_table(work, difference, image_fd, err);
  fl_difference_free(difference);
  *ret = (struct fl_captured){work->image.home, work->image.table_bytes, (uint64_t)difference->pages * PAGE_BYTES, work->pid};
  return r;
}
