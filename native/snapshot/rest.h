/* A fork of a template, stopped where all of its threads are its own: none of them still comes back from the parasite, and the main one waits. */
#ifndef FLASHD_REST_H
#define FLASHD_REST_H
#include <flashd/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/tracee.h"

/* What stands in the template about itself, and the address of the rt_sigreturn code its forks leave through. */
int fl_rest_template(pid_t template, uint64_t parasite_at, struct fl_parasite *ret, uint64_t *ret_sigreturn, struct fl_error *err);
/* May take a moment. On failure the caller releases the tracee. */
int fl_rest_stop(pid_t instance, const struct fl_parasite *template, uint64_t sigreturn_at, struct fl_tracee *ret_tracee, struct fl_error *err);
#endif
