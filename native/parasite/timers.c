/* See timers.h. A new process counts its timers' ids from 0: those in between are made and deleted again. */
#include "parasite/timers.h"

#include "parasite/sys.h"

struct sigevent { uint64_t value; int32_t signal, notify; uint32_t rest[12]; };

static long make(const struct fl_timer *timer)
{
  struct sigevent event = {.value = timer->value, .signal = timer->signal, .notify = timer->notify};
  int32_t id = -1;

  for (;;) {
    long result = fl_syscall(FL_NR_timer_create, timer->clock, (long)&event, (long)&id, 0, 0);
    if (result < 0 || id == timer->id)
      return result;
    fl_syscall(FL_NR_timer_delete, id, 0, 0, 0, 0);
    if (id > timer->id)
      return -FL_EPROTO;
  }
}

long fl_timers_make(const struct fl_timers *self)
{
  long result = 0;

  for (uint32_t i = 0; i < self->count && result >= 0; i++)
    result = make(&self->timer[i]);
  return result;
}
