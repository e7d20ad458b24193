/*
 * Memory for one turn of the event loop: what was read from sockets and pipes lies here until its callback has run. Sockets are read straight
 * into it, so that a small response is never copied in C.
 */
#ifndef FLASHD_ARENA_H
#define FLASHD_ARENA_H
#include <stddef.h>
#include <stdint.h>

enum { FL_ARENA_BLOCK_BYTES = 256 << 10 };

struct fl_arena_block;
struct fl_arena { struct fl_arena_block *first, *current; };

/* Room for `bytes` (at most a block), until the next reserve; what is not committed is given out again. NULL: out of memory. */
uint8_t *fl_arena_reserve(struct fl_arena *arena, size_t bytes);
/* Keeps the first bytes of what was reserved last until the reset. */
void fl_arena_commit(struct fl_arena *arena, size_t bytes);
/* Everything in it is void. One block is kept. */
void fl_arena_reset(struct fl_arena *arena);
#endif
