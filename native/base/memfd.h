#ifndef FLASHD_MEMFD_H
#define FLASHD_MEMFD_H

/*
 * Adds the seals (F_SEAL_*). The kernel waits for whoever looks at one of its pages at the moment (it moves them, or counts how often they are used), and gives up with EBUSY after a while
 * (mm/memfd.c, memfd_wait_for_pins): tried again, a limited number of times. Returns 0, or -1 with errno.
 */
int fl_memfd_seal(int fd, int seals);
#endif
