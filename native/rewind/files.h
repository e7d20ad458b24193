/* The descriptors of a stopped instance: which there are, what they lead to, and all state of theirs that the kernel tells. What was opened since is closed, counts and contents go back. */
#ifndef FLASHD_REWIND_FILES_H
#define FLASHD_REWIND_FILES_H
#include "inject/batch.h"
#include "rewind/facts.h"

enum { FL_FILES_MAX = 256, FL_FILES_PIPE_BYTES = 64 };

struct fl_files { uint32_t count; int number[FL_FILES_MAX]; uint64_t eventfd[FL_FILES_MAX]; int flags[FL_FILES_MAX]; struct fl_files_pipe { uint32_t bytes; char byte[FL_FILES_PIPE_BYTES]; } pipe[FL_FILES_MAX]; };

/* -E2BIG and the like: it has so many that it cannot be rewound. */
int fl_files_learn(pid_t pid, struct fl_files *ret, struct fl_error *err);
int fl_files_put(struct fl_batch *batch, const struct fl_files *files, struct fl_error *err);
int fl_files_facts(pid_t pid, struct fl_facts *facts, struct fl_error *err);
#endif
