/* See pin.h. */
#include "inject/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "inject/arch/x86_64/frame.h"
#include "inject/tracee.h"

enum { PAGE_BYTES = 4096, BATCH_PAGES = 512, SCRATCH_BYTES = FL_PIN_RUNS_MAX * sizeof(struct iovec) + PAGE_BYTES };

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_FRAME ((1ull << 55) - 1)

static int open_pagemap(pid_t pid)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static bool add_page(struct fl_pin *pin, uint64_t address)
{
  struct iovec *last = pin->runs ? &pin->run[pin->runs - 1] : NULL;

  if (pin->pages == FL_PIN_PAGES_MAX)
    return false;
  if (last && (uint64_t)(uintptr_t)last->iov_base + last->iov_len == address) {
    last->iov_len += PAGE_BYTES;
  } else if (pin->runs == FL_PIN_RUNS_MAX) {
    return false;
  } else {
    pin->run[pin->runs++] = (struct iovec){(void *)(uintptr_t)address, PAGE_BYTES};
  }
  pin->pages++;
  return true;
}

static int compare_range(int template, int child, uint64_t start, uint64_t end, struct fl_pin *pin)
{
  uint64_t old[BATCH_PAGES], new[BATCH_PAGES];

  for (uint64_t at = start; at < end; at += BATCH_PAGES * PAGE_BYTES) {
    size_t pages = (end - at) / PAGE_BYTES < BATCH_PAGES ? (end - at) / PAGE_BYTES : BATCH_PAGES;
    off_t offset = (off_t)(at / PAGE_BYTES * sizeof old[0]);

    if (pread(template, old, pages * sizeof old[0], offset) != (ssize_t)(pages * sizeof old[0]) ||
        pread(child, new, pages * sizeof new[0], offset) != (ssize_t)(pages * sizeof new[0]))
      return -EIO;
    for (size_t i = 0; i < pages; i++)
      if ((old[i] & new[i] & PAGEMAP_PRESENT) && (old[i] & PAGEMAP_FRAME) != (new[i] & PAGEMAP_FRAME) && !add_page(pin, at + i * PAGE_BYTES))
        return 0;
  }
  return 0;
}

int fl_pin_find(pid_t template, pid_t child, struct fl_pin *ret_pin, struct fl_error *err)
{
  char line[4352], path[64];
  uint64_t start, end;
  char rights[5];

  *ret_pin = (struct fl_pin){0};
  snprintf(path, sizeof path, "/proc/%d/maps", child);
  fl_autofclose FILE *maps = fopen(path, "re");
  fl_autoclose int old = open_pagemap(template), new = open_pagemap(child);
  if (!maps || old < 0 || new < 0)
    return fl_fail_errno(err, "open_pagemap");
  while (fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 || rights[1] != 'w' || rights[3] != 'p')
      continue;
    int r = compare_range(old, new, start, end, ret_pin);
    if (r < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -r, "read_pagemap", "%lx-%lx", start, end);
  }
  return 0;
}

static int register_pages(struct fl_tracee *tracee, const struct fl_pin *pin, struct fl_error *err)
{
  int64_t scratch = fl_tracee_call(tracee, 0, SYS_mmap, (const uint64_t[6]){0, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}, err);

  if (scratch < 0)
    return fl_fail(err, FL_ERR_TEMPLATE, (int)-scratch, "remote_mmap", "pin");
  uint64_t runs_at = (uint64_t)scratch + PAGE_BYTES;
  int r = fl_tracee_write(tracee, runs_at, pin->run, pin->runs * sizeof pin->run[0], err);
  if (r < 0)
    return r;
  int64_t ring = fl_tracee_call(tracee, 0, SYS_io_uring_setup, (const uint64_t[6]){1, (uint64_t)scratch}, err);
  if (ring >= 0)
    ring = fl_tracee_call(tracee, 0, SYS_io_uring_register, (const uint64_t[6]){(uint64_t)ring, IORING_REGISTER_BUFFERS, runs_at, pin->runs}, err);
  fl_tracee_call(tracee, 0, SYS_munmap, (const uint64_t[6]){(uint64_t)scratch, SCRATCH_BYTES}, NULL);
  return ring < 0 ? fl_fail(err, FL_ERR_UNSUPPORTED, (int)-ring, "io_uring", "%u pages in %u runs", pin->pages, pin->runs) : 0;
}

int fl_pin_apply(pid_t template, uint64_t call_at, const struct fl_pin *pin, struct fl_error *err)
{
  fl_autofree struct fl_tracee *tracee = calloc(1, sizeof *tracee);

  if (!tracee)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "tracee");
  if (pin->runs == 0)
    return 0;
  int r = fl_tracee_stop(template, tracee, err);
  if (r < 0)
    return r;
  tracee->call_at = call_at;
  r = register_pages(tracee, pin, err);
  int restored = fl_tracee_restore(tracee, err);
  fl_tracee_release(tracee);
  return r < 0 ? r : restored;
}
