/* See facts.h. */
#include "rewind/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rewind/proc.h"

enum { TEXT_BYTES = 16384 };

void fl_facts_begin(struct fl_facts *facts)
{
  facts->facts = facts->used = 0;
  facts->full = false;
}

void fl_facts_add(struct fl_facts *facts, const void *bytes, size_t size, const char *name_format, ...)
{
  va_list arguments;

  if (facts->facts == FL_FACTS_MAX || size > FL_FACTS_BYTES - facts->used) {
    facts->full = true;
    return;
  }
  struct fl_fact *fact = &facts->fact[facts->facts++];
  memset(fact->name, 0, sizeof fact->name);
  va_start(arguments, name_format);
  vsnprintf(fact->name, sizeof fact->name, name_format, arguments);
  va_end(arguments);
  fact->at = facts->used;
  fact->bytes = (uint32_t)size;
  memcpy(facts->byte + facts->used, bytes, size);
  facts->used += (uint32_t)size;
}

void fl_facts_add_file(struct fl_facts *facts, int fd, const char *name)
{
  char text[TEXT_BYTES];
  ssize_t length = fd < 0 ? -ENOENT : fl_proc_read(fd, text, sizeof text);

  if (length >= 0)
    fl_facts_add(facts, text, (size_t)length, "%s", name);
  else
    fl_facts_add(facts, &length, sizeof length, "%s", name);
}

void fl_facts_add_link(struct fl_facts *facts, int directory, const char *name)
{
  struct { uint64_t device, inode; char target[PATH_MAX]; } link;
  struct stat status;
  ssize_t length = readlinkat(directory, name, link.target, sizeof link.target);

  link.device = link.inode = 0;
  if (fstatat(directory, name, &status, 0) == 0) {
    link.device = status.st_dev;
    link.inode = status.st_ino;
  }
  fl_facts_add(facts, &link, sizeof link - sizeof link.target + (length > 0 ? (size_t)length : 0), "%s", name);
}

const char *fl_facts_differ(const struct fl_facts *one, const struct fl_facts *other)
{
  for (uint32_t i = 0; i < one->facts && i < other->facts; i++) {
    const struct fl_fact *a = &one->fact[i], *b = &other->fact[i];

    if (strcmp(a->name, b->name) != 0 || a->bytes != b->bytes || memcmp(one->byte + a->at, other->byte + b->at, a->bytes) != 0)
      return a->name;
  }
  if (one->full || other->full)
    return "too much to compare";
  return one->facts == other->facts ? NULL : "number of things";
}
