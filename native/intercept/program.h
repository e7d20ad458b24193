/*
 * A policy as a seccomp program: the second filter of an instance, in place of the seal (flashd/seal.h), all of which it holds. It can only narrow, since the kernel takes the strictest answer of all filters.
 * Plain refusals are answered in the kernel; what must be told or looked into goes to the monitor (intercept/monitor.h), which the program needs a listener for.
 *
 *   other architecture → allow (the first filter refuses it)
 *   a tree over the ranges of numbers with the same outcome; numbers that the first filter refuses belong to either neighbour
 *   the outcomes, each once: a start pays 0.4 µs for every instruction, which the kernel translates
 */
#ifndef FLASHD_INTERCEPT_PROGRAM_H
#define FLASHD_INTERCEPT_PROGRAM_H
#include <flashd/error.h>
#include <flashd/intercept.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "intercept/handshake.h"

int fl_intercept_compile(const struct fl_intercept *policy, struct fl_intercept_program *ret_program, struct fl_error *err);
/* What travels of it. */
size_t fl_intercept_program_bytes(const struct fl_intercept_program *program);
#endif
