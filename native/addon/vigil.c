/* See vigil.h. */
#include "addon/vigil.h"

#include <sched.h>
#include <stdint.h>
#include <unistd.h>

enum { EXPECTED_MAX = 2, VIGIL_NS = 250000, VIGIL_NEXT_NS = 60000, VIGIL_COLD_NS = 1000000, IN_VAIN_MAX = 6, NEXT_IN_VAIN_MAX = 8, PROCESSORS_MIN = 3 };

static struct {
  uv_idle_t idle;                              /* while it is active, the loop does not wait */
  bool able, awake;
  uint32_t expected;
  uint32_t in_vain, pause;                     /* in a row; requests to let pass */
  uint32_t next_in_vain;                       /* answers in a row behind which no request came at once */
  uint64_t until_ns, answered_ns, since_ns;
} vigil;

static void on_idle(uv_idle_t *handle)
{
  (void)handle;
  sched_yield();
}

void fl_vigil_start(uv_loop_t *loop)
{
  vigil.able = sysconf(_SC_NPROCESSORS_ONLN) >= PROCESSORS_MIN;
  uv_idle_init(loop, &vigil.idle);
  uv_unref((uv_handle_t *)&vigil.idle);
}

void fl_vigil_stop(void)
{
  uv_close((uv_handle_t *)&vigil.idle, NULL);
}

static void sleep_again(void)
{
  vigil.awake = false;
  vigil.until_ns = 0;
  uv_idle_stop(&vigil.idle);
}

void fl_vigil_expect(enum fl_vigil_kind kind)
{
  uint64_t now = uv_hrtime();

  vigil.expected++;
  if (!vigil.able || kind == FL_VIGIL_PING)
    return;
  if (now - vigil.answered_ns < VIGIL_NEXT_NS)
    vigil.next_in_vain = 0;
  if (vigil.pause > 0)
    vigil.pause--;
  else if (vigil.expected <= EXPECTED_MAX)
    vigil.until_ns = now + (kind == FL_VIGIL_SOON ? VIGIL_NS : VIGIL_COLD_NS);
}

void fl_vigil_answered(void)
{
  vigil.expected--;
  if (!vigil.until_ns)
    return;
  vigil.in_vain = 0;
  if (vigil.expected > 0)
    return;
  vigil.answered_ns = uv_hrtime();
  vigil.until_ns = vigil.next_in_vain < NEXT_IN_VAIN_MAX ? vigil.answered_ns + VIGIL_NEXT_NS : 0;
  vigil.next_in_vain++;
}

bool fl_vigil_decide(void)
{
  uint64_t now = vigil.until_ns ? uv_hrtime() : 0;

  if (vigil.until_ns && vigil.expected <= EXPECTED_MAX && now < vigil.until_ns) {
    if (!vigil.awake)
      uv_idle_start(&vigil.idle, on_idle);
    vigil.awake = true;
  } else if (vigil.until_ns || vigil.awake) {
    if (vigil.until_ns && vigil.expected > 0 && vigil.in_vain < IN_VAIN_MAX)
      vigil.in_vain++;
    if (vigil.until_ns && vigil.expected > 0)
      vigil.pause = (1u << vigil.in_vain) - 1;
    sleep_again();
  }
  if (!vigil.awake || vigil.expected == 0)
    vigil.since_ns = 0;
  else if (!vigil.since_ns)
    vigil.since_ns = now;
  return vigil.since_ns && now - vigil.since_ns < VIGIL_COLD_NS;
}
