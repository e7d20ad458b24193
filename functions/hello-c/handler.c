/* Answers any request with a greeting: flashd.h says what else a function can ask and tell. */
#include <flashd.h>
#include <stdio.h>

int flashd_handle(const flashd_request *request, flashd_response *response) {
  char name[64] = "world";
  sscanf(flashd_query(request), "name=%63[^&]", name);
  flashd_add_header(response, "content-type", "text/plain; charset=utf-8");
  return flashd_printf(response, "Hello, %s! You asked for %s\n", name, flashd_path(request));
}
