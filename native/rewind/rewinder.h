/*
 * Rewinding: an instance that has just been forked, and waits for its first frame, is described (the snapshot); after it has served a request it is made into what was described (the restore),
 * or it is not to be used again. Runs in a process of its own for each instance (sandboxd/keepers.c): it may block, and what it looks at is hostile.
 *
 *   restore   stop ─▶ state ─▶ layout ─▶ facts ─▶ memory
 *             │       │        │         │        └ where the kernel itself writes; registers and masks of every thread
 *             │       │        │         └ everything that the kernel tells is compared with the snapshot: a difference ends it
 *             │       │        └ mappings as they were, and pages: helpers are at that since nothing else of it runs, as far as nothing has to be mapped or dropped by itself; that is done now, and its pages then
 *             │       └ threads and processes born since end, the heap ends where it did; handlers, timers, signals, names, descriptors, limits go back, the writable layer is emptied
 *             └ every thread; PTRACE_O_EXITKILL: it does not survive us half restored
 *
 * What needs no tracer more threads of the keeper do at the same time (helper.h): pages, descriptors and files, and what the kernel tells, while the process puts back what only it can.
 */
#ifndef FLASHD_REWINDER_H
#define FLASHD_REWINDER_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/copies.h"

struct fl_rewind_target {
  pid_t template, instance, init;              /* the frozen template it is a fork of; of its sandbox */
  uint64_t parasite_at;                        /* in the template */
  int scratch;                                 /* root of the writable layer, O_PATH */
  struct fl_copies *copies;                    /* of the template's pages, shared with others; or NULL */
};

struct fl_rewind_report { uint32_t own_pages, written_pages, dropped_pages, mappings; uint32_t phase_us[FL_REWIND_PHASES]; };

struct fl_rewinder;

/* The instance goes on afterwards, as if nothing had been. On failure too, unless it ended. */
int fl_rewinder_snapshot(const struct fl_rewind_target *target, struct fl_rewinder **ret, struct fl_rewind_report *ret_report, struct fl_error *err);
/* 0: it is what it was. Else: it is stopped for good, and is to be killed. proven: before it goes on, all of its memory and registers are read and compared byte for byte as well; err names
 * the first difference. */
int fl_rewinder_restore(struct fl_rewinder *rewinder, bool proven, struct fl_rewind_report *ret_report, struct fl_error *err);
/* The same, the first time proven, for one that goes from function to function: what it had of its function is taken from it, and it stays stopped. */
int fl_rewinder_rest(struct fl_rewinder *rewinder, struct fl_rewind_report *ret_report, struct fl_error *err);
/* One that rests becomes a function's and goes on. fds: standard output, standard error, data; mount: of the bundle. Nothing is closed. */
int fl_rewinder_bind(struct fl_rewinder *rewinder, const int *fds, int mount, struct fl_error *err);
#endif
