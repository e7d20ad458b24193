#include <flashd.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
  struct rlimit limit;
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
  else if (strcmp(place, "shared") == 0)
    shm_open("/kept", O_RDWR | O_CREAT, 0600);
  else if (strcmp(place, "umask") == 0)
    umask(070);
  else if (strcmp(place, "name") == 0)
    prctl(PR_SET_NAME, "kept");
  else if (strcmp(place, "signal") == 0)
    signal(SIGUSR2, SIG_IGN);
  else if (strcmp(place, "alarm") == 0)
    alarm(600);
  else if (strcmp(place, "limit") == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 && (limit.rlim_cur = 77))
    setrlimit(RLIMIT_NOFILE, &limit);
  else if (strcmp(place, "directory") == 0 && chdir("/usr") < 0)
    abort();
}

static int threads(void)
{
  DIR *tasks = opendir("/proc/self/task");
  int count = 0;

  for (const struct dirent *entry; tasks && (entry = readdir(tasks));)
    count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

static int find(const char *place)
{
  char directory[64], name[16] = "";
  struct rlimit limit;

  if (strcmp(place, "variable") == 0)
    return kept[0] != 0;
  if (strcmp(place, "memory") == 0)
    return heap != NULL;
  if (strcmp(place, "environment") == 0)
    return getenv("KEPT") != NULL;
  if (strcmp(place, "file") == 0)
    return file >= 0 || access("/tmp/kept", F_OK) == 0;
  if (strcmp(place, "thread") == 0)
    return threads() > 1;
  if (strcmp(place, "shared") == 0)
    return access("/dev/shm/kept", F_OK) == 0;
  if (strcmp(place, "umask") == 0)
    return umask(022) == 070;
  if (strcmp(place, "name") == 0)
    return prctl(PR_GET_NAME, name) < 0 || strcmp(name, "kept") == 0;
  if (strcmp(place, "signal") == 0)
    return signal(SIGUSR2, SIG_DFL) == SIG_IGN;
  if (strcmp(place, "alarm") == 0)
    return alarm(0) > 0;
  if (strcmp(place, "limit") == 0)
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == 77;
  return strcmp(getcwd(directory, sizeof directory), "/function") != 0;
}

int flashd_handle(const flashd_request *request, flashd_response *response)
{
  const char *path = flashd_path(request), *place = strrchr(path, '/') + 1;

  flashd_add_header(response, "content-type", "application/json");
  if (strcmp(path, "/list") == 0)
    return flashd_printf(response, "[\"variable\", \"memory\", \"environment\", \"file\", \"thread\", \"directory\", \"shared\", \"umask\", \"name\", \"signal\", \"alarm\", \"limit\"]");
  if (strncmp(path, "/hide/", 6) == 0)
    hide(place);
  return flashd_printf(response, "{\"pid\": %d, \"found\": %s}", (int)getpid(), strncmp(path, "/find/", 6) == 0 && find(place) ? "\"kept\"" : "null");
}
