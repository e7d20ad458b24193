/* See scratch.h. */
#include "rewind/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/directory.h"

enum { ATTRIBUTES_BYTES = 4096 };

static const char *const places[FL_SCRATCH_PLACES] = {"tmp", "var-tmp", "shm", "home"};      /* sandbox/base.c makes them */

static void become(uid_t user, gid_t group)
{
  setfsuid(user);
  setfsgid(group);
}

static int empty(int directory, int depth)
{
  fl_autoclosedir DIR *entries = fdopendir(dup(directory));
  int r = 0;

  if (!entries || depth == FL_SCRATCH_DEPTH_MAX)
    return -ELOOP;
  fchmod(directory, 0700);                     /* of a place that is not its own this fails, and is not needed */
  for (const struct dirent *entry; r == 0 && (entry = readdir(entries));) {
    if (!fl_directory_is_entry(entry) || unlinkat(directory, entry->d_name, 0) == 0)
      continue;
    fl_autoclose int below = fl_directory_open_any(directory, entry->d_name);
    r = below < 0 ? -errno : empty(below, depth + 1);
    if (r == 0 && unlinkat(directory, entry->d_name, AT_REMOVEDIR) < 0)
      r = -errno;
  }
  return r;
}

/* The function's own id: the home belongs to it. */
static uid_t function_of(const struct fl_scratch *scratch)
{
  return scratch->place[FL_SCRATCH_PLACES - 1].stx_uid;
}

static int look_at(int place, struct statx *ret)
{
  return statx(place, "", AT_EMPTY_PATH, STATX_BASIC_STATS, ret);
}

int fl_scratch_learn(int root, struct fl_scratch *ret, struct fl_error *err)
{
  for (int i = 0; i < FL_SCRATCH_PLACES; i++)
    if ((ret->fd[i] = fl_directory_open(root, places[i])) < 0 || look_at(ret->fd[i], &ret->place[i]) < 0)
      return fl_fail_errno(err, "stat_scratch");
  return 0;
}

static bool is_time(const struct statx_timestamp *one, const struct statx_timestamp *other)
{
  return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/*
 * A directory in which nothing was made, removed or changed has the time of change that it was left with. Within one tick of the clock a change would not show in that alone: but then it shows in
 * the other times, the rights, the size (which is that of an empty directory) or the attributes, all of which are among the facts.
 */
static bool is_untouched(const struct fl_scratch *scratch, int index)
{
  const struct statx *now = &scratch->now[index], *then = &scratch->place[index];

  return is_time(&now->stx_ctime, &scratch->changed[index]) && now->stx_size == then->stx_size && now->stx_mode == then->stx_mode && is_time(&now->stx_mtime, &then->stx_mtime) &&
         is_time(&now->stx_atime, &then->stx_atime);
}

/* What cannot be removed shows in the facts. */
static void remove_attributes(int place)
{
  char names[ATTRIBUTES_BYTES];
  ssize_t length = flistxattr(place, names, sizeof names);

  for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1)
    fremovexattr(place, names + at);
}

static int put_place(int root, struct fl_scratch *scratch, int index)
{
  const struct statx *then = &scratch->place[index];
  const struct timespec times[2] = {{then->stx_atime.tv_sec, then->stx_atime.tv_nsec}, {then->stx_mtime.tv_sec, then->stx_mtime.tv_nsec}};
  int r = 0;

  become(function_of(scratch), function_of(scratch));
  fl_autoclose int place = fl_directory_open_any(root, places[index]);
  if (place < 0)
    return -errno;
  r = empty(place, 0);
  remove_attributes(place);
  become(then->stx_uid, then->stx_gid);
  if (r == 0 && (fchmod(place, then->stx_mode & 07777) < 0 || futimens(place, times) < 0 || look_at(scratch->fd[index], &scratch->now[index]) < 0))
    return -errno;
  scratch->changed[index] = scratch->now[index].stx_ctime;
  return r;
}

int fl_scratch_put(int root, struct fl_scratch *scratch, struct fl_error *err)
{
  for (int i = 0; i < FL_SCRATCH_PLACES; i++) {
    int r = look_at(scratch->fd[i], &scratch->now[i]) < 0 ? -errno : 0;

    if (r == 0 && is_untouched(scratch, i))
      continue;
    if (r == 0)
      r = put_place(root, scratch, i);
    become(geteuid(), getegid());
    if (r < 0)
      return fl_fail(err, FL_ERR_UNSUPPORTED, -r, "rewind", "%s cannot be emptied", places[i]);
  }
  return 0;
}

static void add_place(const struct fl_scratch *scratch, int index, struct fl_facts *facts)
{
  const struct statx *now = &scratch->now[index];
  struct { uint64_t mode, attributes, bytes; uint32_t uid, gid, links, padding; int64_t modified[2], accessed[2]; ssize_t named; char names[ATTRIBUTES_BYTES]; } kept;

  memset(&kept, 0, sizeof kept - sizeof kept.names);
  kept.mode = now->stx_mode;
  kept.attributes = now->stx_attributes;
  kept.bytes = now->stx_size;                   /* tmpfs: grows with each entry */
  kept.uid = now->stx_uid;
  kept.gid = now->stx_gid;
  kept.links = now->stx_nlink;
  kept.modified[0] = now->stx_mtime.tv_sec;
  kept.modified[1] = now->stx_mtime.tv_nsec;
  kept.accessed[0] = now->stx_atime.tv_sec;
  kept.accessed[1] = now->stx_atime.tv_nsec;
  kept.named = flistxattr(scratch->fd[index], kept.names, sizeof kept.names);
  fl_facts_add(facts, &kept, sizeof kept - sizeof kept.names + (kept.named > 0 ? (size_t)kept.named : 0), "files in %s", places[index]);
}

int fl_scratch_facts(const struct fl_scratch *scratch, struct fl_facts *facts, struct fl_error *err)
{
  struct statfs usage;
  uint64_t used[2];

  for (int i = 0; i < FL_SCRATCH_PLACES; i++)
    add_place(scratch, i, facts);
  if (fstatfs(scratch->fd[0], &usage) < 0)
    return fl_fail_errno(err, "statfs");
  used[0] = usage.f_blocks - usage.f_bfree;
  used[1] = usage.f_files - usage.f_ffree;
  fl_facts_add(facts, used, sizeof used, "bytes and inodes in use");
  return 0;
}
