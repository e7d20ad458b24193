/* The descriptors of a stopped instance: which there are, what they lead to, and all state of theirs that the kernel tells. What was opened since is closed, counts and contents go back. */
#ifndef FLASHD_REWIND_FILES_H
#define FLASHD_REWIND_FILES_H
#include "inject/batch.h"
#include "rewind/facts.h"
#include "rewind/proc.h"

enum { FL_FILES_MAX = 256, FL_FILES_PIPE_BYTES = 64 };

struct fl_files_pipe { uint32_t bytes; char byte[FL_FILES_PIPE_BYTES]; };

struct fl_files {
  int pidfd;
  uint32_t count;
  int number[FL_FILES_MAX], info[FL_FILES_MAX], flags[FL_FILES_MAX];           /* info: what the kernel tells of that number, held open */
  uint64_t eventfd[FL_FILES_MAX];
  int64_t position[FL_FILES_MAX];              /* -1: it has none */
  struct { uint64_t bits[2]; } unknown[FL_FILES_MAX];                           /* options that such a socket does not have */
  struct fl_files_pipe pipe[FL_FILES_MAX];
};

/* -E2BIG and the like: it has so many that it cannot be rewound. */
int fl_files_learn(const struct fl_proc *proc, struct fl_files *ret, struct fl_error *err);
/* Closes what was opened since, from inside. Afterwards the numbers that are open are those of the snapshot. */
int fl_files_close(struct fl_batch *batch, const struct fl_proc *proc, const struct fl_files *files, struct fl_error *err);
/* Puts back what can be from outside, and takes the facts. */
int fl_files_put(const struct fl_proc *proc, const struct fl_files *files, struct fl_facts *facts, struct fl_error *err);
#endif
