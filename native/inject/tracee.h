/*
 * A stopped process: every thread seized and interrupted (ptrace), its state readable, system calls executable inside it. Paired verbs:
 * fl_tracee_stop / fl_tracee_release. While it is stopped nothing of it runs but what we make it run.
 * Technique: CRIU's compel and FlashCube; PTRACE_SEIZE, so that no signal is ever visible to the process.
 */
#ifndef FLASHD_TRACEE_H
#define FLASHD_TRACEE_H
#include <flashd/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "parasite/parasite.h"

struct fl_thread {
  pid_t tid;
  struct user_regs_struct regs;                /* as it was stopped */
};

struct fl_tracee {
  pid_t pid;
  uint32_t threads;
  uint64_t call_at;                            /* address of a `syscall` instruction, for fl_tracee_call */
  int memory, tasks;                           /* /proc/PID/mem and /proc/PID/task: whoever stops it often has them open; 0: opened when they are needed */
  bool dies;                                   /* with us, as long as it is stopped */
  struct fl_thread thread[FL_PARASITE_THREADS_MAX];   /* [0] is the main thread */
};

int fl_tracee_stop(pid_t pid, struct fl_tracee *ret_tracee, struct fl_error *err);
/* The same process once more, with what is known of it: pid, memory, tasks, dies. */
int fl_tracee_stop_again(struct fl_tracee *tracee, struct fl_error *err);
/* How many threads the process has, ended ones that are not gone among them; 0: it cannot be told. tasks: /proc/PID/task. */
uint32_t fl_tracee_count(int tasks);
/* Lets every thread go on, wherever its registers point now: a wait that was cut short is made again. */
void fl_tracee_release(struct fl_tracee *tracee);
/* The same for one whose registers were all set, and none to such a wait. */
void fl_tracee_let_go(struct fl_tracee *tracee);

/*
 * A thread whose restartable sequence (linux/rseq.h) is said to be where we have it execute would be sent away from there by the kernel, to code of the process's choice. Afterwards none is said to be anywhere, until
 * the process itself, or somebody who shares its memory, says so.
 */
int fl_tracee_disarm(const struct fl_tracee *tracee, struct fl_error *err);

/* For a thread to stop again: what waitpid says above its low byte. */
int fl_tracee_wait(pid_t tid, struct fl_error *err);
/* Executes one system call in the given thread and waits for it. Returns its result (negative errno included), or fills err and returns it. */
int64_t fl_tracee_call(struct fl_tracee *tracee, uint32_t thread, long nr, const uint64_t args[6], struct fl_error *err);
/* Puts the main thread's registers back as they were; an interrupted system call is made again. */
int fl_tracee_restore(struct fl_tracee *tracee, struct fl_error *err);
/* Sends one thread, never the main one, into exit(2). */
int fl_tracee_end_thread(struct fl_tracee *tracee, uint32_t thread, struct fl_error *err);

int fl_tracee_read(const struct fl_tracee *tracee, uint64_t address, void *bytes, size_t size, struct fl_error *err);
/* Writes through ptrace's access: read-only mappings too. */
int fl_tracee_write(const struct fl_tracee *tracee, uint64_t address, const void *bytes, size_t size, struct fl_error *err);
#endif
