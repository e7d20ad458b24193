/* Entry: flashd-supervisor or flashd-sandboxd. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/run.h"

int main(int argc, char **argv)
{
  struct fl_options options;
  struct fl_error err = {0};

  if (argc < 1 || fl_options_parse(argc, argv, &options, &err) < 0) {
    dprintf(STDERR_FILENO, "flashd: usage: %s\n", err.detail);
    return 100;
  }
  if (strcmp(argv[0], "flashd-sandboxd") == 0)
    return fl_daemon_run(&options);
  if (strcmp(argv[0], "flashd-supervisor") == 0)
    return fl_supervisor_run(&options, argv);
  dprintf(STDERR_FILENO, "flashd: usage: started as %s; this program is part of flashd and started by `flashd serve`\n", argv[0]);
  return 100;
}
