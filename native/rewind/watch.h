/*
 * Watching which pages of a stopped process are written to from now on: userfaultfd's asynchronous write-protection (kernel 6.7), which tells nobody and stops nobody. A page that was written to, dropped,
 * mapped anew or moved is not protected any more, and only who asks for that protects it again: with the descriptor, which the process never sees, or by PAGEMAP_SCAN, which is sealed (flashd/rewound_seal.h).
 */
#ifndef FLASHD_REWIND_WATCH_H
#define FLASHD_REWIND_WATCH_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/batch.h"

/* Whether this kernel can, and lets us. */
bool fl_watch_possible(void);
/* The descriptor; it is made in the process, through the batch, and taken away from it. */
int fl_watch_open(struct fl_batch *batch, struct fl_error *err);
/* Everything that is mapped there. What is watched already may be among it. */
int fl_watch_range(int watch, uint64_t start, uint64_t end, struct fl_error *err);
#endif
