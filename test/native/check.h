/* The C tests' whole harness: a condition that does not hold ends the program with its place and text. */
#ifndef FLASHD_CHECK_H
#define FLASHD_CHECK_H
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)
#endif
