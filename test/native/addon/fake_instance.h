/*
 * An instance without a runtime: it serves the data socket on descriptor 3 well (ECHO) or in one of the ways a hostile or broken one would not.
 */
#ifndef FAKE_INSTANCE_H
#define FAKE_INSTANCE_H

enum behaviour {                               /* mirrored in harness.ts */
  ECHO, GARBAGE, HUGE, CUT, BAD_HEADER, SLOW_READER, LOG_FLOOD, ID_ZERO, RESERVED, TWICE, FAULT, SILENT, EXIT_UNREAD,
  HOP_BY_HOP, TOO_LARGE, DRIBBLE, REVERSED, READY_FRAME, META_TOO_LONG, EARLY_FAULT, BAD_STATUS, CLOSE_LOGS, MANY_HEADERS,
  ODD_HEADERS, LARGE_META, SHUT_READ, OUT_OF_BAND, BAD_THEN_GOOD, TELLS_START, TELLS_START_LATE, TELLS_START_TWICE, TELLS_START_SHORT,
  BEGINS, BEGINS_UNASKED
};

/* Until the gateway's end is closed. */
void run_instance(enum behaviour behaviour) __attribute__((noreturn));
#endif
