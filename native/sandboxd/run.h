/* The two programs in this image: which one runs is decided by argv[0]. Both return an exit status (0, 100 usage, 101 our bug, 111 system). */
#ifndef FLASHD_RUN_H
#define FLASHD_RUN_H
#include "sandboxd/options.h"

enum { FL_LIFELINE_FD = 3 };

int fl_supervisor_run(const struct fl_options *options, char **argv);
int fl_daemon_run(const struct fl_options *options);
#endif
