/* What a template's probe loads and calls: it touches what functions touch, so that these pages are known. */
#include <flashd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int flashd_handle(const flashd_request *request, flashd_response *response) {
  char name[64] = "world", *copy = strdup(flashd_path(request));
  sscanf(flashd_query(request), "name=%63[^&]", name);
  flashd_add_header(response, "content-type", "text/plain; charset=utf-8");
  int result = copy ? flashd_printf(response, "Hello, %s! You asked for %s\n", name, copy) : flashd_fail(response, "out of memory");
  free(copy);
  return result;
}
