/* See inside.h. */
#include "rewind/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/prctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "inject/inspect.h"

enum { SIGSET_BYTES = 8, ROUNDS_MAX = 64, STATUS_BYTES = 8192 };
/* Younger than the headers we build with. */
enum { GET_MDWE = 66, GET_MEMORY_MERGE = 68, TIMER_RESTORE_IDS = 77, TIMER_RESTORE_IDS_GET = 2, SCHED_CORE = 62, SCHED_CORE_GET = 0, SYSCALL_DISPATCH = 59, MEMBARRIER_REGISTRATIONS = 1 << 9 };
enum { SHM_INFO_CALL = 14, SEM_INFO_CALL = 19, MSG_INFO_CALL = 12 };
enum { GET_CPUID = 0x1011, GET_XCOMP_PERMISSION = 0x1022, GET_XCOMP_GUEST_PERMISSION = 0x1024, GET_UNTAG_MASK = 0x4001, SHADOW_STACK_STATUS = 0x5005 };
enum { IOPRIO_OF_PROCESS = 1, SCHEDULING_BYTES = 64, OBJECT_BYTES = 128, OBJECTS_MAX = 256 };

/* Where the memory for an answer goes; when it is put back, what was answered: the result, the first number in the memory, the memory. */
#define OUT (~0ull)
#define RESULT (~1ull)
#define ANSWER (~2ull)
#define BYTES (~3ull)
/* What /proc/PID/timers says of a timer whose signals go to one thread. */
#define OF_A_THREAD "/tid."

/* put: the call that makes the answer what it was; 0: there is none, or it has no way back. */
struct query { const char *name; long number; uint64_t argument[5]; uint32_t answer_bytes; long put; uint64_t put_argument[3]; };

static const struct query of_process[] = {
    {"personality", SYS_personality, {0xffffffff}, 0, SYS_personality, {RESULT}},
    {"dumpable", SYS_prctl, {PR_GET_DUMPABLE}, 0, SYS_prctl, {PR_SET_DUMPABLE, RESULT}},
    {"subreaper", SYS_prctl, {PR_GET_CHILD_SUBREAPER, OUT}, 8, SYS_prctl, {PR_SET_CHILD_SUBREAPER, ANSWER}},
    {"huge pages", SYS_prctl, {PR_GET_THP_DISABLE}, 0, SYS_prctl, {PR_SET_THP_DISABLE, RESULT}},
    {"refusal of writable code", SYS_prctl, {GET_MDWE}, 0, 0, {0}},
    {"merging of memory", SYS_prctl, {GET_MEMORY_MERGE}, 0, 0, {0}},
    {"ids of timers", SYS_prctl, {TIMER_RESTORE_IDS, TIMER_RESTORE_IDS_GET}, 0, 0, {0}},
    {"CPUID faulting", SYS_arch_prctl, {GET_CPUID}, 0, 0, {0}},
    {"extended state permitted", SYS_arch_prctl, {GET_XCOMP_PERMISSION, OUT}, 8, 0, {0}},
    {"extended guest state permitted", SYS_arch_prctl, {GET_XCOMP_GUEST_PERMISSION, OUT}, 8, 0, {0}},
    {"tagged addresses", SYS_arch_prctl, {GET_UNTAG_MASK, OUT}, 8, 0, {0}},
    {"memory barriers", SYS_membarrier, {MEMBARRIER_REGISTRATIONS}, 0, 0, {0}},
    {"System V shared memory", SYS_shmctl, {0, SHM_INFO_CALL, OUT}, 128, 0, {0}},
    {"System V semaphores", SYS_semctl, {0, 0, SEM_INFO_CALL, OUT}, 128, 0, {0}},
    {"System V queues", SYS_msgctl, {0, MSG_INFO_CALL, OUT}, 128, 0, {0}},
};

static const struct query of_thread[] = {
    {"time stamp counter", SYS_prctl, {PR_GET_TSC, OUT}, 8, SYS_prctl, {PR_SET_TSC, ANSWER}},
    {"memory errors", SYS_prctl, {PR_MCE_KILL_GET}, 0, 0, {0}},
    {"death signal", SYS_prctl, {PR_GET_PDEATHSIG, OUT}, 8, SYS_prctl, {PR_SET_PDEATHSIG, ANSWER}},
    {"kept capabilities", SYS_prctl, {PR_GET_KEEPCAPS}, 0, SYS_prctl, {PR_SET_KEEPCAPS, RESULT}},
    {"secure bits", SYS_prctl, {PR_GET_SECUREBITS}, 0, 0, {0}},
    {"timer slack", SYS_prctl, {PR_GET_TIMERSLACK}, 0, 0, {0}},
    {"thread id's address", SYS_prctl, {PR_GET_TID_ADDRESS, OUT}, 8, 0, {0}},
    {"core scheduling", SYS_prctl, {SCHED_CORE, SCHED_CORE_GET, 0, 0, OUT}, 8, 0, {0}},
    {"shadow stack", SYS_arch_prctl, {SHADOW_STACK_STATUS, OUT}, 8, 0, {0}},
    {"priority of input and output", SYS_ioprio_get, {IOPRIO_OF_PROCESS, 0}, 0, SYS_ioprio_set, {IOPRIO_OF_PROCESS, 0, RESULT}},
    {"scheduling", SYS_sched_getattr, {0, OUT, SCHEDULING_BYTES, 0}, SCHEDULING_BYTES, SYS_sched_setattr, {0, BYTES, 0}},
    {"alternative stack", SYS_sigaltstack, {0, OUT}, sizeof(stack_t), 0, {0}},
};

/* ret_answer: where the answers begin; they follow one another. */
static uint32_t ask(struct fl_batch *batch, const struct query *query, size_t queries, uint64_t *ret_answer)
{
  uint32_t first = batch->calls;

  *ret_answer = 0;
  for (size_t i = 0; i < queries; i++) {
    uint64_t argument[5], answer = query[i].answer_bytes ? fl_batch_memory(batch, NULL, query[i].answer_bytes) : 0;

    if (!*ret_answer)
      *ret_answer = answer;
    for (size_t j = 0; j < FL_COUNT(argument); j++)
      argument[j] = query[i].argument[j] == OUT ? answer : query[i].argument[j];
    fl_batch_add(batch, query[i].number, argument[0], argument[1], argument[2], argument[3], argument[4]);
  }
  return first;
}

static void add_answers(const struct fl_batch *batch, uint32_t thread, const struct fl_inside_part *part, const struct query *query, size_t queries, struct fl_facts *facts)
{
  uint64_t answer = part->answer;

  for (size_t i = 0; i < queries; i++) {
    fl_facts_add(facts, &batch->call[part->query + i].result, sizeof batch->call[0].result, "thread %u %s", thread, query[i].name);
    if (query[i].answer_bytes) {
      fl_facts_add(facts, fl_batch_bytes(batch, answer), query[i].answer_bytes, "thread %u %s", thread, query[i].name);
      answer += fl_batch_memory_bytes(query[i].answer_bytes);
    }
  }
}

/* --- what is put back --- */

static bool has_action(int signal)
{
  return signal != SIGKILL && signal != SIGSTOP;
}

static int learn_process(struct fl_batch *batch, struct fl_inside *ret, struct fl_error *err)
{
  uint64_t at[FL_INSIDE_SIGNALS + 1] = {0};
  char path[64], status[STATUS_BYTES];

  fl_batch_begin(batch);
  for (int signal = 1; signal <= FL_INSIDE_SIGNALS; signal++) {
    at[signal] = fl_batch_memory(batch, NULL, sizeof ret->action[0]);
    fl_batch_add(batch, SYS_rt_sigaction, (uint64_t)signal, 0, at[signal], SIGSET_BYTES, 0);
  }
  int r = fl_batch_run(batch, 0, err);
  if (r < 0)
    return r;
  for (int signal = 1; signal <= FL_INSIDE_SIGNALS; signal++)
    memcpy(&ret->action[signal - 1], fl_batch_bytes(batch, at[signal]), sizeof ret->action[0]);
  if (ret->action[SIGTRAP - 1].handler == (uint64_t)(uintptr_t)SIG_IGN)
    return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "snapshot", "it ignores SIGTRAP");
  snprintf(path, sizeof path, "/proc/%d/cwd", batch->tracee->pid);
  ssize_t length = readlink(path, ret->directory, sizeof ret->directory - 1);
  if (length <= 0 || length == sizeof ret->directory - 1)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENAMETOOLONG, "snapshot", "its directory");
  ret->directory[length] = 0;
  snprintf(path, sizeof path, "/proc/%d/status", batch->tracee->pid);
  r = fl_file_read(AT_FDCWD, path, status, sizeof status);
  const char *umask = r < 0 ? NULL : strstr(status, "\nUmask:");
  if (!umask)
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENOENT, "snapshot", "its umask");
  ret->umask = (uint32_t)strtoul(umask + sizeof "\nUmask:", NULL, 8);
  return 0;
}

static int learn_thread(struct fl_batch *batch, uint32_t index, struct fl_inside_thread *ret, struct fl_error *err)
{
  pid_t tid = batch->tracee->thread[index].tid;
  size_t robust_bytes = 0;
  char path[64], comm[32];

  if (syscall(SYS_get_robust_list, tid, &ret->robust, &robust_bytes) < 0)
    return fl_fail_errno(err, "get_robust_list");
  ret->robust_bytes = robust_bytes;
  fl_batch_begin(batch);
  uint64_t stack = fl_batch_memory(batch, NULL, sizeof ret->alternative), address = fl_batch_memory(batch, NULL, sizeof ret->tid_address);
  fl_batch_add(batch, SYS_sigaltstack, 0, stack, 0, 0, 0);
  fl_batch_add(batch, SYS_prctl, PR_GET_TID_ADDRESS, address, 0, 0, 0);
  uint32_t slack = fl_batch_add(batch, SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
  int r = fl_batch_run(batch, index, err);
  if (r < 0)
    return r;
  memcpy(&ret->alternative, fl_batch_bytes(batch, stack), sizeof ret->alternative);
  memcpy(&ret->tid_address, fl_batch_bytes(batch, address), sizeof ret->tid_address);
  ret->slack = batch->call[slack].result;
  snprintf(path, sizeof path, "/proc/%d/task/%d/comm", batch->tracee->pid, tid);
  if ((r = fl_file_read(AT_FDCWD, path, comm, sizeof comm)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -r, "read_comm", "thread %d", tid);
  comm[strcspn(comm, "\n")] = 0;
  memcpy(ret->comm, comm, strnlen(comm, FL_INSIDE_COMM - 1));
  return 0;
}

int fl_inside_learn(struct fl_batch *batch, const struct fl_proc *proc, struct fl_inside *ret, struct fl_error *err)
{
  memset(ret, 0, sizeof *ret);
  int r = fl_inspect_timers(proc->pid, &ret->timers, err);

  if (r == 0 && fl_proc_read(proc->file[FL_PROC_TIMERS], ret->told_timers, sizeof ret->told_timers) < 0)
    r = fl_fail(err, FL_ERR_UNSUPPORTED, E2BIG, "snapshot", "its timers");
  if (r == 0)
    r = fl_heap_learn(batch, proc, &ret->heap, err);
  if (r == 0)
    r = learn_process(batch, ret, err);
  for (uint32_t i = 0; i < batch->tracee->threads && r == 0; i++)
    r = learn_thread(batch, i, &ret->thread[i], err);
  return r;
}

static void put_process(struct fl_batch *batch, struct fl_inside *inside)
{
  static const struct itimerval never;
  static const struct itimerspec stopped;

  inside->process.put = batch->calls;
  uint64_t timer = fl_batch_memory(batch, &never, sizeof never), stop = fl_batch_memory(batch, &stopped, sizeof stopped);
  for (uint64_t which = ITIMER_REAL; which <= ITIMER_PROF; which++)
    fl_batch_add(batch, SYS_setitimer, which, timer, 0, 0, 0);
  for (uint32_t i = 0; i < inside->timers.count; i++)
    fl_batch_add(batch, SYS_timer_settime, (uint64_t)inside->timers.timer[i].id, 0, stop, 0, 0);
  for (int signal = 1; signal <= FL_INSIDE_SIGNALS; signal++)
    if (has_action(signal))
      fl_batch_add(batch, SYS_rt_sigaction, (uint64_t)signal, fl_batch_memory(batch, &inside->action[signal - 1], sizeof inside->action[0]), 0, SIGSET_BYTES, 0);
  fl_batch_add(batch, SYS_chdir, fl_batch_memory(batch, inside->directory, strlen(inside->directory) + 1), 0, 0, 0, 0);
  fl_batch_add(batch, SYS_umask, inside->umask, 0, 0, 0, 0);
  inside->process.done = batch->calls;
  inside->reaped = fl_batch_add(batch, SYS_wait4, (uint64_t)-1, 0, WNOHANG | __WALL, 0, 0);
  inside->process.query = ask(batch, of_process, FL_COUNT(of_process), &inside->process.answer);
}

static bool had_timer(const struct fl_inside *inside, int id)
{
  for (uint32_t i = 0; i < inside->timers.count; i++)
    if (inside->timers.timer[i].id == id)
      return true;
  return false;
}

/* New ones are deleted. Those it had are stopped with the rest, unless they wake a thread, which by then might have looked for its signals already. */
static int put_timers(struct fl_batch *batch, const struct fl_proc *proc, const struct fl_inside *inside, struct fl_error *err)
{
  static const struct itimerspec never;
  struct fl_timers timers = {0};
  char told[FL_INSIDE_TIMERS_BYTES];

  if (fl_proc_read(proc->file[FL_PROC_TIMERS], told, sizeof told) >= 0 && strcmp(told, inside->told_timers) == 0 && !strstr(told, OF_A_THREAD))
    return 0;
  int r = fl_inspect_timers(proc->pid, &timers, err);
  if (r < 0)
    return r;
  fl_batch_begin(batch);
  uint64_t stop = fl_batch_memory(batch, &never, sizeof never);
  for (uint32_t i = 0; i < timers.count; i++)
    if (had_timer(inside, timers.timer[i].id))
      fl_batch_add(batch, SYS_timer_settime, (uint64_t)timers.timer[i].id, 0, stop, 0, 0);
    else
      fl_batch_add(batch, SYS_timer_delete, (uint64_t)timers.timer[i].id, 0, 0, 0, 0);
  return fl_batch_run(batch, 0, err);
}

static void put_thread(struct fl_batch *batch, const struct fl_inside_thread *thread, struct fl_inside_part *part)
{
  static const uint64_t every = ~0ull;
  static const struct timespec now;

  part->put = batch->calls;
  fl_batch_add(batch, SYS_sigaltstack, fl_batch_memory(batch, &thread->alternative, sizeof thread->alternative), 0, 0, 0, 0);
  fl_batch_add(batch, SYS_set_robust_list, thread->robust, thread->robust_bytes, 0, 0, 0);
  fl_batch_add(batch, SYS_prctl, PR_SET_TIMERSLACK, (uint64_t)thread->slack, 0, 0, 0);
  fl_batch_add(batch, SYS_prctl, PR_SET_NAME, fl_batch_memory(batch, thread->comm, sizeof thread->comm), 0, 0, 0);
  part->done = batch->calls;
  fl_batch_add(batch, SYS_set_tid_address, thread->tid_address, 0, 0, 0, 0);
  fl_batch_add(batch, SYS_prctl, SYSCALL_DISPATCH, 0, 0, 0, 0);
  uint64_t set = fl_batch_memory(batch, &every, sizeof every), moment = fl_batch_memory(batch, &now, sizeof now);
  part->taken = fl_batch_add(batch, SYS_rt_sigtimedwait, set, 0, moment, SIGSET_BYTES, 0);
  part->query = ask(batch, of_thread, FL_COUNT(of_thread), &part->answer);
}

/* What a thread waits for differs from time to time, and where answers lie must not: so that comes last. */
static int start(struct fl_batch *batch, struct fl_inside *inside, struct fl_error *err)
{
  int r = 0;

  fl_batch_begin(batch);
  for (uint32_t i = 0; i < batch->tracee->threads; i++) {
    fl_batch_part(batch, i);
    if (i == 0)
      put_process(batch, inside);
    put_thread(batch, &inside->thread[i], &inside->part[i]);
    if (i == 0)                                /* last of its own: it may have to wait for those who look at its memory */
      inside->heap_call = fl_heap_add(batch, &inside->heap);
  }
  for (uint32_t i = 0; i < batch->tracee->threads && r == 0; i++)
    r = fl_batch_forget_wait(batch, i, &inside->thread[i].alternative, err);
  return r < 0 ? r : fl_batch_start(batch, err);
}

int fl_inside_start(struct fl_batch *batch, const struct fl_proc *proc, struct fl_inside *inside, struct fl_error *err)
{
  int r = put_timers(batch, proc, inside, err);

  return r < 0 ? r : start(batch, inside, err);
}

/* A signal was taken, or a child reaped: there may be more. */
static bool found_some(const struct fl_batch *batch, const struct fl_inside *inside)
{
  bool found = batch->call[inside->reaped].result > 0;

  for (uint32_t i = 0; i < batch->tracee->threads; i++)
    found = found || batch->call[inside->part[i].taken].result > 0;
  return found;
}

static int check(const struct fl_batch *batch, const struct fl_inside_part *part, uint32_t thread, struct fl_error *err)
{
  for (uint32_t i = part->put; i < part->done; i++)
    if (batch->call[i].result < 0)
      return fl_fail(err, FL_ERR_UNSUPPORTED, (int)-batch->call[i].result, "rewind", "system call %lu in thread %u", batch->call[i].number, thread);
  return 0;
}

int fl_inside_finish(struct fl_batch *batch, struct fl_inside *inside, struct fl_error *err)
{
  int r = fl_batch_finish(batch, err);

  for (int round = 0; r == 0 && found_some(batch, inside); round++) {
    if (round == ROUNDS_MAX)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "rewind", "signals that wait: not as they were");
    r = start(batch, inside, err);
    if (r == 0)
      r = fl_batch_finish(batch, err);
  }
  inside->heap_result = batch->call[inside->heap_call].result;
  if (r == 0)
    r = check(batch, &inside->process, 0, err);
  if (r < 0)
    return r;
  for (uint32_t i = 0; i < batch->tracee->threads && r == 0; i++)
    r = check(batch, &inside->part[i], i, err);
  return r;
}

void fl_inside_facts(const struct fl_batch *batch, const struct fl_inside *inside, struct fl_facts *facts)
{
  fl_facts_add(facts, &inside->heap_result, sizeof inside->heap_result, "end of the heap");
  add_answers(batch, 0, &inside->process, of_process, FL_COUNT(of_process), facts);
  for (uint32_t i = 0; i < batch->tracee->threads; i++)
    add_answers(batch, i, &inside->part[i], of_thread, FL_COUNT(of_thread), facts);
}

/* --- what is put back only when an answer is another one --- */

int fl_inside_remember(const struct fl_batch *batch, struct fl_inside *inside, struct fl_error *err)
{
  inside->then_calls = malloc(batch->calls * sizeof *inside->then_calls);
  inside->then_bytes = malloc(batch->used + 1);
  if (!inside->then_calls || !inside->then_bytes)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "answers");
  memcpy(inside->then_calls, batch->call, batch->calls * sizeof *inside->then_calls);
  memcpy(inside->then_bytes, batch->byte, batch->used);
  return 0;
}

static bool same_answers(const struct fl_batch *batch, const struct fl_inside *inside, const struct fl_inside_part *part, const struct query *query, size_t queries)
{
  const uint8_t *now = fl_batch_bytes(batch, part->answer);
  size_t bytes = 0;

  for (size_t i = 0; i < queries; i++) {
    bytes += fl_batch_memory_bytes(query[i].answer_bytes);
    if (batch->call[part->query + i].result != inside->then_calls[part->query + i].result)
      return false;
  }
  return memcmp(now, inside->then_bytes + (now - batch->byte), bytes) == 0;
}

/* Small pages as the parasite did it in the template (parasite/parasite.c), with all that is there by then. */
int fl_inside_put_memory(struct fl_batch *batch, const struct fl_inside *inside, struct fl_error *err)
{
  fl_batch_begin(batch);
  fl_batch_add(batch, SYS_munlockall, 0, 0, 0, 0, 0);
  fl_batch_add(batch, SYS_brk, inside->heap.end, 0, 0, 0, 0);
  fl_batch_add(batch, SYS_madvise, 0, FL_ADDRESSES_END, MADV_NOHUGEPAGE, 0, 0);
  return fl_batch_run(batch, 0, err);
}

bool fl_inside_differs(const struct fl_batch *batch, const struct fl_inside *inside)
{
  bool same = inside->heap_result == inside->then_calls[inside->heap_call].result && same_answers(batch, inside, &inside->process, of_process, FL_COUNT(of_process));

  for (uint32_t i = 0; i < batch->tracee->threads && same; i++)
    same = same_answers(batch, inside, &inside->part[i], of_thread, FL_COUNT(of_thread));
  return !same;
}

struct wrong { uint32_t thread; const struct query *query; int64_t result; const uint8_t *bytes; };

/* Of one part: answers that are not what they were and can be made so. The batch's layout is the same each time. */
static uint32_t find_wrong(const struct fl_batch *batch, const struct fl_inside *inside, const struct fl_inside_part *part, uint32_t thread, const struct query *query, size_t queries, struct wrong *ret)
{
  uint64_t answer = part->answer;
  uint32_t found = 0;

  for (size_t i = 0; i < queries; i++) {
    const uint8_t *now = query[i].answer_bytes ? fl_batch_bytes(batch, answer) : NULL, *then = now ? inside->then_bytes + (now - batch->byte) : NULL;
    int64_t result = inside->then_calls[part->query + i].result;

    if (query[i].put && (batch->call[part->query + i].result != result || (now && memcmp(now, then, query[i].answer_bytes) != 0)))
      ret[found++] = (struct wrong){thread, &query[i], result, then};
    answer += now ? fl_batch_memory_bytes(query[i].answer_bytes) : 0;
  }
  return found;
}

static void put_right(struct fl_batch *batch, const struct wrong *wrong)
{
  const struct query *query = wrong->query;
  uint64_t argument[3];

  for (size_t i = 0; i < FL_COUNT(argument); i++) {
    int32_t number = 0;

    if (query->put_argument[i] == ANSWER)
      memcpy(&number, wrong->bytes, sizeof number);
    argument[i] = query->put_argument[i] == RESULT ? (uint64_t)wrong->result : query->put_argument[i] == ANSWER ? (uint64_t)number : query->put_argument[i] == BYTES ?
                  fl_batch_memory(batch, wrong->bytes, query->answer_bytes) : query->put_argument[i];
  }
  fl_batch_add(batch, query->put, argument[0], argument[1], argument[2], 0, 0);
}

/* Kinds of System V objects: what tells of all, of one by its place, and removes one; arguments are the id, for semaphores a number that is not used, and the command. */
static const struct { long call; uint64_t all, one; bool numbered; } objects[] = {{SYS_shmctl, SHM_INFO_CALL, 15, false}, {SYS_semctl, SEM_INFO_CALL, 20, true}, {SYS_msgctl, MSG_INFO_CALL, 13, false}};

static uint32_t add_object(struct fl_batch *batch, size_t kind, uint64_t id, uint64_t command)
{
  uint64_t room = fl_batch_memory(batch, NULL, OBJECT_BYTES);

  return objects[kind].numbered ? fl_batch_add(batch, objects[kind].call, id, 0, command, room, 0) : fl_batch_add(batch, objects[kind].call, id, command, room, 0, 0);
}

static int remove_objects(struct fl_batch *batch, struct fl_error *err)
{
  int64_t last[FL_COUNT(objects)];
  uint32_t first = 0;
  int r;

  fl_batch_begin(batch);
  for (size_t kind = 0; kind < FL_COUNT(objects); kind++)
    add_object(batch, kind, 0, objects[kind].all);
  if ((r = fl_batch_run(batch, 0, err)) < 0)
    return r;
  for (size_t kind = 0; kind < FL_COUNT(objects); kind++)
    last[kind] = batch->call[kind].result < OBJECTS_MAX ? batch->call[kind].result : OBJECTS_MAX;
  fl_batch_begin(batch);
  for (size_t kind = 0; kind < FL_COUNT(objects); kind++)
    for (int64_t place = 0; place <= last[kind]; place++)
      add_object(batch, kind, (uint64_t)place, objects[kind].one);
  if ((r = fl_batch_run(batch, 0, err)) < 0)
    return r;
  fl_autofree int64_t *id = malloc(batch->calls * sizeof *id);
  for (uint32_t i = 0; id && i < batch->calls; i++)
    id[i] = batch->call[i].result;
  fl_batch_begin(batch);
  for (size_t kind = 0; id && kind < FL_COUNT(objects); first += (uint32_t)(last[kind++] + 1))
    for (int64_t place = 0; place <= last[kind]; place++)
      if (id[first + place] >= 0)
        add_object(batch, kind, (uint64_t)id[first + place], IPC_RMID);
  return batch->calls ? fl_batch_run(batch, 0, err) : 0;
}

/* Kinds stand last among the questions, so their answers do. */
static bool has_objects(const struct fl_batch *batch, const struct fl_inside *inside, size_t kind)
{
  size_t at = 0;

  for (size_t i = 0; i < FL_COUNT(of_process) - FL_COUNT(objects) + kind; i++)
    at += fl_batch_memory_bytes(of_process[i].answer_bytes);
  const uint8_t *now = (const uint8_t *)fl_batch_bytes(batch, inside->process.answer) + at;
  return memcmp(now, inside->then_bytes + (now - batch->byte), OBJECT_BYTES) != 0;
}

int fl_inside_repair(struct fl_batch *batch, const struct fl_inside *inside, struct fl_error *err)
{
  uint32_t threads = batch->tracee->threads, count = 0, thread = UINT32_MAX;
  fl_autofree struct wrong *wrong = calloc(FL_COUNT(of_process) + threads * FL_COUNT(of_thread), sizeof *wrong);
  bool removed = false;

  if (!wrong)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "answers");
  count = find_wrong(batch, inside, &inside->process, 0, of_process, FL_COUNT(of_process), wrong);
  for (uint32_t i = 0; i < threads; i++)
    count += find_wrong(batch, inside, &inside->part[i], i, of_thread, FL_COUNT(of_thread), wrong + count);
  for (size_t kind = 0; kind < FL_COUNT(objects); kind++)
    removed = removed || has_objects(batch, inside, kind);
  int r = removed ? remove_objects(batch, err) : 0;
  if (r < 0 || count == 0)
    return r < 0 ? r : removed;
  fl_batch_begin(batch);
  for (uint32_t i = 0; i < count; i++) {
    if (wrong[i].thread != thread)
      fl_batch_part(batch, thread = wrong[i].thread);
    put_right(batch, &wrong[i]);
  }
  r = fl_batch_start(batch, err);
  if (r == 0)
    r = fl_batch_finish(batch, err);
  return r < 0 ? r : 1;
}
