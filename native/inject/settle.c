/* See settle.h. */
#include "inject/settle.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { MILLISECOND_US = 1000, STAT_BYTES = 512 };

/* The state is the letter behind the name, which may hold any character (proc_pid_stat(5)). */
static bool asleep(int tasks, const char *tid)
{
  char path[32], text[STAT_BYTES];

  snprintf(path, sizeof path, "%.16s/stat", tid);
  if (fl_file_read(tasks, path, text, sizeof text) < 0)
    return true;
  const char *name_end = strrchr(text, ')');
  return name_end && name_end[1] && name_end[2] == 'S';
}

bool fl_settled(pid_t pid, struct fl_settling *settling)
{
  char path[32];
  bool all = true, threads = false;

  snprintf(path, sizeof path, "/proc/%d/task", pid);
  fl_autoclosedir DIR *tasks = opendir(path);
  for (const struct dirent *entry; tasks && all && (entry = readdir(tasks));)
    if (entry->d_name[0] != '.' && atoi(entry->d_name) != pid) {
      threads = true;
      all = asleep(dirfd(tasks), entry->d_name);
    }
  settling->looks++;
  settling->asleep = all ? settling->asleep + 1 : 0;
  return !threads || settling->asleep == FL_SETTLE_LOOKS || settling->looks * FL_SETTLE_LOOK_MS >= FL_SETTLE_MS_MAX;
}

void fl_settle(pid_t pid)
{
  for (struct fl_settling settling = {0}; !fl_settled(pid, &settling);)
    usleep(FL_SETTLE_LOOK_MS * MILLISECOND_US);
}
