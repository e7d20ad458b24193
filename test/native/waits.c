/* A wait that is cut short by a stop: at the next stop it can be told what it is, and nothing of it is kept in the kernel for whoever asks to go on with it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject/arch/x86_64/frame.h"
#include "inject/batch.h"
#include "inject/tracee.h"

#include "check.h"

enum { WAIT_MS = 600000, ASLEEP_US = 50000, STOPS = 3, HUNG_SECONDS = 10 };

static const uint8_t syscall_code[] = {0x0f, 0x05, 0xc3};

static pid_t waiting(void)
{
  pid_t pid = fork();

  CHECK(pid >= 0);
  if (pid == 0)
    for (;;)
      poll(NULL, 0, WAIT_MS);
  usleep(ASLEEP_US);
  return pid;
}

static void stop(pid_t pid, struct fl_tracee *tracee)
{
  struct fl_error err = {0};

  CHECK(fl_tracee_stop(pid, tracee, &err) == 0);
}

static void end(pid_t pid)
{
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, __WALL) == pid);
}

static void a_wait_can_be_told_at_every_stop(void)
{
  struct fl_tracee tracee;
  pid_t pid = waiting();

  for (int stops = 0; stops < STOPS; stops++) {
    stop(pid, &tracee);
    CHECK(fl_arch_is_kept(&tracee.thread[0].regs) && tracee.thread[0].regs.orig_rax == SYS_poll);
    fl_tracee_release(&tracee);
    usleep(ASLEEP_US);
  }
  end(pid);
}

/* One call, to show that the part goes on to its end. */
static void forget(struct fl_tracee *tracee, uint64_t home)
{
  static struct fl_batch batch;
  const stack_t none = {.ss_flags = SS_DISABLE};
  struct fl_error err = {0};

  CHECK(fl_batch_open(&batch, tracee, home, &err) == 0);
  fl_batch_part(&batch, 0);
  uint32_t call = fl_batch_add(&batch, SYS_getpid, 0, 0, 0, 0, 0);
  CHECK(fl_batch_forget_wait(&batch, 0, &none, &err) == 0 && fl_batch_start(&batch, &err) == 0 && fl_batch_finish(&batch, &err) == 0);
  CHECK(batch.call[call].result == tracee->pid);
  CHECK(fl_batch_close(&batch, &err) == 0);
}

static void what_the_kernel_kept_of_a_wait_is_forgotten(uint64_t call_at)
{
  uint8_t *home = mmap(NULL, fl_batch_region_bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  struct fl_error err = {0};
  struct fl_tracee tracee;

  CHECK(home != MAP_FAILED && munmap(home, fl_batch_region_bytes()) == 0);
  pid_t pid = waiting();
  stop(pid, &tracee);
  tracee.call_at = call_at;
  forget(&tracee, (uint64_t)(uintptr_t)home);
  CHECK(fl_tracee_call(&tracee, 0, SYS_restart_syscall, (const uint64_t[6]){0}, &err) == -EINTR);      /* else it waits for minutes */
  CHECK(fl_tracee_call(&tracee, 0, SYS_getpid, (const uint64_t[6]){0}, &err) == pid);
  CHECK(fl_tracee_restore(&tracee, &err) == 0);
  fl_tracee_release(&tracee);
  usleep(ASLEEP_US);
  stop(pid, &tracee);
  CHECK(tracee.thread[0].regs.orig_rax == SYS_poll);
  fl_tracee_release(&tracee);
  end(pid);
}

/* What only the kernel knows is not made again: its caller is told of an interruption. */
static void a_wait_that_cannot_be_told_is_interrupted(void)
{
  struct user_regs_struct regs = {.orig_rax = SYS_restart_syscall, .rax = (uint64_t)-516, .rip = 0x1000};

  fl_arch_rewind_call(&regs);
  CHECK(regs.rip == 0x1000 && (int64_t)regs.rax == -4 && (int64_t)regs.orig_rax == -1);
}

int main(void)
{
  uint8_t *code = mmap(NULL, sizeof syscall_code, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  CHECK(code != MAP_FAILED);
  for (size_t i = 0; i < sizeof syscall_code; i++)
    code[i] = syscall_code[i];
  CHECK(mprotect(code, sizeof syscall_code, PROT_READ | PROT_EXEC) == 0);
  alarm(HUNG_SECONDS);
  a_wait_can_be_told_at_every_stop();
  what_the_kernel_kept_of_a_wait_is_forgotten((uint64_t)(uintptr_t)code);
  a_wait_that_cannot_be_told_is_interrupted();
  return 0;
}
