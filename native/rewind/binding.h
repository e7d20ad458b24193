/*
 * What makes a stopped instance a function's, and takes it away again: /function, descriptors 1 to 3, and what epolls watch of those. The steps that a fork does at its assignment
 * (sandbox/plan.h: bundle, descriptor, start), done from outside, since whoever is sealed can do none of them that needs a capability.
 *
 *   mount         by us, in the sandbox's mount namespace; taking it off is refused by the kernel while anybody still holds anything of it, so that it having gone is a proof
 *   descriptors   through a pair of sockets that the instance makes, and that is gone again before it goes on
 */
#ifndef FLASHD_REWIND_BINDING_H
#define FLASHD_REWIND_BINDING_H
#include "inject/batch.h"
#include "parasite/descriptors.h"

enum { FL_BINDING_FDS = 3 };                   /* standard output, standard error, data */

struct fl_binding {
  int own, sandbox;                            /* mount namespaces: ours, the instance's */
  int rest[FL_BINDING_FDS];                    /* what it has when it is nobody's */
  int pair[2];                                 /* the instance's numbers, once it is ready */
};

/* Of an instance that is nobody's. */
int fl_binding_learn(pid_t instance, pid_t init, struct fl_binding *ret, struct fl_error *err);
/* Its descriptors are nobody's: the function may have done anything to them. The batch is open. carried: of its template. */
int fl_binding_take(struct fl_batch *batch, const struct fl_descriptors *carried, struct fl_error *err);
/* The batch is open, and stays so until the next step: what it had goes, and the way for what it gets is made. */
int fl_binding_ready(struct fl_binding *binding, struct fl_batch *batch, const struct fl_descriptors *carried, struct fl_error *err);
/* mount: of its bundle, on top of what is there; -1: that of its function is taken off. */
int fl_binding_put(const struct fl_binding *binding, struct fl_batch *batch, const struct fl_descriptors *carried, const int *fds, int mount, struct fl_error *err);
#endif
