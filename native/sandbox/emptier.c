/* See emptier.h. */
#include "sandbox/emptier.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/directory.h"
#include "base/file.h"
#include "sys/syscalls.h"

enum { SCRATCH = 3 };

struct emptying {
  uint32_t removed, moved;
  struct timespec until;
};

bool fl_emptier_needed(int scratch_fd)
{
  struct statfs files;

  return scratch_fd >= 0 && fstatfs(scratch_fd, &files) == 0 && files.f_files - files.f_ffree >= FL_EMPTIER_FILES_MIN;
}

/* False when there is no time left. */
static bool pace(struct emptying *emptying)
{
  struct timespec now;

  if (++emptying->removed % FL_EMPTIER_BATCH != 0)
    return true;
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
    usleep(FL_EMPTIER_PAUSE_US);
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec < emptying->until.tv_sec || (now.tv_sec == emptying->until.tv_sec && now.tv_nsec < emptying->until.tv_nsec);
}

/* To the place, under a name that is free there: so no tree is ever deeper than what one descriptor reaches. Moving a directory needs the right to write to it. */
static bool move_up(struct emptying *emptying, int directory, const char *entry, int place)
{
  int result = fchmodat(directory, entry, 0700, 0);
  char name[16];

  if (result < 0)
    return false;
  do {
    snprintf(name, sizeof name, "%u", emptying->moved++);
    result = renameat2(directory, entry, place, name, RENAME_NOREPLACE);
  } while (result < 0 && errno == EEXIST);
  return result == 0;
}

/* The directory in the place, with what is in it but directories. */
static bool remove_directory(struct emptying *emptying, int place, const char *name)
{
  fl_autoclose int directory = fl_directory_open_any(place, name);
  fl_autoclosedir DIR *entries = directory < 0 ? NULL : fdopendir(dup(directory));

  if (!entries || fchmod(directory, 0700) < 0)
    return false;
  for (const struct dirent *entry; (entry = readdir(entries));) {
    if (!fl_directory_is_entry(entry))
      continue;
    if (unlinkat(directory, entry->d_name, 0) == 0 ? !pace(emptying) : errno != EISDIR || !move_up(emptying, directory, entry->d_name, place))
      return false;
  }
  return unlinkat(place, name, AT_REMOVEDIR) == 0 && pace(emptying);
}

/* What was moved up meanwhile may be seen in the same pass, or in the next one. */
static bool empty_place(struct emptying *emptying, int place)
{
  fl_autoclosedir DIR *entries = fdopendir(dup(place));
  bool any = entries != NULL;

  while (any) {
    any = false;
    rewinddir(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) {
      if (!fl_directory_is_entry(entry))
        continue;
      any = true;
      if (unlinkat(place, entry->d_name, 0) == 0 ? !pace(emptying) : errno != EISDIR || !remove_directory(emptying, place, entry->d_name))
        return false;
    }
  }
  return entries != NULL;
}

/* The directories of the layer's root are flashd's own: they stay. */
static void empty(int scratch)
{
  struct emptying emptying = { 0 };
  fl_autoclose int root = fl_directory_open(scratch, ".");
  fl_autoclosedir DIR *places = root < 0 ? NULL : fdopendir(dup(root));

  clock_gettime(CLOCK_MONOTONIC, &emptying.until);
  emptying.until.tv_sec += FL_EMPTIER_MAX_MS / 1000;
  for (const struct dirent *entry; places && (entry = readdir(places));) {
    fl_autoclose int place = fl_directory_is_entry(entry) ? fl_directory_open(root, entry->d_name) : -1;

    if (place >= 0 && !empty_place(&emptying, place))
      return;
  }
}

static int become(uid_t owner)
{
  if (setgroups(0, NULL) < 0 || setresgid(owner, owner, owner) < 0 || setresuid(owner, owner, owner) < 0)
    return -errno;
  return fl_capabilities_drop();
}

__attribute__((noreturn)) static void run(int scratch_fd, const struct fl_cgroup *cgroup, uid_t owner, pid_t parent)
{
  prctl(PR_SET_NAME, "flashd-emptier", 0, 0, 0);
  fl_signals_reset();
  /* In a memory shortage of the function's, the first one to go. */
  fl_file_write(AT_FDCWD, "/proc/self/oom_score_adj", "1000");
  for (uint32_t index = 0; index < cgroup->joins; index++)
    if (write(cgroup->join_fds[index], "0", 1) != 1)
      _exit(1);
  if (dup2(scratch_fd, SCRATCH) < 0 || fl_close_from(SCRATCH + 1) < 0 || become(owner) < 0 || fl_set_no_new_privs() < 0 || fl_die_with_parent(parent) < 0)
    _exit(1);
  empty(SCRATCH);
  _exit(0);
}

int fl_emptier_start(int scratch_fd, const struct fl_cgroup *cgroup, uid_t owner, struct fl_error *err)
{
  struct clone_args args = { .exit_signal = SIGCHLD };
  pid_t parent = getpid();
  int pid;

  if (cgroup->into_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup->into_fd;
  }
  pid = fl_clone3(&args);
  if (pid == 0)
    run(scratch_fd, cgroup, owner, parent);
  return pid < 0 ? fl_fail(err, FL_ERR_SYSTEM, -pid, "clone3", "emptier") : 0;
}
