/* See features.h. */
#include "sandboxd/features.h"

#include <fcntl.h>
#include <flashd/protocol.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "rewind/watch.h"
#include "sandbox/light.h"
#include "sys/pagemap.h"

enum { PAGE_BYTES = 4096 };

static bool pagemap_scan(void)
{
  static _Alignas(PAGE_BYTES) char page[PAGE_BYTES];
  fl_autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t unused;

  return pagemap >= 0 && fl_pagemap_next(pagemap, (uint64_t)(uintptr_t)page, (uint64_t)(uintptr_t)page + PAGE_BYTES, &unused) >= 0;
}

static bool soft_dirty(void)
{
  static _Alignas(PAGE_BYTES) volatile char page[PAGE_BYTES];
  uint64_t clean = 0, dirty = 0, at = (uint64_t)(uintptr_t)page;
  fl_autoclose int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

  page[0] = 1;
  if (pagemap < 0 || fl_file_write(AT_FDCWD, "/proc/self/clear_refs", "4") < 0 || fl_pagemap_read(pagemap, at, &clean) < 0)
    return false;
  page[0] = 2;
  return fl_pagemap_read(pagemap, at, &dirty) == 0 && !(clean & FL_PAGEMAP_SOFT_DIRTY) && (dirty & FL_PAGEMAP_SOFT_DIRTY);
}

uint32_t fl_features_probe(void)
{
  struct seccomp_notif_sizes sizes;
  uint32_t features = 0;

  if (pagemap_scan())
    features |= FL_FEATURE_PAGEMAP_SCAN;
  if ((features & FL_FEATURE_PAGEMAP_SCAN) && fl_watch_possible())
    features |= FL_FEATURE_WRITE_WATCH;
  if (soft_dirty())
    features |= FL_FEATURE_SOFT_DIRTY;
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0)
    features |= FL_FEATURE_SECCOMP_NOTIFY;
  if (fl_light_abi() > 0)
    features |= FL_FEATURE_LANDLOCK;
  if (fl_light_abi() >= FL_LIGHT_ABI)
    features |= FL_FEATURE_PROCESS_ISOLATION;
  return features;
}
