/*
 * One language template: a child process that boots a runtime from the pack inside the base root, warms itself, says READY on its descriptor 3, and
 * is then frozen and infected. From there on it only forks.
 *
 *   BOOTING ── READY frame ──▶ settle, freeze, infect ──▶ READY ── fork requests … ──▶ DEAD (killed, or it died: the owner boots another)
 *
 * It runs trusted code only (our bootstrap and the runtime's own libraries), as sandboxd's user with CAP_SYS_ADMIN and CAP_SYS_PTRACE alone: what setns into pooled
 * sandboxes needs. It lives in a read-only mount namespace with an empty network, under the same seccomp filter that its children inherit.
 */
#ifndef FLASHD_TEMPLATE_H
#define FLASHD_TEMPLATE_H
#include <flashd/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/copies.h"
#include "inject/hot.h"
#include "inject/infect.h"
#include "parasite/parasite.h"
#include "sandbox/pack.h"
#include "sandbox/parts.h"

enum { FL_TEMPLATE_BOOT_MS = 30000 };

enum fl_template_state { FL_TEMPLATE_NONE = 0, FL_TEMPLATE_BOOTING, FL_TEMPLATE_READY, FL_TEMPLATE_DEAD };

struct fl_template {
  enum fl_template_state state;
  uint32_t runtime;                            /* index in the pack */
  pid_t pid;
  int data_fd;                                 /* BOOTING: our end of its descriptor 3 */
  int stderr_fd;                               /* BOOTING: what it complains about, passed on to our own when it is ready or over. A pipe, as instances have */
  struct fl_infection infection;               /* READY */
  uint32_t pinned;                             /* hot pages, see pin.h */
  struct fl_hot *hot;                          /* what its probe has shown, or NULL */
  struct fl_copies *copies;                    /* for those that put its forks back, or NULL: none has been yet */
  uint64_t booted_ns, forks, boot;             /* boot: its number among all boots; of a function template, that of its language template */
  struct fl_growth growth;                     /* of growth_of, 0: of nobody yet */
  pid_t growth_of;
  int32_t known_pid, other_pid;                /* ids of processes that its memory may remember: its forks must not have them by chance. known: the one it takes for its own */
};

/* Starts the process; executable: what argv[0] stands for, without links. The caller waits for data_fd to be readable. */
int fl_template_boot(const struct fl_parts *parts, const struct fl_pack *pack, uint32_t runtime, const char *executable, struct fl_template *ret_template,
                     struct fl_error *err);
/* data_fd is readable: takes the READY frame. On failure: fl_template_kill. */
int fl_template_said_ready(struct fl_template *template, struct fl_error *err);
/* It has said READY, and has settled (settle.h): freezes and infects. Blocks for the few milliseconds that takes. On failure: fl_template_kill. */
int fl_template_freeze(struct fl_template *template, struct fl_error *err);
/* FAST PATH. Sends the request; the plan's descriptors stay the caller's. */
int fl_template_fork(struct fl_template *template, const struct fl_fork *fork, const int *fds, struct fl_error *err);
/* READY. Where its forks grow, looked at once. */
struct fl_growth fl_template_growth(struct fl_template *template);
/* The bell rang: one report, or -EAGAIN, or another -errno when the template is gone. */
int fl_template_report(struct fl_template *template, struct fl_fork_report *ret_report);
/* Kills it, unless it is dead already; the caller reaps. Closes the descriptors. */
void fl_template_kill(struct fl_template *template);
#endif
