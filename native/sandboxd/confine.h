/*
 * sandboxd's own confinement, before it starts anything: a deny-list, which the builder, templates, inits and instances inherit, no_new_privs, no core dumps,
 * and memory that nobody else reads.
 */
#ifndef FLASHD_CONFINE_H
#define FLASHD_CONFINE_H
#include "sys/deny_filter.h"

extern const struct fl_deny_filter fl_sandboxd_filter;
int fl_confine(struct fl_error *err);
/* The half that holds for the supervisor too: it reads no message, and the gateway, which has a list of its own, inherits from it. */
int fl_confine_memory(struct fl_error *err);
#endif
