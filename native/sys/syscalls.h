/*
 * System calls glibc 2.36 has no function for, plus the few sequences everyone would write the same way. Each returns a value >= 0 or a
 * negative errno. glibc itself has the mount API (sys/mount.h), pidfd_open and pidfd_send_signal (sys/pidfd.h), close_range, execveat.
 * Do not include linux/mount.h beside sys/mount.h: they redefine each other's types.
 */
#ifndef FLASHD_SYSCALLS_H
#define FLASHD_SYSCALLS_H
#include <linux/filter.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Like fork for a single-threaded caller: returns in both processes, on the same stack, copied. No atfork handlers run. */
int fl_clone3(const struct clone_args *args);
int fl_pivot_root(const char *new_root, const char *put_old);
int fl_set_no_new_privs(void);
/* SECCOMP_SET_MODE_FILTER; needs no_new_privs or CAP_SYS_ADMIN. flags: SECCOMP_FILTER_FLAG_*. */
int fl_seccomp_filter(const struct sock_fprog *program, unsigned flags);
/*
 * No core dump, neither into a file nor into a program of the host's, which any limit but 1 lets the kernel start (core(5), "Piping core dumps to a program"). Where the caller's hard limit is 0 already, it stays.
 */
int fl_forbid_core_dumps(void);
/* Empties the bounding and ambient sets; needs CAP_SETPCAP. */
int fl_capabilities_bound_none(void);
/* Empties permitted, effective and inheritable. */
int fl_capabilities_drop(void);
/* What the caller has of them, a mask, is what a program has that it executes, and no other; needs CAP_SETPCAP. Root gets them by the bounding set, any other user as ambient ones. */
int fl_capabilities_keep(uint64_t kept);
/* Empties inheritable, and so ambient: what a container's manager has made inheritable would survive an exec in spite of the bounding set (capabilities(7)). */
int fl_capabilities_inherit(uint64_t inheritable);
/* Closes every descriptor from first on. */
int fl_close_from(unsigned first);
/* Closes every descriptor but the first three and these; a negative one is none. */
int fl_close_others(const int *kept, size_t count);
/* Default disposition for every signal, nothing blocked. */
void fl_signals_reset(void);
/* SIGKILL when the parent ends; -ESRCH if it has ended already (getppid() no longer is parent). */
int fl_die_with_parent(pid_t parent);
int fl_pidfd_kill(int pidfd);
#endif
