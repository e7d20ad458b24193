/* Handles every signal that can be handled, as its template would, were it to get one. */
#include <flashd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static void escaped(int number)
{
  (void)number;
  prctl(PR_SET_NAME, "escaped");
  for (;;)
    pause();
}

int flashd_init(void)
{
  for (int number = 1; number <= SIGRTMAX; number++)
    signal(number, escaped);
  return 0;
}

int flashd_handle(const flashd_request *request, flashd_response *response)
{
  (void)request;
  return flashd_printf(response, "hello\n");
}
