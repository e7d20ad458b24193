/*
 * Written pages of a process are found by the kernel and put back (rewind/watch.h, rewind/written.h): a template, a fork of it that does things to its memory, and the comparison of every byte afterwards.
 * Where the kernel cannot watch, nothing of it is used, and there is nothing to try.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject/batch.h"
#include "rewind/threads.h"
#include "rewind/watch.h"
#include "rewind/written.h"
#include "sys/pagemap.h"

#include "check.h"

enum { PAGE_BYTES = 4096, PAGES = 768, ROUNDS = 2 * FL_WRITTEN_COOLING + 3, HUNG_SECONDS = 60, WRITABLE = PROT_READ | PROT_WRITE };

static const uint8_t syscall_code[] = {0x0f, 0x05, 0xc3};
static uint8_t *code, *held, *fresh, *file;     /* held: the template's; fresh: never touched before the snapshot; file: of a file */
static int orders[2], done[2];

/* --- what the instance is told to do --- */

enum order { NOTHING, WRITES, WRITES_FRESH, DROPS, MAPS_OVER, COPIES_FILE, WRITES_MUCH };

static void obey(enum order order)
{
  if (order == WRITES || order == WRITES_MUCH)
    for (int page = 0; page < (order == WRITES ? PAGES / 2 : PAGES); page += order == WRITES ? 3 : 1)
      held[page * PAGE_BYTES] = 0xff;
  if (order == WRITES_FRESH)
    memset(fresh, 0xff, PAGES / 2 * PAGE_BYTES);
  if (order == DROPS)
    CHECK(madvise(held, 2 * PAGE_BYTES, MADV_DONTNEED) == 0);
  if (order == MAPS_OVER)
    CHECK(mmap(held + PAGE_BYTES, PAGE_BYTES, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
  if (order == COPIES_FILE)
    file[0] = 0xff;
}

__attribute__((noreturn)) static void be_instance(void)
{
  uint8_t order;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (read(orders[0], &order, 1) == 1) {
    obey(order);
    if (write(done[1], "", 1) != 1)
      break;
  }
  _exit(0);
}

/* --- */

struct world {
  pid_t template, instance;
  struct fl_tracee tracee;
  struct fl_batch batch;
  struct fl_proc proc;
  struct fl_layout base, then;
  struct fl_threads threads;
  struct fl_memory memory;
  struct fl_written written;
  struct fl_helper helper;
  uint64_t home;
};

static struct world *world;
static struct fl_error err;

#define GOES(call)                                                                       \
  do {                                                                                   \
    if ((call) < 0) {                                                                    \
      fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, err.op, err.detail); \
      exit(1);                                                                           \
    }                                                                                    \
  } while (0)

static void fork_both(void)
{
  int told[2];

  CHECK(pipe(orders) == 0 && pipe(done) == 0 && pipe(told) == 0);
  world->template = fork();
  CHECK(world->template >= 0);
  if (world->template == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);          /* a check that fails leaves nobody behind */
    for (int page = 0; page < PAGES; page++)   /* each another one, in more runs than there are shares, and more than one batch */
      memset(held + page * PAGE_BYTES, 1 + page % 251, PAGE_BYTES);
    pid_t instance = fork();
    if (instance == 0)
      be_instance();
    CHECK(write(told[1], &instance, sizeof instance) == sizeof instance);
    for (;;)
      pause();
  }
  CHECK(read(told[0], &world->instance, sizeof world->instance) == sizeof world->instance);
  usleep(50000);
}

static uint32_t descriptors(pid_t pid)
{
  char path[64];
  uint32_t count = 0;

  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *entries = opendir(path);
  CHECK(entries);
  while (readdir(entries))
    count++;
  closedir(entries);
  return count;
}

static int open_proc(const char *name, int flags)
{
  char path[64];

  snprintf(path, sizeof path, "/proc/%d/%s", world->instance, name);
  int fd = open(path, flags | O_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

static void stop(void)
{
  GOES(fl_tracee_stop(world->instance, &world->tracee, &err));
  world->tracee.call_at = (uint64_t)(uintptr_t)code;
  GOES(fl_threads_hold(&world->tracee, &err));
}

static void snapshot(void)
{
  GOES(fl_layout_read(world->template, false, 0, 0, &world->base, &err));
  GOES(fl_layout_read(world->instance, true, 0, 0, &world->then, &err));
  GOES(fl_tracee_stop(world->instance, &world->tracee, &err));
  world->tracee.call_at = (uint64_t)(uintptr_t)code;
  world->memory = (struct fl_memory){.template = world->template, .instance = world->instance, .base = &world->base, .layout = &world->then, .template_memory = -1, .template_pages = -1};
  GOES(fl_threads_remember(&world->threads, &world->tracee, &world->memory, &err));
  GOES(fl_threads_hold(&world->tracee, &err));
  world->proc.pid = world->instance;
  world->proc.file[FL_PROC_PAGEMAP] = open_proc("pagemap", O_RDONLY);
  world->proc.file[FL_PROC_MEM] = open_proc("mem", O_RDWR);
  world->home = fl_layout_gap(&world->then, fl_batch_region_bytes());
  CHECK(world->home);
  GOES(fl_batch_open(&world->batch, &world->tracee, world->home, &err));
  GOES(fl_memory_save(&world->memory, &err));
  world->written = (struct fl_written){.watch = -1, .memory = &world->memory, .proc = &world->proc, .helper = &world->helper, .copies = fl_copies_open()};
  uint32_t open_before = descriptors(world->instance);
  GOES(fl_written_watch(&world->written, &world->batch, &err));
  CHECK(descriptors(world->instance) == open_before);            /* the instance is left without the means to unwatch */
  GOES(fl_batch_close(&world->batch, &err));
  GOES(fl_threads_put_extended(&world->threads, &err));
  GOES(fl_threads_put(&world->threads, &err));
  fl_tracee_release(&world->tracee);
}

static void order(enum order order)
{
  uint8_t byte = (uint8_t)order;

  CHECK(write(orders[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1);
}

/* The mappings again, as a rewinder would put them. */
static void map_again(void)
{
  struct fl_layout *now = calloc(1, sizeof *now);
  uint32_t repairs;

  CHECK(now);
  GOES(fl_layout_read(world->instance, true, world->home, fl_batch_region_bytes(), now, &err));
  GOES(fl_layout_repair(now, &world->then, &world->batch, &repairs, &err));
  free(now);
}

/* Returns whether all mappings were watched; what it takes to be what it was is done in either case. */
static bool restore(struct fl_memory_counts *ret_counts)
{
  bool known, known_at_once;

  *ret_counts = (struct fl_memory_counts){0};
  stop();
  GOES(fl_batch_open(&world->batch, &world->tracee, world->home, &err));
  GOES(fl_written_scan(&world->written, ret_counts, &known, &err));
  known_at_once = known;
  if (!known) {
    map_again();
    GOES(fl_written_rewatch(&world->written, &err));
    GOES(fl_written_scan(&world->written, ret_counts, &known, &err));
    CHECK(known);
  }
  GOES(fl_memory_run_drops(&world->memory, &world->batch, &err));
  GOES(fl_written_put(&world->written, ret_counts, &err));
  GOES(fl_batch_close(&world->batch, &err));
  GOES(fl_written_put_last(&world->written, &err));
  GOES(fl_threads_put_extended(&world->threads, &err));
  GOES(fl_threads_put(&world->threads, &err));
  GOES(fl_memory_compare(&world->memory, &err));
  fl_tracee_release(&world->tracee);
  return known_at_once;
}

static uint32_t written_after(enum order what)
{
  struct fl_memory_counts counts;

  order(what);
  CHECK(restore(&counts));
  return counts.written;
}

static void what_was_written_to_is_put_back(void)
{
  uint32_t usual = written_after(NOTHING);

  CHECK(written_after(WRITES) >= PAGES / 6 && written_after(DROPS) >= 2 && written_after(WRITES_FRESH) >= PAGES / 2);
  CHECK(written_after(NOTHING) >= usual / 2 && fresh[0] == 0);
}

/* In the first rounds pages are protected again, then they are hot, and every so often they cool. */
static void what_is_written_to_again_and_again_is_put_back_each_time(void)
{
  for (int round = 0; round < ROUNDS; round++)
    written_after(round % 2 ? WRITES : WRITES_MUCH);
  for (int round = 0; round < ROUNDS; round++)
    written_after(round % 5 ? NOTHING : WRITES);
}

static void hot_pages_cool(void)
{
  uint32_t hot = 0, cool = UINT32_MAX;

  for (int round = 0; round < FL_WRITTEN_COOLING; round++)
    hot = written_after(WRITES_MUCH);
  CHECK(hot >= PAGES);
  for (int round = 0; round < FL_WRITTEN_COOLING + 2; round++) {
    uint32_t now = written_after(NOTHING);

    cool = now < cool ? now : cool;
  }
  CHECK(cool < PAGES);
}

static void what_was_mapped_over_is_not_known(void)
{
  struct fl_memory_counts counts;

  order(MAPS_OVER);
  CHECK(!restore(&counts));
  CHECK(written_after(NOTHING) < PAGES);
}

static void a_copy_of_a_files_page_is_dropped(void)
{
  struct fl_memory_counts counts;

  order(COPIES_FILE);
  CHECK(restore(&counts) && counts.dropped >= 1);
}

/* More than the kernel tells at once from its own buffer. */
static void stretches_are_told_once_and_in_order(void)
{
  enum { STRETCHES = 6000, ROOM = STRETCHES + 100 };
  uint8_t *every_second = mmap(NULL, STRETCHES * PAGE_BYTES, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct fl_page_region *region = calloc(ROOM, sizeof *region);
  uint64_t start = (uint64_t)(uintptr_t)every_second, end = start + STRETCHES * PAGE_BYTES;
  int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), present = 0;

  CHECK(every_second != MAP_FAILED && region && pagemap >= 0);
  madvise(every_second, STRETCHES * PAGE_BYTES, MADV_NOHUGEPAGE);                /* a kernel without such pages refuses */
  for (int i = 0; i < STRETCHES; i += 2)
    every_second[(size_t)i * PAGE_BYTES] = 1;
  int told = fl_pagemap_changed(pagemap, start, end, region, ROOM);
  CHECK(told == STRETCHES);
  for (int i = 0; i < told; i++) {
    CHECK(region[i].start < region[i].end && (i == 0 || region[i - 1].end <= region[i].start));
    present += (region[i].categories & FL_PAGE_PRESENT) != 0;
  }
  CHECK(present == STRETCHES / 2);
  CHECK(fl_pagemap_populated(pagemap, start, end, region, ROOM) == STRETCHES);    /* they are not watched, so those that are empty are told of, too */
  CHECK(fl_pagemap_changed(pagemap, start, end, region, STRETCHES) == -E2BIG && fl_pagemap_changed(pagemap, start, end, region, 10) == -E2BIG);
  munmap(every_second, STRETCHES * PAGE_BYTES);
  close(pagemap);
  free(region);
}

int main(void)
{
  if (!fl_watch_possible())
    return 0;
  world = mmap(NULL, sizeof *world, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  code = mmap(NULL, PAGE_BYTES, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  held = mmap(NULL, PAGES * PAGE_BYTES, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fresh = mmap(NULL, PAGES * PAGE_BYTES, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  file = mmap(NULL, PAGE_BYTES, WRITABLE, MAP_PRIVATE, program, 0);
  CHECK(world != MAP_FAILED && code != MAP_FAILED && held != MAP_FAILED && fresh != MAP_FAILED && file != MAP_FAILED);
  memcpy(code, syscall_code, sizeof syscall_code);
  CHECK(mprotect(code, PAGE_BYTES, PROT_READ | PROT_EXEC) == 0);
  alarm(HUNG_SECONDS);
  fork_both();
  fl_helper_start(&world->helper);
  snapshot();
  stretches_are_told_once_and_in_order();
  for (int sparse = 0; sparse < 2; sparse++) {                   /* whichever of the two ways of asking would be taken here */
    world->written.sparse = sparse;
    what_was_written_to_is_put_back();
    what_is_written_to_again_and_again_is_put_back_each_time();
    hot_pages_cool();
    what_was_mapped_over_is_not_known();
    a_copy_of_a_files_page_is_dropped();
  }
  free(world->threads.thread[0].xstate);
  free(world->threads.thread);
  CHECK(kill(world->instance, SIGKILL) == 0 && kill(world->template, SIGKILL) == 0 && waitpid(world->template, NULL, 0) == world->template);
  return 0;
}
