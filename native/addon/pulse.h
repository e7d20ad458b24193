/*
 * The pulse: while requests come now and then, a thread sends one of its own to the gateway's listener every few milliseconds and reads the answer. A tenth of a second without one is enough for
 * the caches, the branch predictors and the TLBs of a shared machine to forget a request's path through the kernel, the gateway and the instance; walking it cold again takes several times
 * as long as walking it. No beat while requests come more often than beats would, and none some time after the last one: an idle machine sleeps.
 */
#ifndef FLASHD_PULSE_H
#define FLASHD_PULSE_H
#include <flashd/error.h>
#include <stddef.h>
#include <stdint.h>

enum { FL_PULSE_REQUEST_MAX = 512 };

/* Beats go to this numeric address; the request's bytes are copied. Once per process, before it is confined. */
int fl_pulse_start(const char *host, uint16_t port, const char *request, size_t length, uint32_t period_ms, struct fl_error *err);
/* Not waited for: the thread may be waiting for an answer of the calling one. */
void fl_pulse_stop(void);
/* FAST PATH: a request was sent to an instance. */
void fl_pulse_used(uint64_t now_ns);
#endif
