/*
 * Turns a fresh clone of a template into an instance: runs the plan's steps in their order, rebuilds the threads, and leaves the region.
 * The address space is still only the template's, which ran trusted code; the runtime's first own instruction comes after the last step.
 */
#include "parasite/child.h"

#include <flashd/light_seal.h>

#include "intercept/handshake.h"
#include "parasite/sys.h"

static const char path_null[] = "/dev/null";
static const char path_function[] = "/function";
static const char path_empty[] = "";
static const char path_here[] = ".";

/* What the child carries through its steps. */
struct child {
  struct fl_parasite *self;
  const struct fl_fork *fork;
  const int32_t *fds;
  struct fl_assignment assignment;
  int32_t assigned[FL_PLAN_FDS_MAX];
  const uint32_t *parked;                      /* the futex word that its threads wait at */
  int knocks_again;                            /* its interception begins only when it has told that it is there */
  struct fl_fork_report report;
  struct fl_started started;
};

static long capabilities_set(uint32_t low, uint32_t high)
{
  struct fl_cap_header header = {FL_CAP_VERSION_3, 0};
  struct fl_cap_data data[2] = {{low, low, 0}, {high, high, 0}};

  return fl_syscall(FL_NR_capset, (long)&header, (long)data, 0, 0, 0);
}

static long place(int32_t fd, int32_t number, int32_t flags)
{
  return fl_syscall(FL_NR_dup3, fd, number, flags, 0, 0);
}

static long mount_bundle(int32_t fd)
{
  long result = fl_syscall(FL_NR_move_mount, fd, (long)path_empty, FL_AT_FDCWD, (long)path_function, FL_MOVE_MOUNT_F_EMPTY_PATH);

  return result < 0 ? result : fl_syscall(FL_NR_chdir, (long)path_function, 0, 0, 0, 0);
}

static long change_root(int32_t fd)
{
  long result = fl_syscall(FL_NR_fchdir, fd, 0, 0, 0, 0);

  return result < 0 ? result : fl_syscall(FL_NR_chroot, (long)path_here, 0, 0, 0, 0);
}

static long open_null(void)
{
  long fd = fl_syscall(FL_NR_open, (long)path_null, FL_O_RDONLY, 0, 0, 0);

  return fd < 0 ? fd : place((int32_t)fd, 0, 0);
}

static long set_limit(uint32_t resource, uint64_t value)
{
  struct fl_rlimit limit = {value, value};

  return fl_syscall(FL_NR_prlimit64, 0, resource, (long)&limit, 0, 0);
}

/* Of root's capabilities in the sandbox's user namespace those stay that later steps need: move_mount for the bundle, clone3 with set_tid for threads. In the light class, none. */
static long change_identity(uint32_t id, uint32_t threads, uint32_t isolation)
{
  long result;

  if ((result = fl_syscall(FL_NR_setgroups, 0, 0, 0, 0, 0)) < 0 || (result = fl_syscall(FL_NR_setresgid, id, id, id, 0, 0)) < 0)
    return result;
  if ((result = fl_syscall(FL_NR_prctl, FL_PR_SET_KEEPCAPS, 1, 0, 0, 0)) < 0 || (result = fl_syscall(FL_NR_setresuid, id, id, id, 0, 0)) < 0)
    return result;
  if (isolation == FL_ISOLATION_LIGHT)
    return capabilities_set(0, 0);
  return capabilities_set(1u << FL_CAP_SYS_ADMIN, threads > 1 ? 1u << (FL_CAP_CHECKPOINT_RESTORE - 32) : 0);
}

static long drop_bounding(uint32_t last)
{
  long result = 0;

  for (uint32_t capability = 0; capability <= last && result >= 0; capability++)
    result = fl_syscall(FL_NR_prctl, FL_PR_CAPBSET_DROP, capability, 0, 0, 0);
  return result;
}

/* A hint: what cannot be had now costs its fault later. */
static long touch(const struct fl_parasite_touches *touches, int sparing)
{
  uint32_t unwanted = sparing && !touches->few ? FL_TOUCH_WRITE : FL_TOUCH_LATE;

  for (uint32_t i = 0; i < touches->count; i++)
    if (touches->touch[i].kind != unwanted)
      fl_syscall(FL_NR_madvise, (long)touches->touch[i].start, touches->touch[i].bytes, touches->touch[i].kind == FL_TOUCH_READ ? FL_MADV_POPULATE_READ : FL_MADV_POPULATE_WRITE, 0, 0);
  return 0;
}

/* What the kernel forgets of a thread at fork. */
static void keep_robust(const struct fl_parasite_thread *thread)
{
  if (thread->robust_list)
    fl_syscall(FL_NR_set_robust_list, (long)thread->robust_list, (long)thread->robust_bytes, 0, 0, 0);
}

/* Only by a thread without capabilities: whoever is registered is sent by the kernel to where its memory says, which is the function's. Here it says nothing. */
static void register_rseq(const struct fl_parasite_thread *thread)
{
  struct fl_rseq *rseq = (struct fl_rseq *)thread->rseq;

  if (!rseq)
    return;
  rseq->section = 0;
  rseq->flags = 0;
  fl_syscall(FL_NR_rseq, (long)rseq, (long)thread->rseq_bytes, 0, (long)thread->rseq_signature, 0);
}

static void thread_main(void *self_pointer, void *thread_pointer)
{
  struct fl_parasite *self = self_pointer;
  const struct fl_parasite_thread *thread = thread_pointer;

  keep_robust(thread);
  fl_syscall(FL_NR_prctl, FL_PR_SET_NAME, (long)thread->comm, 0, 0, 0);
  if (capabilities_set(0, 0) < 0)
    fl_syscall(FL_NR_exit_group, 1, 0, 0, 0, 0);
  register_rseq(thread);
  fl_leave(self->gadget, thread->frame, FL_NR_futex, (uint64_t)&self->parked, FL_FUTEX_WAIT_PRIVATE, 0, 0);
}

/* Until it leaves, a thread stands on a stack in the region: it writes to no page of its own, but in the light class, where its id is a new one. */
static long rebuild_threads(struct fl_parasite *self, uint32_t isolation)
{
  /* glibc keeps a thread's id in its descriptor, at the address the kernel clears when the thread ends. The call returns the caller's. */
  struct fl_parasite_thread *first = &self->thread[0];

  if (first->tid_address)
    *(int32_t *)first->tid_address = (int32_t)fl_syscall(FL_NR_set_tid_address, (long)first->tid_address, 0, 0, 0, 0);
  keep_robust(first);
  for (uint32_t i = 1; i < self->threads; i++) {
    struct fl_parasite_thread *thread = &self->thread[i];
    struct fl_clone_args args = {
        .flags = FL_CLONE_VM | FL_CLONE_FS | FL_CLONE_FILES | FL_CLONE_SIGHAND | FL_CLONE_THREAD | FL_CLONE_SYSVSEM | FL_CLONE_SETTLS | FL_CLONE_CHILD_CLEARTID,
        .child_tid = thread->tid_address, .stack = self->region + self->region_bytes - i * FL_PARASITE_THREAD_STACK_BYTES, .stack_size = FL_PARASITE_THREAD_STACK_BYTES,
        .tls = thread->tls, .set_tid = (uint64_t)&thread->tid, .set_tid_size = 1};

    if (isolation == FL_ISOLATION_LIGHT) {
      args.flags |= FL_CLONE_CHILD_SETTID;
      args.set_tid = args.set_tid_size = 0;
    }
    long result = fl_clone_thread(&args, sizeof args, thread_main, self, thread);

    if (result < 0)
      return result;
  }
  return 0;
}

static long seal(uint32_t threads, uint32_t isolation, const struct fl_assignment *assignment)
{
  static const struct sock_filter filter[] = FL_SEAL_FILTER, light[] = FL_LIGHT_SEAL_FILTER;
  const struct sock_filter more[] = FL_SEAL_REWOUND_FILTER(assignment->growth);
  struct fl_bpf program = {sizeof filter / sizeof filter[0], filter}, stricter = {sizeof more / sizeof more[0], more};
  long flags = threads > 1 ? FL_SECCOMP_FILTER_TSYNC : 0;

  if (isolation == FL_ISOLATION_LIGHT)
    program = (struct fl_bpf){sizeof light / sizeof light[0], light};
  long result = assignment->rewound ? fl_syscall(FL_NR_seccomp, FL_SECCOMP_SET_MODE_FILTER, flags, (long)&stricter, 0, 0) : 0;
  return result < 0 ? result : fl_syscall(FL_NR_seccomp, FL_SECCOMP_SET_MODE_FILTER, flags, (long)&program, 0, 0);   /* the last one: it closes seccomp() */
}

static long send_hello(int32_t link, int32_t fd, int32_t listener)
{
  struct fl_intercept_hello hello = {listener};
  struct { struct fl_cmsg head; int32_t fd, padding; } control = {{sizeof control.head + sizeof control.fd, FL_SOL_SOCKET, FL_SCM_RIGHTS}, fd, 0};
  struct fl_iovec iov = {&hello, sizeof hello};
  struct fl_msghdr message = {.iov = &iov, .iov_count = 1, .control = &control, .control_bytes = sizeof control};

  return fl_syscall(FL_NR_sendmsg, link, (long)&message, FL_MSG_NOSIGNAL, 0, 0);
}

static long install(const struct fl_intercept_program *program, uint32_t threads)
{
  struct fl_bpf bpf = {(uint16_t)program->count, program->filter};
  uint32_t together = program->flags & FL_PROGRAM_LISTENER ? FL_SECCOMP_FILTER_TSYNC | FL_SECCOMP_FILTER_TSYNC_ESRCH : FL_SECCOMP_FILTER_TSYNC;

  return fl_syscall(FL_NR_seccomp, FL_SECCOMP_SET_MODE_FILTER, program->install | (threads > 1 ? together : 0), (long)&bpf, 0, 0);
}

static long knock(void)
{
  return fl_syscall(FL_NR_seccomp, FL_KNOCK, 0, 0, 0, 0);
}

static long send_listener(const struct fl_intercept_program *program, int32_t link, uint32_t threads)
{
  long listener = install(program, threads), result = listener < 0 ? listener : send_hello(link, (int32_t)listener, FL_LISTENER_SENT);

  if (listener >= 0)
    fl_syscall(FL_NR_close, listener, 0, 0, 0, 0);
  fl_syscall(FL_NR_close, link, 0, 0, 0, 0);
  return result < 0 ? result : 0;
}

/* The lowest free number is the pidfd's, and once that is closed again the listener's: no other thread does anything here. */
static long offer_listener(const struct fl_intercept_program *program, int32_t link, int32_t pid, uint32_t threads)
{
  long pidfd = fl_syscall(FL_NR_pidfd_open, pid, 0, 0, 0, 0), result;

  if (pidfd < 0 || (result = send_hello(link, (int32_t)pidfd, (int32_t)pidfd)) < 0 || (result = fl_syscall(FL_NR_close, pidfd, 0, 0, 0, 0)) < 0)
    return pidfd < 0 ? pidfd : result;
  result = install(program, threads);
  if (result >= 0 && result != pidfd)
    return -FL_EPROTO;
  fl_syscall(FL_NR_close, link, 0, 0, 0, 0);
  if (result >= 0)
    result = knock();
  return result < 0 ? result : fl_syscall(FL_NR_close, pidfd, 0, 0, 0, 0);
}

/* A thread that is not parked yet still makes calls of its own making (capset), which a policy may not know. Moving those that wait to another word tells how many they are. */
static void await_threads(struct child *child)
{
  struct fl_parasite *self = child->self;

  child->parked = &self->threads;
  for (uint32_t parked = 1; parked < self->threads;) {
    long moved = fl_syscall(FL_NR_futex, (long)&self->parked, FL_FUTEX_REQUEUE_PRIVATE, 0, FL_PARASITE_THREADS_MAX, (long)child->parked);

    parked += moved > 0 ? (uint32_t)moved : 0;
    if (moved <= 0)
      fl_syscall(FL_NR_sched_yield, 0, 0, 0, 0, 0);
  }
}

static long intercept(struct child *child)
{
  struct fl_intercept_program program;
  int32_t link = child->assigned[FL_ASSIGNED_FDS];
  long bytes = fl_syscall(FL_NR_read, link, (long)&program, sizeof program, 0, 0);

  if (bytes < 0)
    return bytes;
  if (program.count > FL_INTERCEPT_INSTRUCTIONS_MAX || bytes != (long)(__builtin_offsetof(struct fl_intercept_program, filter) + program.count * sizeof program.filter[0]))
    return -FL_EPROTO;
  await_threads(child);
  child->knocks_again = (program.flags & FL_PROGRAM_LISTENER) && (program.flags & FL_PROGRAM_TAIL);
  if (child->knocks_again)
    return offer_listener(&program, link, child->fork->pid, child->self->threads);
  if (program.flags & FL_PROGRAM_LISTENER)
    return send_listener(&program, link, child->self->threads);
  long result = install(&program, child->self->threads);
  fl_syscall(FL_NR_close, link, 0, 0, 0, 0);
  return result > 0 ? -FL_EPROTO : result;
}

/* A hint as well: whoever does not hear of it has one time less to show. */
static void tell_started(const struct fl_started *started)
{
  struct { struct fl_frame head; struct fl_started meta; } frame = {
      {.length = sizeof frame.meta, .meta_length = sizeof frame.meta, .type = FL_FRAME_STARTED}, *started};
  struct fl_iovec iov = {&frame, sizeof frame};
  struct fl_msghdr message = {.iov = &iov, .iov_count = 1};

  fl_syscall(FL_NR_sendmsg, FL_DATA_FD, (long)&message, FL_MSG_NOSIGNAL, 0, 0);
}

/* Each wake-up that returns 1 proves that one more thread was inside the kernel, called from outside the region: only then may it be unmapped. One that is not there yet may
 * need this very processor. */
__attribute__((noreturn)) static void resume(struct child *child)
{
  struct fl_parasite *self = child->self;
  struct fl_fork_report *report = &child->report;

  report->kind = FL_RESUMED;
  fl_report(self, report);
  tell_started(&child->started);
  fl_syscall(FL_NR_close, self->socket, 0, 0, 0, 0);
  fl_syscall(FL_NR_close, self->bell, 0, 0, 0, 0);
  if (child->knocks_again && knock() < 0)
    fl_syscall(FL_NR_exit_group, 1, 0, 0, 0, 0);
  for (uint32_t out = 1; out < self->threads;) {
    long woken = fl_syscall(FL_NR_futex, (long)child->parked, FL_FUTEX_WAKE_PRIVATE, FL_PARASITE_THREADS_MAX, 0, 0);

    out += woken > 0 ? (uint32_t)woken : 0;
    if (woken <= 0)
      fl_syscall(FL_NR_sched_yield, 0, 0, 0, 0, 0);
  }
  if (child->assignment.reserve)
    fl_leave(self->gadget, self->thread[0].frame, FL_NR_mmap, self->region, self->region_bytes, FL_PROT_NONE,
             FL_MAP_PRIVATE | FL_MAP_FIXED | FL_MAP_ANONYMOUS | FL_MAP_NORESERVE);
  fl_leave(self->gadget, self->thread[0].frame, FL_NR_munmap, self->region, self->region_bytes, 0, 0);
}

/* Everything so far was done ahead of need; from here on it is a function's. Without an assignment (sandboxd closed the socket) there is nothing to do. */
static long park(struct child *child, int32_t fd)
{
  uint32_t first = child->fork->plan.known ? FL_ASSIGNED_STDOUT : FL_ASSIGNED_BUNDLE;

  /* Of what travelled with the plan it needs nothing any more. */
  long result = first ? fl_descriptors_close_rest(&child->self->descriptors, fd) : 0;

  child->report.kind = FL_PARKED;
  if (result >= 0)
    result = fl_report(child->self, &child->report);

  child->report.kind = FL_FORK_FAILED;
  if (result < 0)
    return result;
  while ((result = fl_receive(fd, &child->assignment, sizeof child->assignment, child->assigned + first)) == -FL_EINTR)
    ;
  if (result == -FL_EPIPE)
    fl_syscall(FL_NR_exit_group, 0, 0, 0, 0, 0);
  child->started.assigned_ns = fl_now();
  if (first && (child->assignment.intercept || child->assignment.rewound || child->assignment.reserve))
    return -FL_EPROTO;
  return result < 0 ? result : result == FL_ASSIGNED_FDS - (long)first + (child->assignment.intercept != 0) ? 0 : -FL_EPROTO;
}

static long carry(const struct fl_parasite *self)
{
  long result = fl_descriptors_make(&self->descriptors);

  return result < 0 ? result : fl_timers_make(&self->timers);
}

static long run_step(struct child *child, const struct fl_step *step)
{
  struct fl_parasite *self = child->self;
  uint32_t isolation = child->fork->plan.isolation;
  int32_t fd = step->fd == FL_NO_FD ? -1 : child->fds[step->fd];

  switch (step->op) {
  case FL_STEP_SESSION: return fl_syscall(FL_NR_setsid, 0, 0, 0, 0, 0);
  case FL_STEP_NAMESPACES: return fl_syscall(FL_NR_setns, fd, (long)step->value, 0, 0, 0);
  case FL_STEP_ROOT: return change_root(fd);
  case FL_STEP_LANDLOCK: return fl_syscall(FL_NR_landlock_restrict_self, fd, step->arg, 0, 0, 0);
  case FL_STEP_DIRECTORY: return fl_syscall(FL_NR_chdir, (long)path_function, 0, 0, 0, 0);
  case FL_STEP_CARRY: return carry(self);
  case FL_STEP_TOUCH: return touch(&self->touches, step->arg != 0);
  case FL_STEP_PARK: return park(child, fd);
  case FL_STEP_BUNDLE: return mount_bundle(fd < 0 ? child->assigned[FL_ASSIGNED_BUNDLE] : fd);
  case FL_STEP_CGROUP: return fl_syscall(FL_NR_write, fd, (long)"0", 1, 0, 0);
  case FL_STEP_NULL: return open_null();
  case FL_STEP_DESCRIPTOR: return place(child->assigned[step->arg], (int32_t)step->arg, step->arg == FL_DATA_FD ? FL_O_CLOEXEC : 0);
  case FL_STEP_START: return fl_descriptors_start(&self->descriptors);
  case FL_STEP_CLOSE_REST: return fl_descriptors_close_rest(&self->descriptors, child->assignment.intercept ? child->assigned[FL_ASSIGNED_FDS] : -1);
  case FL_STEP_RLIMIT: return set_limit(step->arg, step->value);
  case FL_STEP_LIMIT: return set_limit(step->arg, child->assignment.limit[step->value]);
  case FL_STEP_BOUNDING: return drop_bounding(step->arg);
  case FL_STEP_IDENTITY: return change_identity(step->arg, self->threads, isolation);
  case FL_STEP_DUMPABLE: return fl_syscall(FL_NR_prctl, FL_PR_SET_DUMPABLE, 1, 0, 0, 0);
  case FL_STEP_THREADS: return rebuild_threads(self, isolation);
  case FL_STEP_CAPABILITIES: return capabilities_set(0, 0);
  case FL_STEP_SEAL:
    register_rseq(&self->thread[0]);
    return child->assignment.intercept ? intercept(child) : seal(self->threads, isolation, &child->assignment);
  default: return -FL_EINVAL;
  }
}

static uint32_t phase_of(uint16_t op)
{
  if (op <= FL_STEP_NAMESPACES)
    return FL_PHASE_NAMESPACES;
  if (op <= FL_STEP_TOUCH)
    return FL_PHASE_CGROUP;
  if (op <= FL_STEP_CLOSE_REST)
    return FL_PHASE_DESCRIPTORS;
  if (op <= FL_STEP_DUMPABLE)
    return FL_PHASE_CREDENTIALS;
  return op <= FL_STEP_CAPABILITIES ? FL_PHASE_THREADS : FL_PHASE_SEAL;
}

void fl_child_run(struct fl_parasite *self, const struct fl_fork *fork, const int32_t *fds, uint64_t begun_ns)
{
  struct child child = {.self = self, .fork = fork, .fds = fds, .parked = &self->parked,
                        .report = {.request = fork->request, .kind = FL_FORK_FAILED},
                        .started.end_ns = {[FL_PHASE_ACCEPT] = begun_ns, [FL_PHASE_CLONE] = fl_now()}};
  struct fl_fork_report *report = &child.report;

  fl_syscall(FL_NR_prctl, FL_PR_SET_THP_DISABLE, 0, 0, 0, 0);
  for (uint32_t i = 0; i < fork->plan.steps; i++) {
    const struct fl_step *step = &fork->plan.step[i], *next = step + 1;

    if (step->op == FL_STEP_RESUME)
      resume(&child);
    long result = run_step(&child, step);
    if (result < 0) {
      report->step = step->op;
      report->error = (int32_t)-result;
      break;
    }
    uint32_t phase = phase_of(step->op);
    if (next->op == FL_STEP_PARK || next->op == FL_STEP_RESUME || phase_of(next->op) != phase)
      child.started.end_ns[phase] = fl_now();
  }
  fl_report(self, report);
  fl_syscall(FL_NR_exit_group, 1, 0, 0, 0, 0);
  __builtin_unreachable();
}
