/*
 * What is known of an instance beside its memory and its registers, as a list of named bytes: everything that the kernel keeps for it and tells of it. The list is remembered when the snapshot is taken. A restore puts
 * back what it can and then goes through the same list again, each thing being compared as it is added: it is complete when all are equal, and an instance for which they are not is destroyed. So whatever is only
 * read here, and never put back, is safe too.
 */
#ifndef FLASHD_REWIND_FACTS_H
#define FLASHD_REWIND_FACTS_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FL_FACTS_MAX = 2048, FL_FACTS_BYTES = 1 << 20, FL_FACT_NAME = 40 };

struct fl_fact { const char *format; uint32_t at, bytes; char name[FL_FACT_NAME]; };   /* format: of the name, which tells what it is */

struct fl_facts {
  bool compared;                               /* what is added is not remembered, but compared */
  uint32_t next;                               /* that is compared */
  const char *differs;                         /* the name of the first difference so far */
  bool full;                                   /* something did not fit */
  uint32_t facts, used;                        /* remembered */
  struct fl_fact fact[FL_FACTS_MAX];
  uint8_t byte[FL_FACTS_BYTES];
};

void fl_facts_remember(struct fl_facts *facts);
void fl_facts_compare(struct fl_facts *facts);
void fl_facts_add(struct fl_facts *facts, const void *bytes, size_t size, const char *name_format, ...) __attribute__((format(printf, 4, 5)));
/* The content of a file of /proc/PID that is held open, or why it cannot be read. */
void fl_facts_add_file(struct fl_facts *facts, int fd, const char *name);
/* Which file the link in /proc/PID leads to, and by which mount. */
void fl_facts_add_link(struct fl_facts *facts, int directory, const char *name);
/* After all were added again: the name of the first difference, or NULL: they are the same. */
const char *fl_facts_differ(const struct fl_facts *facts);
#endif
