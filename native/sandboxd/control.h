/* The pure half of the control protocol: is this packet a well-formed message of the gateway's? Fuzzed. */
#ifndef FLASHD_CONTROL_H
#define FLASHD_CONTROL_H
#include <flashd/error.h>
#include <flashd/intercept.h>
#include <flashd/protocol.h>
#include <stddef.h>

union fl_request {
  struct fl_header header;
  struct fl_hello hello;
  struct fl_create create;
  struct fl_create_intercepted intercepted;    /* begins as create does */
  struct fl_name_list names;
  struct fl_destroy destroy;
  struct fl_stats stats;
  struct fl_usage usage;
  struct fl_boot boot;
  struct fl_freeze freeze;
  struct fl_forget forget;
  struct fl_pulse pulse;
  struct fl_learn learn;
  struct fl_place place;
  struct fl_rewind rewind;
};

/* Copies the packet into *ret_request when type, size, descriptor count and every field are in range. header.request is filled in
 * whenever the packet was long enough to hold one, so that the refusal can name it. */
int fl_control_decode(const void *bytes, size_t size, size_t fd_count, union fl_request *ret_request, struct fl_error *err);
int fl_limits_check(const struct fl_limits *limits, struct fl_error *err);
int fl_egress_check(uint32_t network, const struct fl_egress_policy *policy, struct fl_error *err);
/* A reply's header. */
struct fl_header fl_control_header(enum fl_message_type type, size_t size, uint64_t request);
#endif
