/*
 * The light class below the parasite: trees, rulesets, the room, and how everything in a sandbox is ended without an init of its own. As root, with Landlock.
 * With the arguments "bench", "full" or "process", and a number: prints the times of building and ending so many of that class.
 */
#include "sandbox/light.h"

#include <flashd/light_seal.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "instance.h"
#include "sandbox/pool.h"

enum { SLOTS = 6, UID_BASE = 0x30000000 };

static const struct fl_limits limits = { .memory_bytes = 64 << 20, .tmp_bytes = 1 << 20, .tmp_inodes = 32, .pids = 16, .cpu_millis = 1000, .descriptors = 64 };
static char name[64];
static uint32_t other_slot;
static pid_t other_pid;
static int outside = -1;                                         /* a directory above every root, as only a broken chroot would give it */

static bool ready(struct fl_parts *parts)
{
  struct fl_parts_levels levels;

  fl_parts_levels(parts, &levels);
  return levels.pooled > 0;
}

static struct fl_parts *open_parts(uint32_t slots)
{
  return parts_open(&(struct fl_parts_config){ .cgroup_name = name, .uid_base = UID_BASE, .slots = slots, .defaults = limits, .binary_fd = -1 });
}

static struct fl_sandbox take(struct fl_parts *parts, uint32_t network)
{
  struct fl_sandbox sandbox;
  struct fl_error error = { 0 };
  int result;

  while ((result = fl_parts_take(parts, network, &sandbox, &error)) == -EAGAIN)
    CHECK(parts_pump(parts, ready, 5000));
  if (result < 0)
    fprintf(stderr, "take: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
  CHECK(result == 0);
  return sandbox;
}

static uid_t uid_of(uint32_t slot)
{
  return UID_BASE + slot * FL_UIDS_PER_SLOT + FL_INNER_UID;
}

/* The steps of plan.h. */
__attribute__((noreturn)) static void become(const struct fl_sandbox *sandbox, void (*probe)(const struct fl_sandbox *))
{
  static const struct sock_filter seal[] = FL_LIGHT_SEAL_FILTER;
  const struct sock_fprog program = { .len = FL_COUNT(seal), .filter = (struct sock_filter *)seal };
  uid_t uid = uid_of(sandbox->slot);

  CHECK(setsid() > 0);
  CHECK(setns(sandbox->init_pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP) == 0);
  for (uint32_t index = 0; index < sandbox->cgroup.joins; index++)
    CHECK(write(sandbox->cgroup.join_fds[index], "0", 1) == 1);
  CHECK((outside = open("/", O_PATH | O_DIRECTORY)) >= 0);
  CHECK(fchdir(sandbox->root_fd) == 0 && chroot(".") == 0);
  CHECK(fl_capabilities_bound_none() == 0);
  CHECK(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
  CHECK(fl_capabilities_drop() == 0 && fl_set_no_new_privs() == 0);
  CHECK(syscall(SYS_landlock_restrict_self, sandbox->ruleset_fd, 0) == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0 && chdir("/function") == 0);
  CHECK(fl_seccomp_filter(&program, 0) == 0);
  probe(sandbox);
  _exit(0);
}

struct start { void (*probe)(const struct fl_sandbox *); };

static void started(const struct fl_sandbox *sandbox, const void *start)
{
  become(sandbox, ((const struct start *)start)->probe);
}

static pid_t start(const struct fl_sandbox *sandbox, void (*probe)(const struct fl_sandbox *))
{
  return instance_clone(sandbox, started, &(struct start){ probe });
}

#define REFUSED(why, call) CHECK((call) < 0 && errno == (why))

static struct sockaddr_un abstract(const char *what)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", what);
  return address;
}

static void probe_own(const struct fl_sandbox *sandbox)
{
  char text[8];
  int fd;

  CHECK(getuid() == uid_of(sandbox->slot) && getgid() == getuid());
  CHECK((fd = open("/tmp/mine", O_RDWR | O_CREAT, 0600)) >= 0 && write(fd, "mine", 4) == 4 && pread(fd, text, 4, 0) == 4);
  CHECK(mkdir("/tmp/a", 0700) == 0 && rename("/tmp/mine", "/tmp/a/mine") == 0);
  CHECK((fd = open("/home/function/x", O_WRONLY | O_CREAT, 0600)) >= 0 && (fd = open("/dev/shm/x", O_RDWR | O_CREAT, 0600)) >= 0 && (fd = open("/var/tmp/x", O_RDWR | O_CREAT, 0600)) >= 0);
  CHECK((fd = open("/dev/null", O_WRONLY | O_TRUNC)) >= 0 && write(fd, "x", 1) == 1);
  CHECK(access("/usr/bin/true", X_OK) == 0 && access("/function/doc", F_OK) == 0);
  CHECK(open("/function/made", O_WRONLY | O_CREAT, 0600) < 0 && open("/usr/made", O_WRONLY | O_CREAT, 0600) < 0 && open("/made", O_WRONLY | O_CREAT, 0600) < 0);
  if (fork() == 0)
    execl("/usr/bin/true", "true", (char *)NULL);
  int status = -1;
  CHECK(wait(&status) > 0 && status == 0);
}

/* What stands between two of the class, each thing by itself: here the chroot is broken. */
static void probe_others(const struct fl_sandbox *sandbox)
{
  char path[64];
  struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr = { htonl(INADDR_LOOPBACK) } };
  struct sockaddr_un address = abstract("other");
  int fd;

  CHECK(sandbox->slot != other_slot);
  snprintf(path, sizeof path, "slots/%u/tmp/secret", other_slot);
  REFUSED(EACCES, openat(outside, path, O_RDONLY));
  snprintf(path, sizeof path, "slots/%u/root/function/doc", other_slot);
  REFUSED(EACCES, openat(outside, path, O_RDONLY | O_DIRECTORY));
  snprintf(path, sizeof path, "slots/%u/tmp/made", other_slot);
  REFUSED(EACCES, openat(outside, path, O_WRONLY | O_CREAT, 0600));
  REFUSED(EACCES, openat(outside, "base/etc/passwd", O_RDONLY));
  REFUSED(EACCES, openat(outside, "slots", O_RDONLY | O_DIRECTORY));
  snprintf(path, sizeof path, "/proc/%d", other_pid);
  REFUSED(ENOENT, access(path, F_OK));
  REFUSED(EPERM, kill(other_pid, SIGKILL));
  REFUSED(EPERM, kill(1, SIGKILL));
  REFUSED(EPERM, setresuid(uid_of(other_slot), -1, -1));
  CHECK((fd = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
  REFUSED(EPERM, connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6));
  CHECK((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
  REFUSED(EACCES, bind(fd, (struct sockaddr *)&loopback, sizeof loopback));
  REFUSED(EACCES, connect(fd, (struct sockaddr *)&loopback, sizeof loopback));
  CHECK((fd = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
  REFUSED(ENETUNREACH, connect(fd, (struct sockaddr *)&loopback, sizeof loopback));
}

static void probe_seal(const struct fl_sandbox *sandbox)
{
  static const int closed[] = {
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
    SYS_setns, SYS_chroot, SYS_move_mount, SYS_io_uring_setup, SYS_io_uring_register,
  };

  (void)sandbox;
  for (size_t index = 0; index < FL_COUNT(closed); index++)
    REFUSED(EPERM, syscall(closed[index], -1, -1, -1, -1, -1));
  REFUSED(ENOSYS, syscall(SYS_clone3, NULL, 0));
  /* Neighbours of what is closed. */
  REFUSED(EBADF, syscall(SYS_dup, -1));
  CHECK(syscall(SYS_getpid) > 0 && syscall(SYS_sched_yield) == 0 && syscall(SYS_uname, NULL) < 0 && errno == EFAULT);
  REFUSED(EBADF, syscall(SYS_fcntl, -1, F_GETFD));
  REFUSED(EINVAL, syscall(SYS_epoll_create1, -1));
}

/* Holds what others try to reach. */
static void probe_hold(const struct fl_sandbox *sandbox)
{
  struct sockaddr_un address = abstract("other");
  int fd = open("/tmp/secret", O_WRONLY | O_CREAT, 0666), server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

  (void)sandbox;
  CHECK(fd >= 0 && chmod("/tmp/secret", 0666) == 0);
  CHECK(bind(server, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6) == 0 && listen(server, 4) == 0);
  CHECK(connect(client, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6) == 0);         /* within one sandbox: done */
  CHECK(open("/dev/shm/held", O_WRONLY | O_CREAT, 0600) >= 0);
  pause();
}

/* Until it holds it all. */
static void await_hold(const struct fl_sandbox *sandbox)
{
  struct stat status;

  for (int turn = 0; turn < 5000 && (fstatat(sandbox->scratch_fd, "shm/held", &status, 0) < 0); turn++)
    usleep(1000);
  CHECK(fstatat(sandbox->scratch_fd, "shm/held", &status, 0) == 0);
}

/* Ignores what can be ignored, leaves its session, and forks for as long as it lives. */
static void probe_bomb(const struct fl_sandbox *sandbox)
{
  (void)sandbox;
  signal(SIGTERM, SIG_IGN);
  for (int depth = 0; depth < 3; depth++)
    if (fork() == 0)
      setsid();
  for (;;)
    if (fork() == 0 && fork() == 0)
      setsid();
}

static int processes_of(uid_t uid)
{
  char command[64], text[16] = "";
  FILE *output;

  snprintf(command, sizeof command, "ps -eo uid= | grep -c '^ *%u$'", uid);
  output = popen(command, "r");
  CHECK(output && fgets(text, sizeof text, output));
  pclose(output);
  return atoi(text);
}

static void bundle(struct fl_parts *parts, const struct fl_sandbox *sandbox)
{
  int tree = instance_bundle("/usr/share");

  CHECK(fl_parts_bundle(parts, sandbox, tree, NULL) == 0);
  close(tree);
  CHECK(access("/proc/self/exe", F_OK) == 0 && access("/slots", F_OK) < 0);     /* back where it was */
}

static void run(struct fl_parts *parts, void (*probe)(const struct fl_sandbox *))
{
  struct fl_sandbox sandbox = take(parts, FL_NETWORK_LIGHT);

  bundle(parts, &sandbox);
  CHECK(instance_wait(parts, start(&sandbox, probe)) == 0);
  fl_parts_end(parts, &sandbox);
  CHECK(parts_pump(parts, parts_settled, 5000));
}

static int pid_in_room(pid_t pid)
{
  char path[64], command[96], text[64] = "";
  FILE *output;

  snprintf(path, sizeof path, "/proc/%d/status", pid);
  snprintf(command, sizeof command, "sed -n 's/^NSpid:.*\\t//p' %s", path);
  output = popen(command, "r");
  CHECK(output && fgets(text, sizeof text, output));
  pclose(output);
  return atoi(text);
}

static void one_is_kept_from_another(void)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox held = take(parts, FL_NETWORK_LIGHT);
  pid_t holder;

  bundle(parts, &held);
  holder = start(&held, probe_hold);
  other_slot = held.slot;
  other_pid = pid_in_room(holder);
  await_hold(&held);
  run(parts, probe_own);
  run(parts, probe_others);
  run(parts, probe_seal);
  CHECK(kill(holder, 0) == 0);
  kill(holder, SIGKILL);
  instance_wait(parts, holder);
  fl_parts_end(parts, &held);
  fl_parts_close(parts);
}

/* Of another flashd with the same range of uids, say. */
static pid_t start_stranger(uid_t uid)
{
  pid_t pid = fork();

  if (pid == 0) {
    CHECK(setresuid(uid, uid, uid) == 0);
    for (;;)
      pause();
  }
  return pid;
}

static void whatever_forks_is_ended(void)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox = take(parts, FL_NETWORK_LIGHT);
  pid_t pid = start(&sandbox, probe_bomb);
  uid_t uid = uid_of(sandbox.slot);
  pid_t stranger = start_stranger(uid);

  for (int turn = 0; turn < 100 && processes_of(uid) <= 4; turn++)
    usleep(10000);
  CHECK(processes_of(uid) > 4);
  kill(pid, SIGKILL);
  CHECK(instance_wait(parts, pid) == SIGKILL);
  fl_parts_end(parts, &sandbox);
  CHECK(parts_pump(parts, parts_settled, 5000));
  CHECK(processes_of(uid) == 1 && kill(stranger, 0) == 0 && waitpid(stranger, NULL, WNOHANG) == 0);
  CHECK(kill(stranger, SIGKILL) == 0 && waitpid(stranger, NULL, 0) == stranger);
  fl_parts_close(parts);
}

static void a_fork_that_never_got_its_uid_is_ended(void)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox = take(parts, FL_NETWORK_LIGHT);
  pid_t pid = fork();

  if (pid == 0) {
    for (uint32_t index = 0; index < sandbox.cgroup.joins; index++)
      CHECK(write(sandbox.cgroup.join_fds[index], "0", 1) == 1);
    for (;;)
      pause();
  }
  usleep(50000);
  fl_parts_end(parts, &sandbox);                                 /* its template is gone before it told the pid */
  if (sandbox.cgroup.joins == 0)
    kill(pid, SIGKILL);                                          /* version 2: it would have been cloned into the cgroup */
  CHECK(parts_pump(parts, parts_settled, 5000));
  CHECK(kill(pid, 0) < 0 && errno == ESRCH);
  fl_parts_close(parts);
}

static void a_dead_room_is_replaced(void)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox = take(parts, FL_NETWORK_LIGHT);
  pid_t pid = start(&sandbox, probe_hold), room = parts->room;

  await_hold(&sandbox);
  CHECK(room > 0 && kill(room, SIGKILL) == 0);
  CHECK(instance_wait(parts, pid) == SIGKILL);                   /* whoever is in it dies with it */
  fl_parts_end(parts, &sandbox);
  CHECK(parts_pump(parts, parts_settled, 5000));
  run(parts, probe_own);
  CHECK(parts->room > 0 && parts->room != room);
  fl_parts_close(parts);
}

static void a_dead_builder_takes_the_room_along(void)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox = take(parts, FL_NETWORK_LIGHT);
  pid_t pid = start(&sandbox, probe_hold);

  await_hold(&sandbox);
  CHECK(kill(parts->builder, SIGKILL) == 0);
  CHECK(instance_wait(parts, pid) == SIGKILL);
  fl_parts_end(parts, &sandbox);
  CHECK(parts_pump(parts, parts_settled, 5000));
  run(parts, probe_own);
  fl_parts_close(parts);
}

/* Last: it does not come off again. */
static void without_landlock_there_is_none(void)
{
  static const struct sock_filter old_kernel[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog program = { .len = FL_COUNT(old_kernel), .filter = (struct sock_filter *)old_kernel };
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox;
  struct fl_error error = { 0 };

  CHECK(fl_seccomp_filter(&program, 0) == 0);
  CHECK(fl_light_abi() == 0);
  CHECK(fl_parts_take(parts, FL_NETWORK_LIGHT, &sandbox, &error) < 0 && error.code == FL_ERR_ISOLATION && strstr(error.detail, "Landlock"));
  fl_parts_close(parts);
}

static double now_us(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* A line for each: microseconds until it is there, and until it is gone. */
static void bench(uint32_t network, int rounds)
{
  struct fl_parts *parts = open_parts(SLOTS);
  struct fl_sandbox sandbox = take(parts, network);              /* the first of the class makes the room */

  for (int round = 0; round <= rounds; round++) {
    double start = now_us(), ended, built;

    fl_parts_end(parts, &sandbox);
    CHECK(parts_pump(parts, parts_settled, 5000));
    ended = now_us() - start;
    start = now_us();
    sandbox = take(parts, network);
    built = now_us() - start;
    if (round > 0)
      printf("%.1f %.1f\n", built, ended);
  }
  fl_parts_end(parts, &sandbox);
  fl_parts_close(parts);
}

int main(int count, char **arguments)
{
  snprintf(name, sizeof name, "flashd-light-%d", getpid());
  if (count > 3 && !strcmp(arguments[1], "bench")) {
    bench(strcmp(arguments[2], "full") ? FL_NETWORK_LIGHT : FL_NETWORK_NONE, atoi(arguments[3]));
    return 0;
  }
  if (fl_light_abi() < FL_LIGHT_ABI) {
    without_landlock_there_is_none();
    return 0;
  }
  one_is_kept_from_another();
  whatever_forks_is_ended();
  a_fork_that_never_got_its_uid_is_ended();
  a_dead_room_is_replaced();
  a_dead_builder_takes_the_room_along();
  without_landlock_there_is_none();
  return 0;
}
