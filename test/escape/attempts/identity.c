/* Becoming somebody else, getting powers or room back, and programs that others than the file system provide. */
#include "attempts.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/fsuid.h>
#include <unistd.h>

static long capset_all(void)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct all[2];

  memset(all, 0xff, sizeof all);
  return syscall(SYS_capset, &header, all);
}

static long raise_limit(int resource)
{
  struct rlimit limit;

  if (getrlimit(resource, &limit) < 0 || limit.rlim_max == RLIM_INFINITY)
    return 0;                                    /* there is none */
  limit.rlim_cur = limit.rlim_max = limit.rlim_max + 1;
  return setrlimit(resource, &limit);
}

/* Any limit but 1 has the kernel start the host's program for core dumps. */
static long change_core_limit(rlim_t bytes)
{
  struct rlimit limit = { bytes, bytes };

  syscall(SYS_setrlimit, RLIMIT_CORE, &limit);
  prlimit(0, RLIMIT_CORE, &limit, NULL);
  errno = EPERM;
  return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 1 && limit.rlim_max == 1 ? -1 : 0;
}

/* What the program, executed by run, writes to its standard output. */
static void output_of(const char *name, void (*run)(const char *argument), const char *argument)
{
  char text[512] = "";
  int pair[2], status;
  size_t used = 0;
  ssize_t got;
  pid_t pid;

  if (pipe(pair) < 0 || (pid = fork()) < 0) {
    tell(name, -1);
    return;
  }
  if (pid == 0) {
    dup2(pair[1], 1);
    close(pair[0]);
    close(pair[1]);
    run(argument);
    printf("%s", strerrorname_np(errno));
    fflush(stdout);
    _exit(1);
  }
  close(pair[1]);
  while (used < sizeof text - 1 && (got = read(pair[0], text + used, sizeof text - 1 - used)) > 0)
    used += (size_t)got;
  close(pair[0]);
  waitpid(pid, &status, 0);
  text[strcspn(text, "\n")] = 0;
  say(name, "%s%s", text, WIFSIGNALED(status) ? " killed" : "");
}

static void execute(const char *path)
{
  execl(path, "id", "-u", NULL);
}

static const char look[] = "while read -r key value; do case $key in Uid:|CapPrm:|CapEff:|CapBnd:|NoNewPrivs:|Seccomp:) printf '%s ' $value;; esac; done < /proc/self/status";

/* A program that exists in memory only, and one executed by its descriptor. */
static void execute_memory(const char *path)
{
  int from = open(path, O_RDONLY), to = memfd_create("program", 0);
  struct stat status;

  if (fstat(from, &status) == 0 && sendfile(to, from, NULL, (size_t)status.st_size) == status.st_size)
    syscall(SYS_execveat, to, "", (char *[]){ "sh", "-c", (char *)look, NULL }, environ, AT_EMPTY_PATH);
}

static void execute_descriptor(const char *path)
{
  fexecve(open(path, O_RDONLY), (char *[]){ "sh", "-c", (char *)look, NULL }, environ);
}

/* A copy of its own with set-user-id bits: it can only be its own user's. */
static void execute_own_copy(const char *path)
{
  int from = open(path, O_RDONLY), to = open("/tmp/own", O_CREAT | O_TRUNC | O_WRONLY, 0755);
  struct stat status;

  if (fstat(from, &status) < 0 || sendfile(to, from, NULL, (size_t)status.st_size) != status.st_size || fchmod(to, 06755) < 0)
    return;
  close(to);
  execute("/tmp/own");
}

void try_identity(void)
{
  gid_t zero = 0;
  struct sched_param first = { .sched_priority = 1 };

  TRY("setuid 0", setuid(0));
  TRY("setresuid 0", setresuid(0, 0, 0));
  TRY("setresuid another function", setresuid(2000, 2000, 2000));
  TRY("setgid 0", setgid(0));
  TRY("setgroups", setgroups(1, &zero));
  setfsuid(0);
  say("fsuid", "%d", setfsuid((uid_t)-1));
  TRY("capset all", capset_all());
  TRY("ambient capability", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
  say("bounding set", "%d", prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0));
  TRY("securebits", prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS, 0, 0, 0));
  TRY("no_new_privs off", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  TRY("seccomp off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
  TRY("PR_SET_MM", prctl(PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0));
  TRY("PR_SET_MDWE undone", prctl(65 /* PR_SET_MDWE */, 2, 0, 0, 0));
  TRY("personality ADDR_NO_RANDOMIZE", personality(ADDR_NO_RANDOMIZE));
  TRY("personality READ_IMPLIES_EXEC", personality(READ_IMPLIES_EXEC));
  TRY("personality MMAP_PAGE_ZERO", personality(MMAP_PAGE_ZERO));
  TRY("the page at zero", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
  TRY("higher priority", setpriority(PRIO_PROCESS, 0, -20));
  TRY("real time", sched_setscheduler(0, SCHED_FIFO, &first));
  TRY("real-time i/o", syscall(SYS_ioprio_set, 1, 0, 1 << 13));
  TRY("more descriptors", raise_limit(RLIMIT_NOFILE));
  TRY("more processes", raise_limit(RLIMIT_NPROC));
  TRY("more locked memory", raise_limit(RLIMIT_MEMLOCK));
  TRY("more message queues", raise_limit(RLIMIT_MSGQUEUE));
  TRY("more pending signals", raise_limit(RLIMIT_SIGPENDING));
  TRY("core dumps", change_core_limit(1 << 20));
  TRY("core dumps for the host", change_core_limit(0));
  TRY("limits of the init", prlimit(1, RLIMIT_NOFILE, &(struct rlimit){ 1, 1 }, NULL));
  output_of("set-user-id program of the host", execute, given("setuid"));
  output_of("set-user-id program of its own", execute_own_copy, "/usr/bin/id");
  output_of("program from memory", execute_memory, "/bin/sh");
  output_of("program by its descriptor", execute_descriptor, "/bin/sh");
}
