/*
 * Decodes what an instance sends (flashd/frame.h). Pure: no I/O, no Node. Everything it is fed is hostile, so the header is judged before
 * anything is allocated, and at most one frame's worth of memory is held.
 *
 *   a frame that lies whole in the bytes fed        → handed out in place, nothing is copied or allocated
 *   a frame that is cut                             → memory of its exact size; the rest may be read straight into it (want, advance)
 */
#ifndef FLASHD_FRAME_DECODER_H
#define FLASHD_FRAME_DECODER_H
#include <flashd/frame.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct fl_reply {                              /* one complete RESPONSE, ERROR or STARTED */
  struct fl_frame frame;
  uint8_t *meta, *body;                        /* meta_length and body_length bytes; body is NULL when there is none */
  size_t body_length;
  bool owned;                                  /* meta and body were malloc'd and are the taker's; else they lie in the bytes fed */
};

struct fl_decoder {
  size_t body_max;
  struct fl_frame frame;                       /* of the begun frame; its first header_have bytes are there */
  size_t header_have;
  uint8_t *meta, *body;                        /* of the begun frame, once its header is complete */
  size_t have;                                 /* bytes of meta and body that are there */
};

enum { FL_DECODER_AREAS = 2 };

void fl_decoder_init(struct fl_decoder *decoder, size_t body_max);
/* Frees a begun frame. The decoder may be used again. */
void fl_decoder_reset(struct fl_decoder *decoder);

/* Takes *ret_used of the bytes. 1: *ret_reply is complete, feed the rest again. 0: all were taken, more are needed.
 * -EPROTO or -ENOMEM: nothing more can be understood, *ret_why says why (a word of a fixed set). */
int fl_decoder_feed(struct fl_decoder *decoder, uint8_t *bytes, size_t length, size_t *ret_used, struct fl_reply *ret_reply,
                    const char **ret_why);

/* Where the rest of a begun frame belongs, at most `most` bytes of it. Returns the number of areas; 0 when the next bytes are to be fed. */
int fl_decoder_want(const struct fl_decoder *decoder, size_t most, struct iovec ret_areas[FL_DECODER_AREAS]);
/* How many bytes a begun frame lacks; 0 when none is begun or its header is incomplete. */
size_t fl_decoder_missing(const struct fl_decoder *decoder);
/* `length` bytes were put into the wanted areas, in order. 1: *ret_reply is complete. */
int fl_decoder_advance(struct fl_decoder *decoder, size_t length, struct fl_reply *ret_reply);
#endif
