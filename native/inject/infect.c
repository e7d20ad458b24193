/* See infect.h. */
#include "inject/infect.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/rseq.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "inject/arch/x86_64/frame.h"
#include "inject/descriptors.h"
#include "inject/inspect.h"
#include "inject/tracee.h"
#include "parasite_blob.h"
#include "sys/packet.h"

enum { PAGE_BYTES = 4096, SOCKET_BUFFER_BYTES = 1 << 20 };

#define ROUND_UP(value) (((value) + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1))
#define CODE_BYTES ROUND_UP(sizeof fl_parasite_blob)
#define ARGS_BYTES ROUND_UP(sizeof(struct fl_parasite))
#define STACK_TOP (CODE_BYTES + ARGS_BYTES + FL_PARASITE_STACK_BYTES)
#define REGION_BYTES (STACK_TOP + FL_PARASITE_THREADS_MAX * FL_PARASITE_THREAD_STACK_BYTES)

static int64_t call(struct fl_tracee *tracee, uint32_t thread, struct fl_error *err, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, const char *op)
{
  int64_t result = fl_tracee_call(tracee, thread, nr, (const uint64_t[6]){a, b, c, d, e, 0}, err);

  if (result < 0 && result >= -PAGE_BYTES && err && err->code == FL_OK)
    return fl_fail(err, FL_ERR_TEMPLATE, (int)-result, op, "in thread %d of the template", tracee->thread[thread].tid);
  return result;
}

struct handover { struct msghdr header; struct iovec iov; char byte; union { struct cmsghdr head; char bytes[CMSG_SPACE(2 * sizeof(int))]; } control; };

/* recvmsg on the process's descriptor 3, executed in it: the parasite's descriptors take the lowest numbers that are free. */
static int receive_remotely(struct fl_tracee *tracee, uint64_t scratch, struct fl_parasite *parasite, struct fl_error *err)
{
  struct handover message = {0};
  int numbers[2];

  message.header = (struct msghdr){
      .msg_iov = (struct iovec *)(scratch + offsetof(struct handover, iov)), .msg_iovlen = 1,
      .msg_control = (void *)(scratch + offsetof(struct handover, control)), .msg_controllen = sizeof message.control};
  message.iov = (struct iovec){(void *)(scratch + offsetof(struct handover, byte)), 1};
  int r = fl_tracee_write(tracee, scratch, &message, sizeof message, err);
  if (r < 0)
    return r;
  int64_t received = call(tracee, 0, err, SYS_recvmsg, FL_DATA_FD, scratch, MSG_CMSG_CLOEXEC, 0, 0, "remote_recvmsg");
  if (received < 0)
    return (int)received;
  if ((r = fl_tracee_read(tracee, scratch, &message, sizeof message, err)) < 0)
    return r;
  if (received != 1 || message.control.head.cmsg_type != SCM_RIGHTS || message.control.head.cmsg_len != CMSG_LEN(sizeof numbers))
    return fl_fail(err, FL_ERR_TEMPLATE, EPROTO, "remote_recvmsg", "the parasite's descriptors did not arrive");
  memcpy(numbers, CMSG_DATA(&message.control.head), sizeof numbers);
  parasite->socket = numbers[0];
  parasite->bell = numbers[1];
  fl_descriptors_enclose(&parasite->descriptors, numbers[0], numbers[1]);
  return 0;
}

static int hand_over(struct fl_tracee *tracee, int data_fd, uint64_t scratch, struct fl_parasite *parasite, struct fl_infection *infection, struct fl_error *err)
{
  int pair[2];

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1], bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (bell < 0)
    return fl_fail_errno(err, "eventfd");
  setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  setsockopt(theirs, SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BUFFER_BYTES}, sizeof(int));
  int r = fl_packet_send(data_fd, "", 1, (const int[]){theirs, bell}, 2);
  if (r < 0)
    return fl_fail(err, FL_ERR_TEMPLATE, -r, "sendmsg", "the parasite's descriptors");
  if ((r = receive_remotely(tracee, scratch, parasite, err)) < 0)
    return r;
  infection->socket = fl_steal_fd(&ours);
  infection->bell = fl_steal_fd(&bell);
  return 0;
}

/* Everything the kernel knows of a thread and a fork would lose. */
static int describe_thread(struct fl_tracee *tracee, uint32_t index, uint64_t sigreturn_at, uint64_t scratch, struct fl_parasite_thread *ret, struct fl_error *err)
{
  const struct fl_thread *thread = &tracee->thread[index];
  struct __ptrace_rseq_configuration rseq = {0};
  char path[64], comm[32];
  size_t robust_bytes = 0;
  stack_t altstack;

  *ret = (struct fl_parasite_thread){.tid = thread->tid, .tls = thread->regs.fs_base};
  int64_t r = call(tracee, index, err, SYS_sigaltstack, 0, scratch, 0, 0, 0, "remote_sigaltstack");
  if (r < 0 || (r = fl_tracee_read(tracee, scratch, &altstack, sizeof altstack, err)) < 0)
    return (int)r;
  r = call(tracee, index, err, SYS_prctl, PR_GET_TID_ADDRESS, scratch, 0, 0, 0, "remote_get_tid_address");
  if (r < 0 || (r = fl_tracee_read(tracee, scratch, &ret->tid_address, sizeof ret->tid_address, err)) < 0)
    return (int)r;
  if (syscall(SYS_get_robust_list, thread->tid, &ret->robust_list, &robust_bytes) < 0)
    return fl_fail_errno(err, "get_robust_list");
  ret->robust_bytes = robust_bytes;
  if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread->tid, (void *)sizeof rseq, &rseq) > 0) {
    ret->rseq = rseq.rseq_abi_pointer;
    ret->rseq_bytes = rseq.rseq_abi_size;
    ret->rseq_signature = rseq.signature;
  }
  snprintf(path, sizeof path, "/proc/%d/task/%d/comm", tracee->pid, thread->tid);
  if ((r = fl_file_read(AT_FDCWD, path, comm, sizeof comm)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, (int)-r, "read_comm", "thread %d", thread->tid);
  memcpy(ret->comm, comm, strnlen(comm, FL_COMM_BYTES - 1));
  ret->comm[strcspn(ret->comm, "\n")] = 0;
  return fl_arch_write_frame(tracee, index, sigreturn_at, &altstack, &ret->frame, err);
}

/* Nor is the main thread registered while the parasite uses it: where an interrupted section goes on is said by memory, which in a function's template is the function's (child.c registers forks). */
static int unregister_rseq(struct fl_tracee *tracee, const struct fl_parasite_thread *thread, struct fl_error *err)
{
  if (!thread->rseq)
    return 0;
  int64_t r = call(tracee, 0, err, SYS_rseq, thread->rseq, thread->rseq_bytes, RSEQ_FLAG_UNREGISTER, thread->rseq_signature, 0, "remote_rseq");
  return r < 0 ? (int)r : 0;
}

static int allow_fork(void *context, uint64_t start, uint64_t bytes, struct fl_error *err)
{
  int64_t r = call(context, 0, err, SYS_madvise, start, bytes, MADV_DOFORK, 0, 0, "remote_madvise");

  return r < 0 ? (int)r : 0;
}

/* The other threads' work is done: they end without touching memory that their descendants will need. */
static int dismiss_threads(struct fl_tracee *tracee, struct fl_error *err)
{
  for (uint32_t i = 1; i < tracee->threads; i++) {
    int64_t r = call(tracee, i, err, SYS_set_tid_address, 0, 0, 0, 0, 0, "remote_set_tid_address");

    if (r >= 0)
      r = call(tracee, i, err, SYS_set_robust_list, 0, sizeof(struct robust_list_head), 0, 0, 0, "remote_set_robust_list");
    if (r >= 0)
      r = fl_tracee_end_thread(tracee, i, err);
    if (r < 0)
      return (int)r;
  }
  tracee->threads = 1;
  return 0;
}

static int refuse_armed_timers(struct fl_tracee *tracee, uint64_t scratch, const struct fl_timers *timers, struct fl_error *err)
{
  for (uint32_t i = 0; i < timers->count; i++) {
    struct itimerspec left;
    int64_t r = call(tracee, 0, err, SYS_timer_gettime, (uint64_t)timers->timer[i].id, scratch, 0, 0, 0, "remote_timer_gettime");

    if (r < 0 || (r = fl_tracee_read(tracee, scratch, &left, sizeof left, err)) < 0)
      return (int)r;
    if (left.it_value.tv_sec || left.it_value.tv_nsec)
      return fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "POSIX timer %d of the template is armed", timers->timer[i].id);
  }
  return 0;
}

static int place_parasite(struct fl_tracee *tracee, int data_fd, struct fl_parasite *parasite, struct fl_infection *infection, struct fl_error *err)
{
  uint64_t sigreturn_at;
  int r = fl_inspect_gadgets(tracee, &parasite->gadget, &sigreturn_at, err);

  if (r < 0)
    return r;
  tracee->call_at = parasite->gadget;
  int64_t region = call(tracee, 0, err, SYS_mmap, 0, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, "remote_mmap");
  if (region < 0)
    return (int)region;
  uint64_t args = (uint64_t)region + CODE_BYTES, stack_top = (uint64_t)region + STACK_TOP;
  parasite->region = (uint64_t)region;
  parasite->region_bytes = REGION_BYTES;
  parasite->threads = tracee->threads;
  if ((r = fl_tracee_write(tracee, (uint64_t)region, fl_parasite_blob, sizeof fl_parasite_blob, err)) < 0 ||
      (r = hand_over(tracee, data_fd, args, parasite, infection, err)) < 0)
    return r;
  if ((r = refuse_armed_timers(tracee, args, &parasite->timers, err)) < 0)
    return r;
  for (uint32_t i = 0; i < tracee->threads; i++)
    if ((r = describe_thread(tracee, i, sigreturn_at, args, &parasite->thread[i], err)) < 0)
      return r;
  if ((r = unregister_rseq(tracee, &parasite->thread[0], err)) < 0 || (r = fl_inspect_dontfork(tracee->pid, allow_fork, tracee, err)) < 0 || (r = dismiss_threads(tracee, err)) < 0 ||
      (r = fl_tracee_write(tracee, args, parasite, sizeof *parasite, err)) < 0)
    return r;
  int64_t protected = call(tracee, 0, err, SYS_mprotect, (uint64_t)region, CODE_BYTES, PROT_READ | PROT_EXEC, 0, 0, "remote_mprotect");
  if (protected < 0)
    return (int)protected;
  infection->region = parasite->region;
  infection->region_bytes = parasite->region_bytes;
  infection->parasite_at = args;
  fl_arch_set_entry(&tracee->thread[0].regs, (uint64_t)region + FL_PARASITE_OFFSET_FL_PARASITE_ENTRY, stack_top, args);
  return ptrace(PTRACE_SETREGS, tracee->pid, NULL, &tracee->thread[0].regs) < 0 ? fl_fail_errno(err, "ptrace_setregs") : 0;
}

int fl_infect(pid_t pid, int data_fd, struct fl_infection *ret_infection, struct fl_error *err)
{
  fl_autofree struct fl_tracee *tracee = calloc(1, sizeof *tracee);
  fl_autofree struct fl_parasite *parasite = calloc(1, sizeof *parasite);
  struct fl_infection infection = {.socket = -1, .bell = -1};
  int r;

  if (!tracee || !parasite)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "tracee");
  if ((r = fl_inspect_timers(pid, &parasite->timers, err)) < 0 || (r = fl_inspect_memory(pid, err)) < 0 || (r = fl_tracee_stop(pid, tracee, err)) < 0)
    return r;
  infection.threads = tracee->threads;
  if ((r = fl_descriptors_describe(pid, &parasite->descriptors, err)) == 0)
    r = place_parasite(tracee, data_fd, parasite, &infection, err);
  fl_tracee_release(tracee);
  if (r < 0) {
    fl_close(&infection.socket);
    fl_close(&infection.bell);
    return r;
  }
  infection.call_at = parasite->gadget;
  for (uint32_t i = 0; i < infection.threads; i++)
    infection.tid[i] = parasite->thread[i].tid;
  *ret_infection = infection;
  return 0;
}
