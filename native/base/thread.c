/* See thread.h. */
#include "base/thread.h"

#include <pthread.h>

bool fl_thread_start(void *(*run)(void *context), void *context, size_t stack_bytes)
{
  pthread_attr_t attributes;
  pthread_t thread;

  if (pthread_attr_init(&attributes) != 0)
    return false;
  bool started = pthread_attr_setstacksize(&attributes, stack_bytes) == 0 && pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                 pthread_create(&thread, &attributes, run, context) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}
