/* What is said on a lifeline (SOCK_SEQPACKET, between the supervisor and each of its two children): one byte a packet. Whatever else comes is not heard. */
#ifndef FLASHD_LIFELINE_H
#define FLASHD_LIFELINE_H

enum {
  FL_LIFELINE_CONTROL = 'C',                   /* from the supervisor, with a descriptor: the control socket from now on */
  FL_LIFELINE_READY = 'R',                     /* from the gateway: it serves … */
  FL_LIFELINE_ALIVE = 'A'                      /* … and its event loop still turns */
};
#endif
