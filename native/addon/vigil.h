/*
 * The vigil: while an answer is expected within the time that falling asleep and being woken takes, the loop polls without waiting. A virtual processor that went idle is woken by an
 * interrupt through the hypervisor, which costs more than most handlers run. Kept only for few requests at a time (with more, the loop hardly ever waits), for a limited time each, and
 * given up for a while when it was in vain. Behind an answer it goes on for a moment, for the client's next request, as long as those come at once. After the kernel's halt polling (Documentation/virt/guest-halt-polling.rst).
 */
#ifndef FLASHD_VIGIL_H
#define FLASHD_VIGIL_H
#include <stdbool.h>
#include <uv.h>

void fl_vigil_start(uv_loop_t *loop);
void fl_vigil_stop(void);
/* A request was sent; soon: to an instance that has answered before. Nobody waits for a ping's answer. / An answer has come, or will not come any more. */
enum fl_vigil_kind { FL_VIGIL_PING, FL_VIGIL_SOON, FL_VIGIL_COLD };
void fl_vigil_expect(enum fl_vigil_kind kind);
void fl_vigil_answered(void);
/* Before the loop waits. Whether an answer is about to come, so that what can wait should: for a limited time, however many come one after the other. */
bool fl_vigil_decide(void);
#endif
