/* See frame.h. Layouts: arch/x86/include/uapi/asm/sigcontext.h, Documentation/arch/x86/xstate.rst. */
#include "inject/arch/x86_64/frame.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>

#include "base/cleanup.h"
#include "inject/tracee.h"

enum { RED_ZONE_BYTES = 128, XSTATE_BYTES_MAX = FL_ARCH_XSTATE_MAX, SW_RESERVED_AT = 464, XSTATE_ALIGN = 64, SIGINFO_BYTES = 128 };
enum { UC_FP_XSTATE_FLAG = 1, UC_SIGCONTEXT_SS_FLAG = 2, UC_STRICT_RESTORE_SS_FLAG = 4 };
enum { MAGIC1 = 0x46505853, MAGIC2 = 0x46505845, MAGIC2_BYTES = 4, BREAKPOINT_BYTES = 1 };
/* Kernel-internal results of an interrupted call (include/linux/errno.h). */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

struct sw_bytes {                              /* struct _fpx_sw_bytes */
  uint32_t magic1, extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size, padding[7];
};

struct kernel_ucontext {
  uint64_t flags, link;
  stack_t stack;
  uint64_t registers[24];                      /* r8 … r15 di si bp bx dx ax cx sp ip flags csgsfsss err trapno oldmask cr2 fpstate */
  uint64_t reserved[8];
  uint64_t mask;
};

struct frame {
  uint64_t return_to;
  struct kernel_ucontext context;
  uint8_t siginfo[SIGINFO_BYTES];
};

_Static_assert(offsetof(struct kernel_ucontext, mask) == 40 + 256, "sigcontext is 256 bytes");

void fl_arch_set_call(struct user_regs_struct *regs, uint64_t call_at, long nr, const uint64_t args[6])
{
  regs->rip = call_at;
  regs->rax = (uint64_t)nr;
  regs->orig_rax = (uint64_t)-1;               /* nothing for the kernel to restart */
  regs->rdi = args[0];
  regs->rsi = args[1];
  regs->rdx = args[2];
  regs->r10 = args[3];
  regs->r8 = args[4];
  regs->r9 = args[5];
}

int64_t fl_arch_result(const struct user_regs_struct *regs)
{
  return (int64_t)regs->rax;
}

void fl_arch_set_entry(struct user_regs_struct *regs, uint64_t entry, uint64_t stack_top, uint64_t argument)
{
  regs->rip = entry;
  regs->rsp = stack_top;
  regs->rdi = argument;
  regs->orig_rax = (uint64_t)-1;
  regs->eflags &= ~0x500ul;                    /* trap and direction flags */
}

bool fl_arch_rests(const struct user_regs_struct *regs)
{
  switch ((long)regs->orig_rax) {
  case SYS_poll:
  case SYS_ppoll:
  case SYS_select:
  case SYS_pselect6:
  case SYS_epoll_wait:
  case SYS_epoll_pwait:
  case SYS_epoll_pwait2:
    return true;
  case SYS_futex:
    return !(regs->rsi & FUTEX_PRIVATE_FLAG);   /* the kernel wakes who joins a thread, over the one word that is never private */
  default:
    return false;
  }
}

void fl_arch_rewind_call(struct user_regs_struct *regs)
{
  int64_t result = (int64_t)regs->rax, nr = (int64_t)regs->orig_rax;
  bool restart = result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND || result == -ERESTART_RESTARTBLOCK;
  /* Never restarted by the kernel, yet nothing has happened: waits that a stop alone cut short. */
  bool cut_short = result == -EINTR && (nr == SYS_epoll_wait || nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2 || nr == SYS_rt_sigtimedwait);

  /* The kernel was about to go on with a wait that an earlier stop had cut short, and only it knows which. Its caller is told of an interruption, as in a fork, where it is forgotten. */
  if (nr == SYS_restart_syscall && restart) {
    regs->rax = (uint64_t)-EINTR;
  } else if (nr >= 0 && (restart || cut_short)) {
    regs->rax = regs->orig_rax;
    regs->rip -= 2;
  }
  regs->orig_rax = (uint64_t)-1;
}

bool fl_arch_is_kept(const struct user_regs_struct *regs)
{
  return (int64_t)regs->orig_rax >= 0 && (int64_t)regs->rax == -ERESTART_RESTARTBLOCK;
}

int fl_arch_get_xstate(pid_t tid, uint8_t ret_image[FL_ARCH_XSTATE_MAX], size_t *ret_size, struct fl_error *err)
{
  struct iovec iov = {ret_image, FL_ARCH_XSTATE_MAX};

  if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &iov) < 0)
    return fl_fail_errno(err, "getregset_xstate");
  *ret_size = iov.iov_len;
  return 0;
}

int fl_arch_set_xstate(pid_t tid, const uint8_t *image, size_t size, struct fl_error *err)
{
  struct iovec iov = {(void *)image, size};

  return ptrace(PTRACE_SETREGSET, tid, (void *)NT_X86_XSTATE, &iov) < 0 ? fl_fail_errno(err, "setregset_xstate") : 0;
}

static int read_xstate(pid_t tid, uint8_t *image, size_t *ret_size, struct fl_error *err)
{
  size_t bytes = 0;
  int r = fl_arch_get_xstate(tid, image, &bytes, err);

  if (r < 0)
    return r;
  struct sw_bytes *words = (struct sw_bytes *)(image + SW_RESERVED_AT);
  uint64_t features;
  memcpy(&features, words, sizeof features);   /* the regset has the feature mask here, the frame has it after the magic */
  *words = (struct sw_bytes){MAGIC1, (uint32_t)bytes + MAGIC2_BYTES, features, (uint32_t)bytes, {0}};
  memcpy(image + bytes, &(uint32_t){MAGIC2}, MAGIC2_BYTES);
  *ret_size = bytes + MAGIC2_BYTES;
  return 0;
}

static void fill_registers(uint64_t *to, const struct user_regs_struct *from, uint64_t xstate_at)
{
  const uint64_t values[24] = {
      from->r8, from->r9, from->r10, from->r11, from->r12, from->r13, from->r14, from->r15, from->rdi, from->rsi, from->rbp, from->rbx,
      from->rdx, from->rax, from->rcx, from->rsp, from->rip, from->eflags, from->cs | from->gs << 16 | from->fs << 32 | from->ss << 48,
      0, 0, 0, 0, xstate_at};

  memcpy(to, values, sizeof values);
}

int fl_arch_write_frame(const struct fl_tracee *tracee, uint32_t index, uint64_t sigreturn_at, const stack_t *altstack, uint64_t *ret_frame, struct fl_error *err)
{
  const struct fl_thread *thread = &tracee->thread[index];
  struct user_regs_struct regs = thread->regs;
  fl_autofree uint8_t *image = calloc(1, XSTATE_BYTES_MAX + MAGIC2_BYTES);
  size_t image_bytes = 0;

  if (!image)
    return fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "malloc", "xstate");
  int r = read_xstate(thread->tid, image, &image_bytes, err);
  if (r < 0)
    return r;
  fl_arch_rewind_call(&regs);
  uint64_t image_at = (regs.rsp - RED_ZONE_BYTES - image_bytes) & ~(uint64_t)(XSTATE_ALIGN - 1);
  uint64_t frame_at = ((image_at - sizeof(struct frame)) & ~15ul) - 8;
  struct frame frame = {
      .return_to = sigreturn_at,
      .context = {.flags = UC_FP_XSTATE_FLAG | UC_SIGCONTEXT_SS_FLAG | UC_STRICT_RESTORE_SS_FLAG, .stack = *altstack}};
  if (ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)sizeof frame.context.mask, &frame.context.mask) < 0)
    return fl_fail_errno(err, "getsigmask");
  fill_registers(frame.context.registers, &regs, image_at);
  if ((r = fl_tracee_write(tracee, image_at, image, image_bytes, err)) < 0 || (r = fl_tracee_write(tracee, frame_at, &frame, sizeof frame, err)) < 0)
    return r;
  *ret_frame = frame_at;
  return 0;
}

struct fl_gadgets fl_arch_find_gadgets(const uint8_t *code, uint64_t size)
{
  static const uint8_t call_ret[] = {0x0f, 0x05, 0xc3};                                        /* syscall; ret */
  static const uint8_t call_checked[] = {0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73};  /* syscall; cmp $-4095, %rax; jae …; ret */
  static const uint8_t sigreturn[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};      /* mov $15, %rax; syscall */
  struct fl_gadgets found = {-1, -1};
  const uint8_t *hit;

  if ((hit = memmem(code, size, call_ret, sizeof call_ret)))
    found.call = hit - code;
  for (uint64_t from = 0; found.call < 0 && (hit = memmem(code + from, size - from, call_checked, sizeof call_checked)); from = (uint64_t)(hit - code) + 1)
    if ((uint64_t)(hit - code) + sizeof call_checked + 2 <= size && hit[sizeof call_checked + 1] == 0xc3)
      found.call = hit - code;
  if ((hit = memmem(code, size, sigreturn, sizeof sigreturn)))
    found.sigreturn = hit - code;
  return found;
}

__asm__(
    ".pushsection .rodata\n"
    ".globl fl_arch_batch, fl_arch_batch_end\n"
    ".hidden fl_arch_batch, fl_arch_batch_end\n"
    "fl_arch_batch:\n"
    "1: test %r13, %r13\n"
    "   jz 2f\n"
    "   mov (%r12), %rax\n"
    "   mov 8(%r12), %rdi\n"
    "   mov 16(%r12), %rsi\n"
    "   mov 24(%r12), %rdx\n"
    "   mov 32(%r12), %r10\n"
    "   mov 40(%r12), %r8\n"
    "   mov 48(%r12), %r9\n"
    "   syscall\n"
    "   mov %rax, 56(%r12)\n"
    "   add $64, %r12\n"
    "   dec %r13\n"
    "   jmp 1b\n"
    "2: test %rbx, %rbx\n"
    "   jz 3f\n"
    "   mov %rbx, %rsp\n"
    "   mov $15, %eax\n"                      /* rt_sigreturn */
    "   syscall\n"
    "3: int3\n"
    "fl_arch_batch_end:\n"
    ".popsection\n");

void fl_arch_set_batch(struct user_regs_struct *regs, uint64_t code, uint64_t stack_top, uint64_t calls, uint64_t count, uint64_t frame)
{
  fl_arch_set_entry(regs, code, stack_top, 0);
  regs->r12 = calls;
  regs->r13 = count;
  regs->rbx = frame;
}

int fl_arch_resumption(pid_t tid, const struct user_regs_struct *regs, uint64_t code, uint64_t stack_top, const stack_t *altstack, uint8_t ret[FL_ARCH_RESUMPTION_BYTES], struct fl_error *err)
{
  struct kernel_ucontext context = {.flags = UC_SIGCONTEXT_SS_FLAG | UC_STRICT_RESTORE_SS_FLAG, .stack = *altstack};
  struct user_regs_struct then = *regs;

  _Static_assert(sizeof context <= FL_ARCH_RESUMPTION_BYTES, "it fits");
  if (ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof context.mask, &context.mask) < 0)
    return fl_fail_errno(err, "getsigmask");
  fl_arch_set_entry(&then, code + fl_arch_batch_bytes() - BREAKPOINT_BYTES, stack_top, 0);
  fill_registers(context.registers, &then, 0);
  memcpy(ret, &context, sizeof context);
  return 0;
}
