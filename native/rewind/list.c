/* See list.h. */
#include "rewind/list.h"

#include <errno.h>

#include "parasite/parasite.h"

enum { PAGE_BYTES = 4096 };
/* What a table of pages that are not there takes at most, in pages that are looked at, and how much longer one that is told of does. */
enum { TABLE_PAGES = 512, TOLD_FACTOR = 2 };

static void ask_for(void *context)
{
  struct fl_list_part *part = context;

  part->regions = part->start == part->end ? 0 : part->ask(part->pagemap, part->start, part->end, part->region, part->room);
}

void fl_list_begin(struct fl_list *list, int pagemap, fl_list_ask ask, struct fl_helper *helper)
{
  const uint32_t room = FL_LIST_STRETCHES_MAX / FL_LIST_PARTS;

  list->begun = true;
  for (uint32_t i = 0; i < FL_LIST_PARTS; i++) {
    struct fl_list_part *part = &list->part[i];

    part->pagemap = pagemap;
    part->ask = ask;
    part->start = i == 0 ? 0 : list->border[i - 1];
    part->end = i == FL_LIST_PARTS - 1 ? FL_ADDRESSES_END : list->border[i];
    part->region = list->region + i * room;
    part->room = room;
    part->regions = -E2BIG;
    if (list->border[0])
      fl_helper_give(helper, &part->job, ask_for, part);
  }
}

/* All at once where there are no parts, or what one tells of does not fit where its share of the room is. */
int fl_list_end(struct fl_list *list, struct fl_helper *helper)
{
  struct fl_list_part *part = list->part;
  bool fit = true;

  list->begun = false;
  for (int i = 0; i < FL_LIST_PARTS; i++) {
    if (list->border[0])
      fl_helper_wait(helper, &part[i].job);
    fit = fit && part[i].regions != -E2BIG;
  }
  if (!fit) {
    for (int i = 1; i < FL_LIST_PARTS; i++)
      part[i].regions = 0;
    part[0].end = FL_ADDRESSES_END;
    part[0].room = FL_LIST_STRETCHES_MAX;
    ask_for(&part[0]);
  }
  for (int i = 0; i < FL_LIST_PARTS; i++)
    if (part[i].regions < 0)
      return part[i].regions;
  return 0;
}

static bool is_populated(const struct fl_page_region *region)
{
  return region->categories & (FL_PAGE_PRESENT | FL_PAGE_SWAPPED);
}

static uint64_t pages_looked_at(const struct fl_page_region *region)
{
  uint64_t pages = (region->end - region->start) / PAGE_BYTES;

  return is_populated(region) || pages < TABLE_PAGES ? pages : TABLE_PAGES;
}

void fl_list_weigh(const struct fl_list *list, uint64_t *ret_populated, uint64_t *ret_empty)
{
  const struct fl_list_part *all = &list->part[0];

  *ret_populated = *ret_empty = 0;
  for (int i = 0; i < all->regions; i++)
    *(is_populated(&all->region[i]) ? ret_populated : ret_empty) += pages_looked_at(&all->region[i]);
}

static uint64_t effort(const struct fl_page_region *region, bool populated, bool empty)
{
  return pages_looked_at(region) * ((is_populated(region) ? populated : empty) ? TOLD_FACTOR : 1);
}

void fl_list_divide(struct fl_list *list, bool populated, bool empty)
{
  const struct fl_list_part *all = &list->part[0];
  uint64_t whole = 0, passed = 0;
  int at = 0;

  for (int i = 0; i < all->regions; i++)
    whole += effort(&all->region[i], populated, empty);
  for (uint64_t border = 1; border < FL_LIST_PARTS; border++) {
    while (at < all->regions - 1 && passed < whole * border / FL_LIST_PARTS)
      passed += effort(&all->region[at++], populated, empty);
    list->border[border - 1] = all->regions ? all->region[at].start : 0;
  }
}
