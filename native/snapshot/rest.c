/* See rest.h. */
#include "snapshot/rest.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "inject/arch/x86_64/frame.h"

enum { LEAVING_TRIES = 100, LEAVING_US = 2000, GADGET_BYTES = 16 };

int fl_rest_template(pid_t pid, uint64_t parasite_at, struct fl_parasite *ret, uint64_t *ret_sigreturn, struct fl_error *err)
{
  struct fl_tracee template = {.pid = pid};
  int r = fl_tracee_read(&template, parasite_at, ret, sizeof *ret, err);

  /* The first word of a frame is where it returns to. */
  return r < 0 ? r : fl_tracee_read(&template, ret->thread[0].frame, ret_sigreturn, sizeof *ret_sigreturn, err);
}

static bool within(uint64_t address, uint64_t start, uint64_t bytes)
{
  return address >= start && address - start < bytes;
}

/* A thread has not come back from the parasite: it is in it, or between the last two of its steps in the libc. */
static bool leaving(const struct fl_tracee *tracee, const struct fl_parasite *template, uint64_t sigreturn_at)
{
  for (uint32_t i = 0; i < tracee->threads; i++) {
    uint64_t at = tracee->thread[i].regs.rip;

    if (within(at, template->region, template->region_bytes) || within(at, template->gadget, GADGET_BYTES) || within(at, sigreturn_at, GADGET_BYTES))
      return true;
  }
  return false;
}

/*
 * The answer may come from another thread than the main one, which on a busy machine has not had its turn since the fork: it gets one. A function that keeps a thread there is refused for it.
 * And the main one may be at work after its answer, with locks that it owns by its id: in a fork it has another, and would wait for itself for ever. It is left to come to rest.
 */
int fl_rest_stop(pid_t instance, const struct fl_parasite *template, uint64_t sigreturn_at, struct fl_tracee *ret_tracee, struct fl_error *err)
{
  for (int tries = 0;; tries++) {
    int r = fl_tracee_stop(instance, ret_tracee, err);
    bool rests = r >= 0 && fl_arch_rests(&ret_tracee->thread[0].regs);

    if (r < 0)
      return r;
    if (rests && !leaving(ret_tracee, template, sigreturn_at))
      return fl_tracee_disarm(ret_tracee, err);
    if (tries == LEAVING_TRIES)
      return rests ? fl_tracee_disarm(ret_tracee, err) : fl_fail(err, FL_ERR_UNSUPPORTED, EBUSY, "freeze", "the function does not come to rest");
    fl_tracee_release(ret_tracee);
    usleep(LEAVING_US);
  }
}
