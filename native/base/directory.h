/* Directories whose content is somebody else's: names lead nowhere but to what lies in them. */
#ifndef FLASHD_DIRECTORY_H
#define FLASHD_DIRECTORY_H
#include <dirent.h>
#include <stdbool.h>

bool fl_directory_is_entry(const struct dirent *entry);       /* neither "." nor ".." */
/* To be read; -1 and errno. No link is followed. */
int fl_directory_open(int at, const char *name);
/* Whatever rights it has, if it is the caller's own: it has 0700 then. */
int fl_directory_open_any(int at, const char *name);
#endif
