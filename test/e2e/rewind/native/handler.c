#include <flashd.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char kept[8];
static char *heap;
static int file = -1;

static void *rest(void *unused)
{
  (void)unused;
  sleep(20);
  return NULL;
}

static void hide(const char *place)
{
  pthread_t thread;

  if (strcmp(place, "variable") == 0)
    strcpy(kept, "kept");
  else if (strcmp(place, "memory") == 0)
    memset(heap = malloc(32 << 20), 'k', 32 << 20);
  else if (strcmp(place, "environment") == 0)
    setenv("KEPT", "kept", 1);
  else if (strcmp(place, "file") == 0)
    file = open("/tmp/kept", O_WRONLY | O_CREAT, 0600);
  else if (strcmp(place, "thread") == 0)
    pthread_create(&thread, NULL, rest, NULL);
  else if (strcmp(place, "directory") == 0 && chdir("/usr") < 0)
    abort();
}

static int find(const char *place)
{
  char directory[64];

  if (strcmp(place, "variable") == 0)
    return kept[0] != 0;
  if (strcmp(place, "memory") == 0)
    return heap != NULL;
  if (strcmp(place, "environment") == 0)
    return getenv("KEPT") != NULL;
  if (strcmp(place, "file") == 0)
    return file >= 0 || access("/tmp/kept", F_OK) == 0;
  if (strcmp(place, "thread") == 0)
    return access("/proc/self/task", F_OK) < 0;
  return strcmp(getcwd(directory, sizeof directory), "/function") != 0;
}

int flashd_handle(const flashd_request *request, flashd_response *response)
{
  const char *path = flashd_path(request), *place = strrchr(path, '/') + 1;

  flashd_add_header(response, "content-type", "application/json");
  if (strcmp(path, "/list") == 0)
    return flashd_printf(response, "[\"variable\", \"memory\", \"environment\", \"file\", \"thread\", \"directory\"]");
  if (strncmp(path, "/hide/", 6) == 0)
    hide(place);
  return flashd_printf(response, "{\"pid\": %d, \"found\": %s}", (int)getpid(), strncmp(path, "/find/", 6) == 0 && find(place) ? "\"kept\"" : "null");
}
