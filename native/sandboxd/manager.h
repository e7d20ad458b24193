/* What the service manager is told: sd_notify(3). */
#ifndef FLASHD_MANAGER_H
#define FLASHD_MANAGER_H
#include <flashd/error.h>

/* One datagram to this socket: a path, or "@" and an abstract name. */
int fl_manager_tell(const char *socket_path, const char *state, struct fl_error *err);
#endif
