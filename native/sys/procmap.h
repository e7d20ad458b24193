/* PROCMAP_QUERY (kernel 6.11), which Debian 12's headers lack: include/uapi/linux/fs.h. */
#ifndef FLASHD_PROCMAP_H
#define FLASHD_PROCMAP_H
#include <stdint.h>
#include <sys/ioctl.h>

struct fl_procmap_query {
  uint64_t size, flags, address, start, end, vma_flags, page_bytes, offset, inode;
  uint32_t major, minor, name_bytes, build_id_bytes;
  uint64_t name, build_id;
};

enum { FL_PROCMAP_NEXT = 0x10 };               /* PROCMAP_QUERY_COVERING_OR_NEXT_VMA */

/* maps: /proc/PID/maps. Negative, and errno; ENOENT: nothing is mapped there or above. */
static inline int fl_procmap_ask(int maps, struct fl_procmap_query *query)
{
  return ioctl(maps, _IOWR('f', 17, struct fl_procmap_query), query);
}
#endif
