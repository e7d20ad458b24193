/*
 * x86-64 leaves of the injector: registers for a remote call, and the signal frame from which a thread resumes.
 *
 *   stack of a frozen thread                       (addresses grow upwards)
 *   ┌──────────────────────┐ rsp at the freeze
 *   │ red zone, 128 bytes  │
 *   ├──────────────────────┤ 64-byte aligned
 *   │ xstate image + magic │ as PTRACE_GETREGSET gave it, with the words sigreturn checks
 *   ├──────────────────────┤
 *   │ siginfo (zero)       │
 *   │ ucontext             │ registers, altstack, mask, pointer to the xstate
 *   │ address of the libc's│ what `ret` pops in fl_leave(): mov $15, %rax; syscall
 *   │ rt_sigreturn code    │
 *   └──────────────────────┘ fl_parasite_thread.frame
 */
#ifndef FLASHD_FRAME_X86_64_H
#define FLASHD_FRAME_X86_64_H
#include <flashd/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct fl_tracee;

void fl_arch_set_call(struct user_regs_struct *regs, uint64_t call_at, long nr, const uint64_t args[6]);
int64_t fl_arch_result(const struct user_regs_struct *regs);
/* As the thread was stopped: whether it waits for descriptors, or for the end of a thread that does the work, as the main thread of a runtime at rest does. */
bool fl_arch_rests(const struct user_regs_struct *regs);

/* If a system call was interrupted by the stop: makes it happen again, from its start. */
void fl_arch_rewind_call(struct user_regs_struct *regs);
/* The kernel has kept of it how to go on. */
bool fl_arch_is_kept(const struct user_regs_struct *regs);
/* Points the thread at entry(argument) with a stack of its own. */
void fl_arch_set_entry(struct user_regs_struct *regs, uint64_t entry, uint64_t stack_top, uint64_t argument);

/* Writes the frame of the thread into its stack; *ret_frame is what goes into rsp. An interrupted system call is rewound, so that it is made again. */
int fl_arch_write_frame(const struct fl_tracee *tracee, uint32_t thread, uint64_t sigreturn_at, const stack_t *altstack, uint64_t *ret_frame, struct fl_error *err);

/* Looks through code bytes for: a `syscall` that ends in ret, and the rt_sigreturn code. Offsets, or -1. */
struct fl_gadgets { int64_t call, sigreturn; };
struct fl_gadgets fl_arch_find_gadgets(const uint8_t *code, uint64_t size);

/* The code of inject/batch.h, which runs where it is copied to, and registers to start it with: it makes `count` calls at `calls`, resumes by the frame if there is one, and ends behind a breakpoint, its last byte. */
extern const uint8_t fl_arch_batch[], fl_arch_batch_end[];
static inline size_t fl_arch_batch_bytes(void)
{
  return (size_t)(fl_arch_batch_end - fl_arch_batch);
}
void fl_arch_set_batch(struct user_regs_struct *regs, uint64_t code, uint64_t stack_top, uint64_t calls, uint64_t count, uint64_t frame);
/* A frame by which the thread resumes at that breakpoint, with its mask and the altstack, without extended state: as any return from a signal does, it makes the kernel forget which wait it would go on with. */
enum { FL_ARCH_RESUMPTION_BYTES = 512 };
int fl_arch_resumption(pid_t tid, const struct user_regs_struct *regs, uint64_t code, uint64_t stack_top, const stack_t *altstack, uint8_t ret[FL_ARCH_RESUMPTION_BYTES], struct fl_error *err);
/* The extended state of a stopped thread, as the kernel gives and takes it. */
enum { FL_ARCH_XSTATE_MAX = 16384 };
int fl_arch_get_xstate(pid_t tid, uint8_t ret_image[FL_ARCH_XSTATE_MAX], size_t *ret_size, struct fl_error *err);
int fl_arch_set_xstate(pid_t tid, const uint8_t *image, size_t size, struct fl_error *err);
#endif
