/*
 * pid 1 of a sandbox: assembles the sandbox around itself, then does nothing but hold its namespaces.
 *
 *   builder                             init
 *      │ (clone3, then the id maps)         │ joins its cgroups, closes what it inherited
 *      │ 'g' go ───────────────────────────▶│ ids, cgroup namespace, root, hostname, capabilities, PDEATHSIG
 *      │ ◀─────── fl_error [+ scratch_fd]   │ FL_OK, or why not
 *      │ 'l' live ─────────────────────────▶│ closes everything, pauses for good
 *
 * An end of file instead of a letter means that the builder, and with it perhaps sandboxd, is gone: the init exits.
 */
#ifndef FLASHD_INIT_H
#define FLASHD_INIT_H
#include "flashd/error.h"
#include "flashd/protocol.h"
#include "sandbox/parts.h"

enum { FL_INIT_GO = 'g', FL_INIT_LIVE = 'l' };

/* In the fresh clone. socket_fd: SOCK_SEQPACKET to the builder. limits: NULL for the room of the light class, which has no writable layer, and no cgroup of its own. */
__attribute__((noreturn)) void fl_init_run(int socket_fd, const struct fl_cgroup *cgroup, const struct fl_limits *limits);
#endif
