/* functions/hello-c as a program of its own: what the peers of a cold start run. */
#include <stdio.h>

int main(void) {
  printf("Hello, %s! You asked for %s\n", "world", "/");
  return 0;
}
