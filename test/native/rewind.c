/* Parts of rewinding that need no instance: the helper's jobs, copies of a template's pages, facts, and the shape of an address space. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject/copies.h"
#include "rewind/facts.h"
#include "rewind/helper.h"
#include "rewind/shape.h"

#include "check.h"

enum { ROUNDS = 20000, PAGE_BYTES = 4096, LAGGING_US = 2000, HUNG_SECONDS = 60 };

/* --- the helper --- */

static _Atomic uint32_t runs[FL_HELPER_JOBS];

static void count(void *context)
{
  atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

static void linger(void *context)
{
  usleep(LAGGING_US);
  count(context);
}

static void every_job_is_done_once(struct fl_helper *helper)
{
  static struct fl_job job[FL_HELPER_JOBS];

  for (uint32_t round = 1; round <= ROUNDS; round++) {
    uint32_t jobs = round % FL_HELPER_JOBS + 1;

    fl_helper_rouse(helper);
    for (uint32_t i = 0; i < jobs; i++) {
      runs[i] = 0;
      fl_helper_give(helper, &job[i], count, &runs[i]);
    }
    for (uint32_t i = jobs; i-- > 0;) {
      (round % 2 ? fl_helper_join : fl_helper_wait)(helper, &job[i]);
      fl_helper_wait(helper, &job[i]);
      CHECK(runs[i] == 1);
    }
    if (round % 3 == 0)
      fl_helper_dismiss(helper);
  }
}

/* Longer than anybody waits awake. */
static void a_job_that_takes_long_is_waited_for(struct fl_helper *helper)
{
  static struct fl_job job[2];

  runs[0] = runs[1] = 0;
  fl_helper_give(helper, &job[0], linger, &runs[0]);
  usleep(LAGGING_US / 2);                      /* the helper has begun it, where there is one */
  fl_helper_give(helper, &job[1], count, &runs[1]);
  fl_helper_wait(helper, &job[1]);
  CHECK(runs[1] == 1);
  fl_helper_wait(helper, &job[0]);
  CHECK(runs[0] == 1);
}

static void jobs_are_done_with_and_without_a_helper(void)
{
  static struct fl_helper without, with;

  every_job_is_done_once(&without);
  a_job_that_takes_long_is_waited_for(&without);
  fl_helper_start(&with);
  every_job_is_done_once(&with);
  a_job_that_takes_long_is_waited_for(&with);
}

/* --- copies --- */

static void a_page_is_copied_once_for_all(void)
{
  uint8_t *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct fl_copies *copies = fl_copies_open();
  int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), status;

  CHECK(pages != MAP_FAILED && copies && memory >= 0);
  memset(pages, 1, PAGE_BYTES);
  pid_t child = fork();
  if (child == 0)
    _exit(fl_copies_page(copies, memory, (uint64_t)(uintptr_t)pages) == NULL);
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  memset(pages, 2, PAGE_BYTES);                /* it is not read again */
  const uint8_t *copy = fl_copies_page(copies, memory, (uint64_t)(uintptr_t)pages);
  CHECK(copy && copy[0] == 1 && copy[PAGE_BYTES - 1] == 1);
  CHECK(munmap(pages + PAGE_BYTES, PAGE_BYTES) == 0 && !fl_copies_page(copies, memory, (uint64_t)(uintptr_t)pages + PAGE_BYTES));
  CHECK(!fl_copies_page(NULL, memory, (uint64_t)(uintptr_t)pages));
  fl_copies_close(copies);
  fl_copies_close(NULL);
}

static void there_is_an_end_to_copies(void)
{
  struct fl_copies *copies = fl_copies_open();
  uint8_t *pages = mmap(NULL, 2 * FL_COPIES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  uint32_t copied = 0;

  CHECK(copies && pages != MAP_FAILED && memory >= 0);
  for (uint32_t i = 0; i < 2 * FL_COPIES; i++) {
    pages[(size_t)i * PAGE_BYTES] = (uint8_t)i;
    const uint8_t *copy = fl_copies_page(copies, memory, (uint64_t)(uintptr_t)pages + (uint64_t)i * PAGE_BYTES);
    CHECK(!copy || copy[0] == (uint8_t)i);
    copied += copy != NULL;
  }
  CHECK(copied > FL_COPIES / 2 && copied <= FL_COPIES);
  fl_copies_close(copies);
}

/* --- facts --- */

static void add_two(struct fl_facts *facts, int first, int second, size_t bytes)
{
  fl_facts_add(facts, &first, sizeof first, "number %d", 1);
  fl_facts_add(facts, &second, bytes, "number %d", 2);
}

static void a_fact_that_differs_is_named(void)
{
  struct fl_facts *facts = calloc(1, sizeof *facts);

  CHECK(facts);
  fl_facts_remember(facts);
  add_two(facts, 1, 2, sizeof(int));
  fl_facts_compare(facts);
  CHECK(strcmp(fl_facts_differ(facts), "number of things") == 0);             /* nobody has gone through them */
  add_two(facts, 1, 2, sizeof(int));
  CHECK(!fl_facts_differ(facts));
  fl_facts_compare(facts);
  add_two(facts, 1, 3, sizeof(int));
  CHECK(strcmp(fl_facts_differ(facts), "number 2") == 0);
  fl_facts_compare(facts);
  add_two(facts, 1, 2, 1);
  CHECK(strcmp(fl_facts_differ(facts), "number 2") == 0);
  fl_facts_compare(facts);
  fl_facts_add(facts, &(int){1}, sizeof(int), "another %d", 1);
  fl_facts_add(facts, &(int){2}, sizeof(int), "number %d", 2);
  CHECK(strcmp(fl_facts_differ(facts), "number 1") == 0);
  fl_facts_compare(facts);
  add_two(facts, 1, 2, sizeof(int));
  fl_facts_add(facts, &(int){3}, sizeof(int), "one more");
  CHECK(strcmp(fl_facts_differ(facts), "number of things") == 0);
  free(facts);
}

static void too_many_facts_are_never_the_same(void)
{
  struct fl_facts *facts = calloc(1, sizeof *facts);

  CHECK(facts);
  fl_facts_remember(facts);
  for (int i = 0; i <= FL_FACTS_MAX; i++)
    fl_facts_add(facts, &i, sizeof i, "%d", i);
  CHECK(facts->full);
  fl_facts_compare(facts);
  for (int i = 0; i < FL_FACTS_MAX; i++)
    fl_facts_add(facts, &i, sizeof i, "%d", i);
  CHECK(fl_facts_differ(facts));
  free(facts);
}

/* --- the shape of an address space --- */

/* What changes the text of /proc/PID/maps is seen either way. */
static void a_change_of_shape_is_seen(int (*remember)(struct fl_shape *, int, struct fl_error *), bool asked_for_named)
{
  struct fl_shape *shape = mmap(NULL, sizeof *shape, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  uint8_t *pages = mmap(NULL, 4 * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct fl_helper alone = {0};
  struct fl_error err = {0};
  bool same;

  CHECK(shape != MAP_FAILED && maps >= 0 && program >= 0 && pages != MAP_FAILED);
  CHECK(munmap(pages + PAGE_BYTES, PAGE_BYTES) == 0);
  CHECK(remember(shape, maps, &err) == 0);
#define SAME (fl_shape_begin(shape, maps, &alone), fl_shape_end(shape, maps, &alone, &same, &err) == 0 && same)
#define ENDS fl_shape_ends_at(maps, (uint64_t)(uintptr_t)pages + PAGE_BYTES)
  CHECK(SAME);
  CHECK(ENDS == shape->asked || !asked_for_named);
  CHECK(mprotect(pages, PAGE_BYTES, PROT_NONE) == 0 && !SAME && mprotect(pages, PAGE_BYTES, PROT_READ) == 0 && SAME);
  CHECK(mmap(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED && !SAME && !ENDS && munmap(pages + PAGE_BYTES, PAGE_BYTES) == 0 && SAME);
  CHECK(mmap(pages, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_FIXED, program, 0) != MAP_FAILED && !SAME);
  CHECK(mmap(pages, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED && SAME);
  CHECK(mmap(pages, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED && !SAME);
  CHECK(mmap(pages, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED && SAME);
  if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, pages, PAGE_BYTES, "hidden") == 0)
    CHECK(!SAME && prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, pages, PAGE_BYTES, NULL) == 0 && SAME);
  CHECK(munmap(pages, PAGE_BYTES) == 0 && !SAME);
  CHECK(asked_for_named || !shape->asked);
  CHECK(!shape->asked || (fl_shape_end(shape, maps, &alone, &same, &err) == 0 && !same));        /* what nobody has looked at again */
#undef ENDS
#undef SAME
  munmap(pages, 4 * PAGE_BYTES);
  munmap(shape, sizeof *shape);
  close(maps);
  close(program);
}

int main(void)
{
  alarm(HUNG_SECONDS);
  jobs_are_done_with_and_without_a_helper();
  a_page_is_copied_once_for_all();
  there_is_an_end_to_copies();
  a_fact_that_differs_is_named();
  too_many_facts_are_never_the_same();
  a_change_of_shape_is_seen(fl_shape_remember, true);
  a_change_of_shape_is_seen(fl_shape_remember_text, false);
  return 0;
}
