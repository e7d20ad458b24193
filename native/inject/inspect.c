/* See inspect.h. Formats: Documentation/filesystems/proc.rst. */
#include "inject/inspect.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "inject/arch/x86_64/frame.h"

enum { CODE_BYTES_MAX = 64 << 20 };

struct mapping { uint64_t start, end; char rights[5], path[PATH_MAX]; };

static FILE *open_proc(pid_t pid, const char *name)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  return fopen(path, "re");
}

static bool parse_mapping(const char *line, struct mapping *ret)
{
  ret->path[0] = 0;
  return sscanf(line, "%lx-%lx %4s %*s %*s %*s %4095[^\n]", &ret->start, &ret->end, ret->rights, ret->path) >= 3;
}

int fl_inspect_timers(pid_t pid, struct fl_timers *ret, struct fl_error *err)
{
  fl_autofclose FILE *timers = open_proc(pid, "timers");       /* without CONFIG_CHECKPOINT_RESTORE there is no such file */
  struct fl_timer timer;
  char notify[16], whom[8];

  while (timers && fscanf(timers, " ID: %d signal: %d/%lx notify: %15[a-z]/%7[a-z].%*d ClockID: %d", &timer.id, &timer.signal, &timer.value, notify, whom, &timer.clock) == 6) {
    if (strcmp(whom, "pid") != 0 || (strcmp(notify, "signal") != 0 && strcmp(notify, "none") != 0))
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "POSIX timer %d of the template notifies a thread", timer.id);
    if (ret->count == FL_TIMERS_MAX)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "more than %d POSIX timers", FL_TIMERS_MAX);
    timer.notify = strcmp(notify, "none") == 0 ? SIGEV_NONE : SIGEV_SIGNAL;
    ret->timer[ret->count++] = timer;
  }
  return timers && !feof(timers) ? fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "a POSIX timer of a kind unknown here") : 0;
}

int fl_inspect_memory(pid_t pid, struct fl_error *err)
{
  fl_autofclose FILE *maps = open_proc(pid, "maps");
  char line[PATH_MAX + 128];
  struct mapping mapping;

  if (!maps)
    return fl_fail_errno(err, "open_maps");
  while (fgets(line, sizeof line, maps))
    if (parse_mapping(line, &mapping) && mapping.rights[1] == 'w' && mapping.rights[3] == 's')
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "shared writable memory at %#lx (%.60s) would join every fork", mapping.start, mapping.path);
  return 0;
}

struct fl_growth fl_inspect_growth(pid_t pid, uint64_t but_from, uint64_t but_bytes)
{
  fl_autofclose FILE *maps = open_proc(pid, "maps");
  struct fl_growth found = {0};
  char line[PATH_MAX + 128];
  struct mapping mapping;
  uint64_t below = 0;
  bool heap = false;

  while (maps && fgets(line, sizeof line, maps)) {
    if (!parse_mapping(line, &mapping) || mapping.start - but_from < but_bytes)
      continue;
    if (below < mapping.start && mapping.start < FL_ADDRESSES_END && (heap || (below && mapping.start - below > found.end - found.start)))
      found = (struct fl_growth){below, mapping.start};
    if (heap && found.start == below)
      break;
    below = mapping.end;
    heap = strcmp(mapping.path, "[heap]") == 0;
  }
  return found;
}

int fl_inspect_gadgets(const struct fl_tracee *tracee, uint64_t *ret_call, uint64_t *ret_sigreturn, struct fl_error *err)
{
  fl_autofclose FILE *maps = open_proc(tracee->pid, "maps");
  char line[PATH_MAX + 128];
  struct mapping mapping;

  *ret_call = *ret_sigreturn = 0;
  if (!maps)
    return fl_fail_errno(err, "open_maps");
  while ((!*ret_call || !*ret_sigreturn) && fgets(line, sizeof line, maps)) {
    if (!parse_mapping(line, &mapping) || mapping.rights[2] != 'x' || mapping.path[0] != '/' || mapping.end - mapping.start > CODE_BYTES_MAX)
      continue;
    uint64_t size = mapping.end - mapping.start;
    fl_autofree uint8_t *code = malloc(size);
    if (!code)
      return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "%lu bytes of code", size);
    int r = fl_tracee_read(tracee, mapping.start, code, size, err);
    if (r < 0)
      return r;
    struct fl_gadgets found = fl_arch_find_gadgets(code, size);
    if (!*ret_call && found.call >= 0)
      *ret_call = mapping.start + (uint64_t)found.call;
    if (!*ret_sigreturn && found.sigreturn >= 0)
      *ret_sigreturn = mapping.start + (uint64_t)found.sigreturn;
  }
  if (!*ret_call || !*ret_sigreturn)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENOENT, "freeze", "no %s in the runtime's code", *ret_call ? "rt_sigreturn" : "system call that returns");
  return 0;
}

static bool has_flag(const char *flags, const char *flag)
{
  for (const char *at = flags; (at = strstr(at, flag)); at++)
    if (at[-1] == ' ' && (at[2] == ' ' || at[2] == '\n'))
      return true;
  return false;
}

int fl_inspect_dontfork(pid_t pid, fl_inspect_visit visit, void *context, struct fl_error *err)
{
  fl_autofclose FILE *smaps = open_proc(pid, "smaps");
  char line[PATH_MAX + 128];
  struct mapping mapping = {0}, next;

  if (!smaps)
    return fl_fail_errno(err, "open_smaps");
  while (fgets(line, sizeof line, smaps)) {
    if (strncmp(line, "VmFlags:", 8) != 0) {
      if (line[0] >= 'a' && line[0] <= 'f' ? strchr(line, '-') != NULL : line[0] >= '0' && line[0] <= '9')
        if (parse_mapping(line, &next))
          mapping = next;
      continue;
    }
    if (!has_flag(line, "dc") || has_flag(line, "io") || has_flag(line, "pf"))
      continue;
    int r = visit(context, mapping.start, mapping.end - mapping.start, err);
    if (r < 0)
      return r;
  }
  return 0;
}
