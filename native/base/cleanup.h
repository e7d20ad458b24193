/*
 * Cleanup attributes: a variable declared with one of them releases what it holds when it leaves its scope, on every path.
 *
 *   fl_autoclose int fd = open(…);      closed unless negative
 *   fl_autofree char *text = malloc(…);
 *   fl_autofclose FILE *file = …;  fl_autoclosedir DIR *dir = …;
 *   return fl_steal_fd(&fd);            hands ownership to the caller
 *
 * errno survives all of them.
 */
#ifndef FLASHD_CLEANUP_H
#define FLASHD_CLEANUP_H
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define fl_autoclose __attribute__((cleanup(fl_close)))
#define fl_autofree __attribute__((cleanup(fl_free_pointer)))
#define fl_autofclose __attribute__((cleanup(fl_fclose)))
#define fl_autoclosedir __attribute__((cleanup(fl_closedir)))

#define FL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Closes *fd unless negative and sets it to -1. */
static inline void fl_close(int *fd)
{
  if (*fd >= 0) {
    int saved = errno;

    close(*fd);
    errno = saved;
  }
  *fd = -1;
}

static inline int fl_steal_fd(int *fd)
{
  int value = *fd;

  *fd = -1;
  return value;
}

static inline void fl_free_pointer(void *pointer)
{
  int saved = errno;

  free(*(void **)pointer);
  errno = saved;
}

static inline void fl_fclose(FILE **file)
{
  int saved = errno;

  if (*file)
    fclose(*file);
  errno = saved;
}

static inline void fl_closedir(DIR **dir)
{
  int saved = errno;

  if (*dir)
    closedir(*dir);
  errno = saved;
}
#endif
