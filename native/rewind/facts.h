/*
 * What is known of an instance beside its memory and its registers, as a list of named bytes: everything that the kernel keeps for it and tells of it. A restore puts back what it can and then
 * takes the list again: it is complete when the two lists are equal, and an instance for which they are not is destroyed. So whatever is only read here, and never put back, is safe too.
 */
#ifndef FLASHD_REWIND_FACTS_H
#define FLASHD_REWIND_FACTS_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FL_FACTS_MAX = 2048, FL_FACTS_BYTES = 1 << 20, FL_FACT_NAME = 40 };

struct fl_fact { char name[FL_FACT_NAME]; uint32_t at, bytes; };

struct fl_facts {
  uint32_t facts, used;
  bool full;                                   /* something did not fit */
  struct fl_fact fact[FL_FACTS_MAX];
  uint8_t byte[FL_FACTS_BYTES];
};

void fl_facts_begin(struct fl_facts *facts);
void fl_facts_add(struct fl_facts *facts, const void *bytes, size_t size, const char *name_format, ...) __attribute__((format(printf, 4, 5)));
/* The content of a file of /proc/PID that is held open, or why it cannot be read. */
void fl_facts_add_file(struct fl_facts *facts, int fd, const char *name);
/* Where the link in /proc/PID leads, and to which file. */
void fl_facts_add_link(struct fl_facts *facts, int directory, const char *name);
/* The name of the first difference, or NULL: they are the same. */
const char *fl_facts_differ(const struct fl_facts *one, const struct fl_facts *other);
#endif
