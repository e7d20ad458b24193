/*
 * Attempts to get out of a sandbox, each by one name. Every attempt answers with the name of the errno that refused it, with "done" when it was let through, or with what it found;
 * which answer is right stands in ../answers.ts. A group is called for by the request's path; the body names the targets on the host, one key=value a line.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>

/* result < 0: refused, errno says why. */
#define TRY(name, call) (errno = 0, tell(name, (long)(call)))

void tell(const char *name, long result);
void say(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A target by its key; the whole report fails when it was not given. */
const char *given(const char *key);
int given_number(const char *key);

void try_calls(void);        /* calls.c: system calls that make namespaces, mounts, rings, modules … */
void try_identity(void);     /* identity.c: ids, capabilities, limits, set-user-id programs, programs from memory */
void try_processes(void);    /* processes.c: of the host, of other functions, of the sandbox itself */
void try_files(void);        /* files.c: the host's files, devices, cgroups, /proc, the function's own directory */
void try_network(void);      /* network.c: sockets of all kinds, and other functions' */
void try_processor(void);    /* processor.c: what only this processor has */
void try_memory(void);       /* memory.c: what the making of the instance could have left in it */
void try_limits(void);       /* limits.c: descriptors, inodes, /tmp, processes, threads */

/* Runs the group of that name with these targets. The report is valid until the next call; NULL when there is no such group. */
const char *attempts_run(const char *group, const char *targets);

/* bombs.c: does not return when there is one of that name. */
void bombs_explode(const char *name);

/* Victim: holds what others must not reach, and tells whether it still does. */
const char *victim_hold(void);
/* The same of what can be held where there is neither a network nor System V and POSIX queues: the light class. */
const char *victim_hold_light(void);
#endif
