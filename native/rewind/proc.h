/* Files of /proc that every restore reads: held open, so that reading one is one call. What belongs to the memory reads as empty when the process has executed another program meanwhile. */
#ifndef FLASHD_REWIND_PROC_H
#define FLASHD_REWIND_PROC_H
#include <flashd/error.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "parasite/parasite.h"

/* In the order in which they become facts, as far as they do. */
enum fl_proc_file {
  FL_PROC_OOM_SCORE, FL_PROC_COREDUMP_FILTER,   /* what can be written: fl_proc_put */
  FL_PROC_FIRST_FACT, FL_PROC_AUXV = FL_PROC_FIRST_FACT, FL_PROC_AUTOGROUP, FL_PROC_TIMERS, FL_PROC_NET_DEV, FL_PROC_LOGIN, FL_PROC_SESSION, FL_PROC_ATTRIBUTES, FL_PROC_FACTS,
  FL_PROC_STAT = FL_PROC_FACTS, FL_PROC_LIMITS, FL_PROC_MAPS, FL_PROC_PAGEMAP, FL_PROC_MEM, FL_PROC_FD, FL_PROC_TASK, FL_PROC_FILES
};

enum { FL_PROC_PROCESSES = 64, FL_PROC_NUMBER = 24 };

struct fl_proc {
  pid_t pid;
  int directory, file[FL_PROC_FILES];          /* /proc/PID; -1: there is no such file */
  int status[FL_PARASITE_THREADS_MAX];         /* of each thread, in the snapshot's order */
  int processes;                               /* /proc of the sandbox, as its init has it */
  int64_t processes_at;                        /* where the numbers begin there */
  char oom_score[FL_PROC_NUMBER], coredump_filter[FL_PROC_NUMBER];              /* as they are to be written */
  int process_count, process[FL_PROC_PROCESSES];                /* at the snapshot */
};

extern const char *const fl_proc_names[FL_PROC_FILES];

int fl_proc_open(struct fl_proc *ret, pid_t pid, pid_t init, struct fl_error *err);
int fl_proc_open_thread(struct fl_proc *proc, uint32_t index, pid_t tid, struct fl_error *err);
/* One of the two that a process may write, made what it was: what it is now, terminated. */
void fl_proc_put(const struct fl_proc *proc, enum fl_proc_file file, char ret_now[FL_PROC_NUMBER]);
/* From its beginning, terminated. The length, or a negative errno: -E2BIG when it does not fit. */
ssize_t fl_proc_read(int fd, char *ret_text, size_t size);
/* Numbers out of its stat (proc(5)), by their ascending places there, from the third one on. 0 or a negative errno. */
int fl_proc_stat(const struct fl_proc *proc, const int *fields, size_t count, uint64_t *ret);
/* The same as fl_proc_read, for files whose lines may be long. */
ssize_t fl_proc_read_lines(int fd, char *ret_text, size_t size);
/* The numbers among a directory's names from there on, ascending. How many; -E2BIG when there are more. */
int fl_proc_numbers(int directory, int64_t from, int *ret_numbers, uint32_t most);
#endif
