/* What the making of the instance could have left in it: pages of the parasite's, mappings shared with the template, timers, a tracer. */
#include "attempts.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void mappings(void)
{
  FILE *file = fopen("/proc/self/maps", "re");
  int executable = 0, both = 0, shared = 0, memfds = 0, lines = 0;
  char line[512];

  while (file && fgets(line, sizeof line, file)) {
    char flags[8], path[256] = "";
    unsigned long inode;

    if (sscanf(line, "%*s %7s %*s %*s %lu %255[^\n]", flags, &inode, path) < 2)
      continue;
    lines++;
    executable += flags[2] == 'x' && !inode && !strstr(path, "[vdso]") && !strstr(path, "[vsyscall]");
    both += flags[1] == 'w' && flags[2] == 'x';
    shared += flags[1] == 'w' && flags[3] == 's';
    memfds += strstr(path, "memfd:") || strstr(path, "io_uring") || strstr(path, "(deleted)");
  }
  if (file)
    fclose(file);
  say("mappings", "%s", lines > 5 ? "read" : "?");
  say("executable memory that is no file's", "%d", executable);
  say("writable and executable memory", "%d", both);
  say("shared writable memory", "%d", shared);
  say("memory of files without a name", "%d", memfds);
}

static void status(void)
{
  static const char *const lines[] = { "TracerPid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "SigPnd:", "ShdPnd:", "SigBlk:" };
  FILE *file = fopen("/proc/self/status", "re");
  char line[512];

  while (file && fgets(line, sizeof line, file))
    for (size_t index = 0; index < sizeof lines / sizeof *lines; index++)
      if (!strncmp(line, lines[index], strlen(lines[index]))) {
        char *value = line + strlen(lines[index]);

        value += strspn(value, " \t");
        value[strcspn(value, " \n")] = 0;
        say(lines[index], "%s", value);
      }
  if (file)
    fclose(file);
}

void try_memory(void)
{
  FILE *timers = fopen("/proc/self/timers", "re");

  mappings();
  status();
  say("timers", "%s", !timers || fgetc(timers) == EOF ? "none" : "some");
  if (timers)
    fclose(timers);
}
