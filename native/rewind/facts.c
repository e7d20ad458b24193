/* See facts.h. */
#include "rewind/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rewind/proc.h"

enum { TEXT_BYTES = 16384, MOUNT_ID = 0x1000 };  /* STATX_MNT_ID */

void fl_facts_remember(struct fl_facts *facts)
{
  facts->facts = facts->used = 0;
  facts->full = facts->compared = false;
}

void fl_facts_compare(struct fl_facts *facts)
{
  facts->compared = true;
  facts->next = 0;
  facts->differs = NULL;
}

static void compare(struct fl_facts *facts, const void *bytes, size_t size, const char *name_format)
{
  const struct fl_fact *then = &facts->fact[facts->next];

  if (facts->differs)
    return;
  if (facts->next == facts->facts)
    facts->differs = "number of things";
  else if (then->format != name_format || then->bytes != size || memcmp(facts->byte + then->at, bytes, size) != 0)
    facts->differs = then->name;
  facts->next++;
}

void fl_facts_add(struct fl_facts *facts, const void *bytes, size_t size, const char *name_format, ...)
{
  va_list arguments;

  if (facts->compared) {
    compare(facts, bytes, size, name_format);
    return;
  }
  if (facts->facts == FL_FACTS_MAX || size > FL_FACTS_BYTES - facts->used) {
    facts->full = true;
    return;
  }
  struct fl_fact *fact = &facts->fact[facts->facts++];
  *fact = (struct fl_fact){.format = name_format, .at = facts->used, .bytes = (uint32_t)size};
  va_start(arguments, name_format);
  vsnprintf(fact->name, sizeof fact->name, name_format, arguments);
  va_end(arguments);
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
  struct { uint64_t device, inode, mount, mode; } link = {0};
  struct statx status;

  if (statx(directory, name, 0, STATX_INO | STATX_MODE | STATX_TYPE | MOUNT_ID, &status) == 0) {
    link.device = (uint64_t)status.stx_dev_major << 32 | status.stx_dev_minor;
    link.inode = status.stx_ino;
    link.mount = status.stx_mnt_id;
    link.mode = status.stx_mode;
  }
  fl_facts_add(facts, &link, sizeof link, "%s", name);
}

const char *fl_facts_differ(const struct fl_facts *facts)
{
  if (facts->full)
    return "too much to compare";
  return facts->differs ? facts->differs : facts->next == facts->facts ? NULL : "number of things";
}
