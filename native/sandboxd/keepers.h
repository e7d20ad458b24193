/* What keepers.c and rested.c share: how a keeper is started, and what it answers to each order. */
#ifndef FLASHD_KEEPERS_H
#define FLASHD_KEEPERS_H
#include "rewind/rewinder.h"
#include "sandboxd/daemon.h"

struct fl_keeper_answer { struct fl_rewind_report report; struct fl_error error; };

int fl_keepers_start(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err);
/* In the keeper of one that goes from function to function, until there is nothing left to do. */
void fl_rested_keep(const struct fl_rewind_target *target, int socket);
#endif
