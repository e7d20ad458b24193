/*
 * Unfinished frames: see unfinished.h.
 */
#include "addon/unfinished.h"

#include <flashd/frame.h>
#include <uv.h>

static struct {
  size_t bytes, bytes_max;
  struct fl_unfinished *first, *last;
} all;

void fl_unfinished_start(size_t response_body_max)
{
  all.bytes_max = FL_UNFINISHED_FRAMES * response_body_max;
  if (all.bytes_max < FL_FRAME_BODY_MAX)       /* what builds make is larger than what functions answer */
    all.bytes_max = FL_FRAME_BODY_MAX;
}

void fl_unfinished_begin(struct fl_unfinished *frame, size_t bytes)
{
  *frame = (struct fl_unfinished){ .bytes = bytes, .since_ns = uv_hrtime(), .before = all.last };
  *(all.last ? &all.last->behind : &all.first) = frame;
  all.last = frame;
  all.bytes += bytes;
}

void fl_unfinished_end(struct fl_unfinished *frame)
{
  if (frame->bytes == 0)
    return;
  *(frame->before ? &frame->before->behind : &all.first) = frame->behind;
  *(frame->behind ? &frame->behind->before : &all.last) = frame->before;
  all.bytes -= frame->bytes;
  frame->bytes = 0;
}

struct fl_unfinished *fl_unfinished_victim(const struct fl_unfinished *own)
{
  if (all.bytes <= all.bytes_max || all.first == own || uv_hrtime() - all.first->since_ns < FL_UNFINISHED_GRACE_MS * 1000000ull)
    return NULL;
  return all.first;
}
