/* See pin.h. */
#include "inject/pin.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "inject/tracee.h"
#include "sandbox/policy.h"

/* FEW_PAGES: 192 KiB, well within what a standby may have of its own. */
enum { PAGE_BYTES = 4096, FEW_PAGES = 48, SCRATCH_BYTES = 2 * FL_HOT_RUNS_MAX * sizeof(struct iovec) + PAGE_BYTES };

/* Those of files last, so that there is a beginning without them. */
static int64_t register_runs(struct fl_tracee *tracee, const struct fl_hot *hot, uint64_t scratch, enum fl_pinned *ret_pinned, struct fl_error *err)
{
  const struct fl_hot_runs *written = &hot->written, *of_files = &hot->of_files;
  uint64_t runs_at = scratch + PAGE_BYTES, files_at = runs_at + written->runs * sizeof written->run[0];
  int r = fl_tracee_write(tracee, runs_at, written->run, written->runs * sizeof written->run[0], err);

  if (r == 0)
    r = fl_tracee_write(tracee, files_at, of_files->run, of_files->runs * sizeof of_files->run[0], err);
  int64_t ring = r < 0 ? r : fl_tracee_call(tracee, 0, SYS_io_uring_setup, (const uint64_t[6]){FL_POLICY_RING_ENTRIES, scratch}, err);
  if (ring < 0)
    return ring;
  *ret_pinned = FL_PINNED_ALL;
  int64_t result = fl_tracee_call(tracee, 0, SYS_io_uring_register, (const uint64_t[6]){(uint64_t)ring, IORING_REGISTER_BUFFERS, runs_at, written->runs + of_files->runs}, err);
  if (result == -EOPNOTSUPP && written->runs) {
    *ret_pinned = FL_PINNED_WITHOUT_FILES;
    result = fl_tracee_call(tracee, 0, SYS_io_uring_register, (const uint64_t[6]){(uint64_t)ring, IORING_REGISTER_BUFFERS, runs_at, written->runs}, err);
  }
  return result;
}

static int register_pages(struct fl_tracee *tracee, const struct fl_hot *hot, enum fl_pinned *ret_pinned, struct fl_error *err)
{
  int64_t scratch = fl_tracee_call(tracee, 0, SYS_mmap, (const uint64_t[6]){0, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}, err);

  if (scratch < 0)
    return fl_fail(err, FL_ERR_TEMPLATE, (int)-scratch, "remote_mmap", "pin");
  int64_t r = register_runs(tracee, hot, (uint64_t)scratch, ret_pinned, err);
  fl_tracee_call(tracee, 0, SYS_munmap, (const uint64_t[6]){(uint64_t)scratch, SCRATCH_BYTES}, NULL);
  if (r >= 0)
    return 0;
  *ret_pinned = FL_PINNED_NOTHING;
  return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-r, "io_uring", "%u pages in %u runs", hot->written.pages + hot->of_files.pages, hot->written.runs + hot->of_files.runs);
}

static void add_touches(struct fl_parasite_touches *touches, const struct fl_hot_runs *runs, enum fl_touch kind)
{
  for (uint32_t i = 0; i < runs->runs && touches->count < FL_PARASITE_TOUCHES_MAX; i++)
    touches->touch[touches->count++] = (struct fl_parasite_touch){(uint64_t)(uintptr_t)runs->run[i].iov_base, (uint32_t)runs->run[i].iov_len, kind};
}

void fl_pin_touches(const struct fl_hot *hot, enum fl_pinned pinned, const struct fl_hot_runs *late, struct fl_parasite_touches *ret)
{
  *ret = (struct fl_parasite_touches){0};
  if (late)
    add_touches(ret, late, FL_TOUCH_LATE);
  if (pinned == FL_PINNED_NOTHING)
    add_touches(ret, &hot->written, FL_TOUCH_WRITE);
  if (pinned != FL_PINNED_ALL)
    add_touches(ret, &hot->of_files, FL_TOUCH_WRITE);
  add_touches(ret, &hot->fresh, FL_TOUCH_WRITE);
  add_touches(ret, &hot->read, FL_TOUCH_READ);
  ret->few = hot->written.pages + hot->of_files.pages + hot->fresh.pages <= FEW_PAGES;
}

static int apply(struct fl_tracee *tracee, uint64_t parasite_at, const struct fl_hot *hot, uint32_t *ret_pinned, struct fl_error *err)
{
  fl_autofree struct fl_parasite_touches *touches = calloc(1, sizeof *touches);

  if (!touches)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "touches");
  enum fl_pinned pinned = FL_PINNED_ALL;
  int r = hot->written.runs + hot->of_files.runs == 0 ? 0 : register_pages(tracee, hot, &pinned, err);
  *ret_pinned = (pinned == FL_PINNED_NOTHING ? 0 : hot->written.pages) + (pinned == FL_PINNED_ALL ? hot->of_files.pages : 0);
  fl_pin_touches(hot, pinned, NULL, touches);
  int told = fl_tracee_write(tracee, parasite_at + offsetof(struct fl_parasite, touches), touches, sizeof *touches, err);
  return r < 0 ? r : told;
}

int fl_pin_tell(pid_t template, const struct fl_infection *infection, const struct fl_hot *hot, const struct fl_hot_runs *late, struct fl_error *err)
{
  const struct fl_tracee running = {.pid = template};
  fl_autofree struct fl_parasite_touches *touches = calloc(1, sizeof *touches);

  if (!touches)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "touches");
  fl_pin_touches(hot, FL_PINNED_NOTHING, late, touches);
  return fl_tracee_write(&running, infection->parasite_at + offsetof(struct fl_parasite, touches), touches, sizeof *touches, err);
}

int fl_pin_apply(pid_t template, const struct fl_infection *infection, const struct fl_hot *hot, uint32_t *ret_pinned, struct fl_error *err)
{
  fl_autofree struct fl_tracee *tracee = calloc(1, sizeof *tracee);

  if (!tracee)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "tracee");
  int r = fl_tracee_stop(template, tracee, err);
  if (r < 0)
    return r;
  tracee->call_at = infection->call_at;
  r = apply(tracee, infection->parasite_at, hot, ret_pinned, err);
  int restored = fl_tracee_restore(tracee, err);
  fl_tracee_release(tracee);
  return r < 0 ? r : restored;
}
