/* See shape.h. */
#include "rewind/shape.h"

#include <errno.h>
#include <string.h>

#include "rewind/proc.h"
#include "sys/procmap.h"

/* After the one that ends there. -ENOENT: there is none; -ENAMETOOLONG: its name is longer than any that is remembered. */
static int ask(int maps, uint64_t from, bool named, struct fl_shape_mapping *ret)
{
  struct fl_procmap_query query = {.size = sizeof query, .flags = FL_PROCMAP_NEXT, .address = from, .name_bytes = named ? sizeof ret->name : 0, .name = named ? (uint64_t)(uintptr_t)ret->name : 0};

  ret->name[0] = 0;
  if (fl_procmap_ask(maps, &query) < 0)
    return -errno;
  ret->start = query.start;
  ret->end = query.end;
  ret->flags = query.vma_flags;
  ret->page_bytes = query.page_bytes;
  ret->offset = query.offset;
  ret->inode = query.inode;
  ret->major = query.major;
  ret->minor = query.minor;
  return 0;
}

bool fl_shape_ends_at(int maps, uint64_t address)
{
  struct fl_shape_mapping below = {0}, above = {0};

  return ask(maps, address - 1, false, &below) == 0 && below.end == address && ask(maps, address, false, &above) == 0 && above.start != address;
}

/* A file has no name of its process's making. */
static bool is_named(const struct fl_shape_mapping *mapping)
{
  return mapping->inode == 0;
}

static bool is_same(const struct fl_shape_mapping *one, const struct fl_shape_mapping *other)
{
  return memcmp(one, other, offsetof(struct fl_shape_mapping, name)) == 0 && (!is_named(one) || strcmp(one->name, other->name) == 0);
}

static int remember_numbers(struct fl_shape *shape, int maps)
{
  int r = 0;

  shape->mappings = 0;
  for (uint64_t at = 0; r == 0; at = shape->mapping[shape->mappings++].end) {
    struct fl_shape_mapping *mapping = &shape->mapping[shape->mappings];

    r = shape->mappings == FL_LAYOUT_MAX ? -E2BIG : ask(maps, at, false, mapping);
    if (r == 0 && is_named(mapping))
      r = ask(maps, at, true, mapping);
    if (r < 0)
      break;
  }
  return r == -ENOENT && shape->mappings ? 0 : r;
}

int fl_shape_remember_text(struct fl_shape *shape, int maps, struct fl_error *err)
{
  ssize_t bytes = fl_proc_read_lines(maps, shape->text, sizeof shape->text);

  shape->asked = false;
  shape->bytes = bytes < 0 ? 0 : (size_t)bytes;
  return bytes < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, (int)-bytes, "read_maps", "all of it") : 0;
}

int fl_shape_remember(struct fl_shape *shape, int maps, struct fl_error *err)
{
  shape->asked = remember_numbers(shape, maps) == 0;
  return shape->asked ? 0 : fl_shape_remember_text(shape, maps, err);
}

static void compare_part(void *context)
{
  struct fl_shape_part *part = context;
  const struct fl_shape_mapping *mapping = part->shape->mapping;
  struct fl_shape_mapping now;

  part->same = true;
  for (uint32_t i = part->first; i < part->end && part->same; i++)
    part->same = ask(part->maps, i ? mapping[i - 1].end : 0, is_named(&mapping[i]), &now) == 0 && is_same(&mapping[i], &now);
  if (part->same && part->end == part->shape->mappings)
    part->same = ask(part->maps, mapping[part->end - 1].end, false, &now) == -ENOENT;
}

void fl_shape_begin(struct fl_shape *shape, int maps, struct fl_helper *helper)
{
  for (uint32_t i = 0; i < FL_SHAPE_PARTS && shape->asked; i++) {
    struct fl_shape_part *part = &shape->part[i];

    part->shape = shape;
    part->maps = maps;
    part->first = i * shape->mappings / FL_SHAPE_PARTS;
    part->end = (i + 1) * shape->mappings / FL_SHAPE_PARTS;
    fl_helper_give(helper, &part->job, compare_part, part);
  }
}

int fl_shape_end(struct fl_shape *shape, int maps, struct fl_helper *helper, bool *ret_same, struct fl_error *err)
{
  if (shape->asked) {
    *ret_same = true;
    for (int i = 0; i < FL_SHAPE_PARTS; i++) {
      fl_helper_wait(helper, &shape->part[i].job);
      *ret_same = *ret_same && shape->part[i].same;
      shape->part[i].same = false;             /* what was not begun again is not the same */
    }
    return 0;
  }
  ssize_t bytes = fl_proc_read_lines(maps, shape->now, sizeof shape->now);
  if (bytes < 0)
    return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-bytes, "read_maps", "all of it");
  *ret_same = (size_t)bytes == shape->bytes && memcmp(shape->text, shape->now, shape->bytes) == 0;
  return 0;
}
