/* See copies.h. */
#include "inject/copies.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PAGE_SHIFT = 12 };

/* What a place says: nothing (it is free), the address of its page, or that and one more while somebody reads it. Whoever dies over that leaves a place that nobody uses. */
#define BEING_READ 1ull
#define SPREAD 0x9e3779b97f4a7c15ull

struct fl_copies { _Atomic uint64_t at[FL_COPIES]; uint8_t page[FL_COPIES][PAGE_BYTES]; };

struct fl_copies *fl_copies_open(void)
{
  struct fl_copies *copies = mmap(NULL, sizeof *copies, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  return copies == MAP_FAILED ? NULL : copies;
}

void fl_copies_close(struct fl_copies *copies)
{
  if (copies)
    munmap(copies, sizeof *copies);
}

static const uint8_t *read_into(struct fl_copies *copies, uint32_t place, int memory, uint64_t address)
{
  bool read = pread(memory, copies->page[place], PAGE_BYTES, (off_t)address) == PAGE_BYTES;

  atomic_store_explicit(&copies->at[place], read ? address : 0, memory_order_release);
  return read ? copies->page[place] : NULL;
}

const uint8_t *fl_copies_page(struct fl_copies *copies, int memory, uint64_t address)
{
  uint32_t first = (uint32_t)((address >> PAGE_SHIFT) * SPREAD >> 32) % FL_COPIES;

  for (uint32_t i = 0; copies && i < FL_COPIES_NEAR; i++) {
    uint32_t place = (first + i) % FL_COPIES;
    uint64_t found = atomic_load_explicit(&copies->at[place], memory_order_acquire);

    if (found == address)
      return copies->page[place];
    if (found == (address | BEING_READ))
      return NULL;
    if (found == 0 && atomic_compare_exchange_strong(&copies->at[place], &found, address | BEING_READ))
      return read_into(copies, place, memory, address);
    if (found == address)
      return copies->page[place];
  }
  return NULL;
}
