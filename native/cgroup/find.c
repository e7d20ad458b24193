/*
 * Where the cgroup hierarchies are mounted and where in them this process stands, from /proc/self/mountinfo and /proc/self/cgroup.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cgroup/host.h"

/* Whether a comma-separated list contains word. */
static bool listed(const char *list, const char *word)
{
  size_t length = strlen(word);

  for (const char *at = list; at; at = strchr(at, ',')) {
    at += *at == ',';
    if (!strncmp(at, word, length) && (at[length] == ',' || at[length] == 0))
      return true;
  }
  return false;
}

int fl_cgroup_mount(const char *fs_type, const char *controller, char ret_point[PATH_MAX], char ret_root[PATH_MAX])
{
  fl_autofclose FILE *file = fopen("/proc/self/mountinfo", "re");
  fl_autofree char *line = NULL;
  size_t size = 0;

  if (!file)
    return -errno;
  while (getline(&line, &size, file) > 0) {
    char *fields = line, *tail = strstr(line, " - "), *type, *source, *options;

    if (!tail)
      continue;
    *tail = 0;
    tail += 3;
    type = strsep(&tail, " ");
    source = strsep(&tail, " ");
    options = strsep(&tail, " \n");
    if (!source || !options || strcmp(type, fs_type) || (controller && !listed(options, controller)))
      continue;
    /* id parent major:minor root point … ; paths with blanks are escaped there, and then simply not found: cgroup mounts have none. */
    for (int skip = 0; skip < 3; skip++)
      strsep(&fields, " ");
    if (!fields || sscanf(fields, "%4095s %4095s", ret_root, ret_point) != 2)
      continue;
    return 0;
  }
  return -ENOENT;
}

int fl_cgroup_self(const char *controller, char ret_path[PATH_MAX])
{
  fl_autofclose FILE *file = fopen("/proc/self/cgroup", "re");
  fl_autofree char *line = NULL;
  size_t size = 0;

  if (!file)
    return -errno;
  while (getline(&line, &size, file) > 0) {
    char *at = line, *id = strsep(&at, ":"), *list = strsep(&at, ":"), *path = strsep(&at, "\n");

    if (!path)
      continue;
    if (controller ? listed(list, controller) : !strcmp(id, "0") && !*list) {
      if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
      strcpy(ret_path, path);
      return 0;
    }
  }
  return -ENOENT;
}

int fl_cgroup_open_own(const char *point, const char *root, const char *path, char ret_full[PATH_MAX])
{
  size_t root_length = strcmp(root, "/") ? strlen(root) : 0;
  int fd;

  /* A container may mount only its own part of the hierarchy: then paths start with that part's name. */
  if (root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || path[root_length] == 0))
    path += root_length;
  if (snprintf(ret_full, PATH_MAX, "%s%s", point, strcmp(path, "/") ? path : "") >= PATH_MAX)
    return -ENAMETOOLONG;
  fd = open(ret_full, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}
