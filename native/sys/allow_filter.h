/* Allow-lists for those of our own processes that need little: what is not listed fails with EPERM, a call by another table (32-bit) is the end. On the calling thread and on every one it will have; needs no_new_privs. */
#ifndef FLASHD_ALLOW_FILTER_H
#define FLASHD_ALLOW_FILTER_H
#include <stddef.h>

enum { FL_ALLOW_FILTER_MAX = 64 };               /* calls in a list */
/* 0 or -errno. */
int fl_allow_filter_apply(const int *allowed, size_t count);
#endif
