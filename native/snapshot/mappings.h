/* The mappings of a process, as /proc/PID/maps tells them. */
#ifndef FLASHD_MAPPINGS_H
#define FLASHD_MAPPINGS_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { FL_MAPPINGS_MAX = 8192 };

enum fl_backing { FL_ANONYMOUS, FL_FILE, FL_KERNEL };          /* KERNEL: vdso and the like, the same in every fork */

struct fl_mapping {
  uint64_t start, end, offset, device, inode;
  uint32_t rights;                             /* PROT_* */
  enum fl_backing backing;
  bool shared, grows;                          /* grows: heap or stack, by the kernel's own doing */
  uint32_t path;                               /* FILE: within fl_mappings.paths */
};

struct fl_mappings {
  uint32_t count;
  struct fl_mapping mapping[FL_MAPPINGS_MAX];
  char *paths;
  size_t paths_bytes;
};

int fl_mappings_read(pid_t pid, struct fl_mappings *ret_mappings, struct fl_error *err);
void fl_mappings_free(struct fl_mappings *mappings);
/* The one that covers the address, or NULL. */
const struct fl_mapping *fl_mappings_at(const struct fl_mappings *mappings, uint64_t address);
/* Whether the same thing lies at the address in both. */
bool fl_mappings_same(const struct fl_mapping *one, const struct fl_mapping *other);
#endif
