/*
 * The arena of a turn: see arena.h.
 */
#include "addon/arena.h"

#include <stdlib.h>

struct fl_arena_block {
  struct fl_arena_block *next;
  size_t used;
  uint8_t bytes[FL_ARENA_BLOCK_BYTES];
};

uint8_t *fl_arena_reserve(struct fl_arena *arena, size_t bytes)
{
  struct fl_arena_block *block = arena->current;

  if (bytes > FL_ARENA_BLOCK_BYTES)
    return NULL;
  if (!block || FL_ARENA_BLOCK_BYTES - block->used < bytes) {
    block = malloc(sizeof *block);
    if (!block)
      return NULL;
    block->next = NULL;
    block->used = 0;
    if (arena->current)
      arena->current->next = block;
    else
      arena->first = block;
    arena->current = block;
  }
  return block->bytes + block->used;
}

void fl_arena_commit(struct fl_arena *arena, size_t bytes)
{
  arena->current->used += bytes;
}

void fl_arena_reset(struct fl_arena *arena)
{
  if (!arena->first)
    return;
  for (struct fl_arena_block *block = arena->first->next, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  arena->first->next = NULL;
  arena->first->used = 0;
  arena->current = arena->first;
}
