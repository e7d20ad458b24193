/* x86-64 leaves of the parasite: system calls, a thread's birth, and the last jump out of the region. */
#ifndef FLASHD_PARASITE_ARCH_H
#define FLASHD_PARASITE_ARCH_H
#include <stddef.h>
#include <stdint.h>

#include "parasite/arch/x86_64/numbers.h"

static inline long fl_syscall(long nr, long a, long b, long c, long d, long e) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
}

/* mmap, the one call here with six arguments. */
static inline long fl_map(uint64_t at, uint64_t bytes, uint32_t rights, uint32_t flags, int32_t fd, uint64_t offset) {
  register long r10 __asm__("r10") = (long)flags;
  register long r8 __asm__("r8") = fd;
  register long r9 __asm__("r9") = (long)offset;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"((long)FL_NR_mmap), "D"(at), "S"(bytes), "d"((long)rights), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

/* clone3 whose child starts in fn(self, thread) on the stack given in args. Returns the thread's id or -errno, in the parent only. */
static inline long fl_clone_thread(void *args, size_t size, void (*fn)(void *, void *), void *self, void *thread) {
  register void *r8 __asm__("r8") = self;
  register void *r9 __asm__("r9") = thread;
  long result;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r8, %%rdi\n\t"
      "mov %%r9, %%rsi\n\t"
      "call *%%rdx\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(435L), "D"(args), "S"(size), "d"(fn), "r"(r8), "r"(r9)
      : "rcx", "r11", "memory");
  return result;
}

/*
 * Leaves the region for good: jumps to a `syscall; … ret` of the runtime's own libc with the last system call loaded; its `ret` pops the address of
 * the libc's rt_sigreturn code off the frame, exactly as at the end of a signal handler. So nothing executes in the region once that call is made.
 */
__attribute__((noreturn)) static inline void fl_leave(uint64_t gadget, uint64_t frame, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  register uint64_t r10 __asm__("r10") = d;
  register uint64_t r8 __asm__("r8") = (uint64_t)-1;
  register uint64_t r9 __asm__("r9") = 0;
  __asm__ volatile(
      "mov %[frame], %%rsp\n\t"
      "jmp *%[gadget]"
      :
      : [gadget] "r"(gadget), [frame] "r"(frame), "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
      : "memory");
  __builtin_unreachable();
}
#endif
