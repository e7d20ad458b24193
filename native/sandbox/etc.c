/*
 * The base's /etc: a few files of our own and copies of what runtimes look up there. Only what every user of the host may read is copied, so that no secret
 * gets in by accident.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "network/egress.h"
#include "sandbox/base.h"

enum { COPY_DEPTH_MAX = 8, COPY_FILES_MAX = 8192, COPY_FILE_BYTES_MAX = 8 << 20 };

static const struct { const char *path, *text; } own[] = {
  { "passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\nfunction:x:1000:1000:function:/home/function:/bin/sh\n"
              "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
  { "group", "root:x:0:\nfunction:x:1000:\nnogroup:x:65534:\n" },
  { "hosts", "127.0.0.1 localhost function\n::1 localhost\n" },
  { "hostname", "function\n" },
  { "resolv.conf", "nameserver " FL_EGRESS_GATEWAY_TEXT "\n" },                          /* without egress there is no route to it */
  { "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n" },
  { "timezone", "Etc/UTC\n" },
  { "shells", "/bin/sh\n" },
  { "machine-id", "" },
};

/* Paths below /etc whose copy every runtime may need; the last component may be a pattern. What one alone needs stands in its runtime.json. */
static const struct { const char *directory, *pattern; } copied[] = {
  { "", "ld.so.cache" }, { "", "ld.so.conf" }, { "", "ld.so.conf.d" },          /* the dynamic loader */
  { "", "alternatives" },                                                        /* programs in /usr/bin are symlinks through it */
  { "", "mime.types" }, { "", "services" }, { "", "protocols" }, { "", "os-release" }, { "", "debian_version" },
  { "ssl", "openssl.cnf" }, { "ssl/certs", "ca-certificates.crt" }, { "pki", "tls" }, { "", "ca-certificates" },
};

struct copying { unsigned files; };

static int copy_entry(struct copying *state, int from_dir, const char *from_name, int to_dir, const char *to_name, int depth);

static int copy_directory(struct copying *state, int from_dir, const char *from_name, int to_dir, const char *to_name, int depth)
{
  fl_autoclose int to = -1;
  fl_autoclosedir DIR *entries = NULL;
  struct dirent *entry;
  int from = openat(from_dir, from_name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

  if (from < 0)
    return -errno;
  entries = fdopendir(from);
  if (!entries) {
    close(from);
    return -ENOMEM;
  }
  if (mkdirat(to_dir, to_name, 0755) < 0 && errno != EEXIST)
    return -errno;
  to = openat(to_dir, to_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  if (to < 0)
    return -errno;
  while ((entry = readdir(entries))) {
    int result;

    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    result = copy_entry(state, from, entry->d_name, to, entry->d_name, depth + 1);
    if (result < 0)
      return result;
  }
  return 0;
}

static int copy_file(int from_dir, const char *from_name, int to_dir, const char *to_name, const struct stat *status)
{
  fl_autoclose int from = openat(from_dir, from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  fl_autofree char *bytes = malloc((size_t)status->st_size + 1);
  ssize_t got;

  if (from < 0)
    return -errno;
  if (!bytes)
    return -ENOMEM;
  got = pread(from, bytes, (size_t)status->st_size, 0);
  return got < 0 ? -errno : fl_file_put(to_dir, to_name, 0444 | (status->st_mode & 0111), bytes, (size_t)got);
}

/* What is unreadable for others, too large or not a plain file, directory or symlink is left out. */
static int copy_entry(struct copying *state, int from_dir, const char *from_name, int to_dir, const char *to_name, int depth)
{
  char target[4096];
  struct stat status;
  ssize_t length;

  if (fstatat(from_dir, from_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : -errno;
  if (depth > COPY_DEPTH_MAX || ++state->files > COPY_FILES_MAX)
    return -E2BIG;
  if (S_ISLNK(status.st_mode)) {
    length = readlinkat(from_dir, from_name, target, sizeof target - 1);
    if (length < 0)
      return -errno;
    target[length] = 0;
    return symlinkat(target, to_dir, to_name) < 0 && errno != EEXIST ? -errno : 0;
  }
  if (!(status.st_mode & S_IROTH))
    return 0;
  if (S_ISDIR(status.st_mode))
    return copy_directory(state, from_dir, from_name, to_dir, to_name, depth);
  if (!S_ISREG(status.st_mode) || status.st_size > COPY_FILE_BYTES_MAX)
    return 0;
  return copy_file(from_dir, from_name, to_dir, to_name, &status);
}

/* mkdir -p below dir_fd, opened. */
static int make_directories(int dir_fd, const char *path)
{
  char partial[256];
  int fd;

  for (size_t at = 0; *path && at <= strlen(path); at++) {
    if (path[at] && path[at] != '/')
      continue;
    snprintf(partial, sizeof partial, "%.*s", (int)at, path);
    if (mkdirat(dir_fd, partial, 0755) < 0 && errno != EEXIST)
      return -errno;
  }
  fd = openat(dir_fd, *path ? path : ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int copy_matching(struct copying *state, int etc_fd, const char *directory, const char *pattern)
{
  fl_autoclosedir DIR *entries = NULL;
  fl_autoclose int to = -1;
  struct dirent *entry;
  char path[256];

  snprintf(path, sizeof path, "/etc/%s", directory);
  entries = opendir(path);
  if (!entries)
    return errno == ENOENT ? 0 : -errno;
  while ((entry = readdir(entries))) {
    int result;

    if (fnmatch(pattern, entry->d_name, FNM_PERIOD))
      continue;
    if (to < 0)
      to = make_directories(etc_fd, directory);
    if (to < 0)
      return to;
    result = copy_entry(state, dirfd(entries), entry->d_name, to, entry->d_name, 0);
    if (result < 0)
      return result;
  }
  return 0;
}

/* What the runtime needs: "directory/pattern". */
static int copy_for(struct copying *state, int etc_fd, const char *path)
{
  const char *slash = strrchr(path, '/');
  char directory[FL_PACK_PATH_MAX + 1];

  if (strlen(path) > FL_PACK_PATH_MAX)
    return -ENAMETOOLONG;
  snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 0, path);
  return copy_matching(state, etc_fd, directory, slash ? slash + 1 : path);
}

int fl_base_etc(int etc_fd, const struct fl_pack *pack, struct fl_error *err)
{
  struct copying state = { 0 };

  for (size_t index = 0; index < FL_COUNT(copied); index++) {
    int result = copy_matching(&state, etc_fd, copied[index].directory, copied[index].pattern);

    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "copy /etc", "%s/%s", copied[index].directory, copied[index].pattern);
  }
  for (uint32_t index = 0; pack && index < pack->count; index++)
    for (char *const *path = pack->runtime[index].etc; *path; path++) {
      int result = copy_for(&state, etc_fd, *path);

      if (result < 0)
        return fl_fail(err, FL_ERR_SYSTEM, -result, "copy /etc", "%s", *path);
    }
  for (size_t index = 0; index < FL_COUNT(own); index++) {
    int result = fl_file_put(etc_fd, own[index].path, 0444, own[index].text, strlen(own[index].text));

    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "write /etc", "%s", own[index].path);
  }
  if (symlinkat("/usr/share/zoneinfo/UTC", etc_fd, "localtime") < 0 || symlinkat("/proc/self/mounts", etc_fd, "mtab") < 0)
    return fl_fail_errno(err, "symlink in /etc");
  return 0;
}
