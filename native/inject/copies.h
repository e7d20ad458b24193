/*
 * Pages of a frozen template, read once for whoever has to write them back into its forks again and again (rewind/written.h): one piece of memory that those processes share, since they were forked after it was made.
 * What a frozen template holds does not change, so a copy is never wrong; when there is no room for another one, nobody waits for it.
 */
#ifndef FLASHD_COPIES_H
#define FLASHD_COPIES_H
#include <stdint.h>

enum { FL_COPIES = 1024, FL_COPIES_NEAR = 8 };

struct fl_copies;

/* NULL: there is no memory for it. Nothing of it is in memory before it is needed. */
struct fl_copies *fl_copies_open(void);
void fl_copies_close(struct fl_copies *copies);
/* The page's bytes, which never change; NULL: there is no copy, and no room for one, or it cannot be read. memory: /proc/PID/mem of the template. */
const uint8_t *fl_copies_page(struct fl_copies *copies, int memory, uint64_t address);
#endif
