/* See mappings.h. Format: Documentation/filesystems/proc.rst. */
#include "snapshot/mappings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

static int keep_path(struct fl_mappings *mappings, const char *path, uint32_t *ret_at)
{
  size_t bytes = strlen(path) + 1;
  char *grown = realloc(mappings->paths, mappings->paths_bytes + bytes);

  if (!grown)
    return -ENOMEM;
  memcpy(grown + mappings->paths_bytes, path, bytes);
  *ret_at = (uint32_t)mappings->paths_bytes;
  mappings->paths = grown;
  mappings->paths_bytes += bytes;
  return 0;
}

static int parse(struct fl_mappings *mappings, const char *line, struct fl_mapping *ret)
{
  unsigned major, minor;
  char rights[5], path[PATH_MAX] = "";

  *ret = (struct fl_mapping){0};
  if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %4095[^\n]", &ret->start, &ret->end, rights, &ret->offset, &major, &minor, &ret->inode, path) < 7)
    return -EPROTO;
  ret->device = (uint64_t)major << 32 | minor;
  ret->rights = (rights[0] == 'r' ? PROT_READ : 0u) | (rights[1] == 'w' ? PROT_WRITE : 0u) | (rights[2] == 'x' ? PROT_EXEC : 0u);
  ret->shared = rights[3] == 's';
  ret->grows = strcmp(path, "[heap]") == 0 || strcmp(path, "[stack]") == 0;
  ret->backing = path[0] == '/' ? FL_FILE : strncmp(path, "[v", 2) == 0 ? FL_KERNEL : FL_ANONYMOUS;
  return ret->backing == FL_FILE ? keep_path(mappings, path, &ret->path) : 0;
}

int fl_mappings_read(pid_t pid, struct fl_mappings *ret, struct fl_error *err)
{
  char name[64], line[PATH_MAX + 128];

  *ret = (struct fl_mappings){0};
  snprintf(name, sizeof name, "/proc/%d/maps", pid);
  fl_autofclose FILE *maps = fopen(name, "re");
  if (!maps)
    return fl_fail_errno(err, "open_maps");
  while (fgets(line, sizeof line, maps)) {
    if (ret->count == FL_MAPPINGS_MAX)
      return fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "freeze", "more than %d mappings", FL_MAPPINGS_MAX);
    int r = parse(ret, line, &ret->mapping[ret->count]);
    if (r < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -r, "read_maps", "%.80s", line);
    ret->count++;
  }
  return 0;
}

void fl_mappings_free(struct fl_mappings *mappings)
{
  free(mappings->paths);
  mappings->paths = NULL;
}

const struct fl_mapping *fl_mappings_at(const struct fl_mappings *mappings, uint64_t address)
{
  uint32_t low = 0, high = mappings->count;

  while (low < high) {
    uint32_t middle = (low + high) / 2;

    if (mappings->mapping[middle].end <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low < mappings->count && mappings->mapping[low].start <= address ? &mappings->mapping[low] : NULL;
}

bool fl_mappings_same(const struct fl_mapping *one, const struct fl_mapping *other)
{
  if (!one || !other || one->backing != other->backing || one->shared != other->shared)
    return false;
  return one->backing != FL_FILE ||
         (one->device == other->device && one->inode == other->inode && one->offset - one->start == other->offset - other->start);
}
