/* A thread that nobody waits for. */
#ifndef FLASHD_THREAD_H
#define FLASHD_THREAD_H
#include <stdbool.h>
#include <stddef.h>

/* False: there is none, for want of memory or of room for one more. */
bool fl_thread_start(void *(*run)(void *context), void *context, size_t stack_bytes);
#endif
