/* The attempts as a C function. */
#include <flashd.h>
#include <stdlib.h>
#include <string.h>

#include "attempts.h"

int flashd_handle(const flashd_request *request, flashd_response *response)
{
  size_t length;
  const char *group = flashd_path(request) + 1, *targets = flashd_body(request, &length), *found;

  if (!*group)
    return flashd_printf(response, "no attempt\n");
  bombs_explode(group);
  found = !strcmp(group, "hold") ? victim_hold() : !strcmp(group, "hold-light") ? victim_hold_light() : attempts_run(group, targets);
  return found ? flashd_printf(response, "%s", found) : flashd_fail(response, "no such group");
}
