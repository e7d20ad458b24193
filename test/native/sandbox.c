/*
 * Sandboxes from inside: what an instance is, sees and may do, each limit with the case that exceeds it. As root.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "instance.h"

static const struct fl_limits limits = { .memory_bytes = 64 << 20, .tmp_bytes = 1 << 20, .tmp_inodes = 32, .pids = 8, .cpu_millis = 1000, .descriptors = 64 };
static struct fl_parts *parts;
static bool devices_made = true;

static bool some_ready(struct fl_parts *from)
{
  struct fl_parts_levels levels;

  fl_parts_levels(from, &levels);
  return levels.pooled > 0;
}

static bool none_ending(struct fl_parts *from)
{
  struct fl_parts_levels levels;

  fl_parts_levels(from, &levels);
  return levels.ending == 0;
}

static bool fails(int result, int errno_value)
{
  if (result < 0 && errno == errno_value)
    return true;
  fprintf(stderr, "expected %s, got %d %s\n", strerror(errno_value), result, strerror(errno));
  return false;
}

/* Reads a file of /proc into text, NUL-terminated. */
static char *slurp(const char *path, char *text, size_t size)
{
  CHECK(fl_file_read(AT_FDCWD, path, text, size) >= 0);
  return text;
}

static void probe_identity(void *unused)
{
  char text[16384], *sets[] = { "CapInh:\t0", "CapPrm:\t0", "CapEff:\t0", "CapBnd:\t0", "CapAmb:\t0" };
  gid_t groups[1];

  (void)unused;
  CHECK(getuid() == 1000 && geteuid() == 1000 && getgid() == 1000 && getegid() == 1000);
  CHECK(getgroups(0, groups) == 0);
  slurp("/proc/self/status", text, sizeof text);
  for (size_t index = 0; index < FL_COUNT(sets); index++) {
    char *found = strstr(text, sets[index]);

    CHECK(found);
    CHECK(strspn(strchr(found, '\t') + 1, "0") == 16);
  }
  CHECK(strstr(text, "NoNewPrivs:\t1"));
  CHECK(fails(setresuid(0, 0, 0), EPERM));
  CHECK(fails(sethostname("x", 1), EPERM));
  CHECK(gethostname(text, sizeof text) == 0 && !strcmp(text, "function"));
  CHECK(strstr(slurp("/etc/passwd", text, sizeof text), "function:x:1000:1000:function:/home/function"));
  CHECK(!strstr(text, "daemon"));                                /* not the host's */
}

/* Without CAP_MKNOD the devices are those of our own /dev, each a mount. */
static bool shown_device(const char *root, const char *point)
{
  return !devices_made && strcmp(point, "/dev/shm") && (!strncmp(point, "/dev/", 5) || !strcmp(root, "/null"));
}

/* Every mount is one of ours; nothing but /usr and /function comes from the host's file systems. */
static void probe_mounts(void *unused)
{
  char text[32768], *at = slurp("/proc/self/mountinfo", text, sizeof text), *line;
  unsigned seen = 0;

  (void)unused;
  while ((line = strsep(&at, "\n")) && *line) {
    char root[256], point[256], flags[256], *type;

    CHECK(sscanf(line, "%*d %*d %*s %255s %255s %255s", root, point, flags) == 3);
    type = strstr(line, " - ") + 3;
    CHECK(strstr(flags, "nosuid"));
    CHECK(strstr(flags, "nodev") || !strcmp(point, "/dev") || !strncmp(root, "/null", 5) || shown_device(root, point));
    if (!strcmp(point, "/usr") || !strcmp(point, "/function"))
      CHECK(!strncmp(flags, "ro", 2));
    else
      CHECK(!strncmp(type, "tmpfs ", 6) || !strncmp(type, "proc ", 5) || shown_device(root, point));
    CHECK(!strncmp(flags, "ro", 2) || !strcmp(point, "/proc") || !strcmp(point, "/tmp") || !strcmp(point, "/var/tmp") || !strcmp(point, "/dev/shm") ||
          !strcmp(point, "/home/function"));
    seen++;
  }
  CHECK(seen >= 9);
  CHECK(access("/base", F_OK) < 0 && access("/scratch", F_OK) < 0 && access("/sys/class", F_OK) < 0 && access("/etc/shadow", F_OK) < 0);
}

static void probe_root(void *unused)
{
  struct stat status;
  char text[4096];
  int fd;

  (void)unused;
  CHECK(fails(open("/made", O_CREAT | O_WRONLY, 0600), EROFS) || errno == EACCES);
  CHECK(fails(open("/usr/made", O_CREAT | O_WRONLY, 0600), EROFS));
  CHECK(fails(open("/function/made", O_CREAT | O_WRONLY, 0600), EROFS));
  CHECK(open("/etc/passwd", O_WRONLY) < 0 && (errno == EROFS || errno == EACCES));
  CHECK(fails(mount("none", "/tmp", "tmpfs", 0, NULL), EPERM));
  CHECK(fails(mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL), EPERM));
  CHECK(fails(umount2("/function", MNT_DETACH), EPERM));
  CHECK(fails(mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)), EPERM));
  CHECK(getcwd(text, sizeof text) && !strcmp(text, "/function"));
  fd = open("/dev/null", O_RDWR);
  CHECK(fd >= 0 && write(fd, "x", 1) == 1 && read(fd, text, 1) == 0);
  CHECK(fails((int)write(open("/dev/full", O_WRONLY), "x", 1), ENOSPC));
  CHECK(read(open("/dev/urandom", O_RDONLY), text, 16) == 16);
  CHECK(chmod("/dev/null", 0600) < 0 && utimensat(AT_FDCWD, "/dev/null", NULL, 0) < 0);
  CHECK(open("/dev/made", O_CREAT | O_WRONLY, 0600) < 0 && (errno == EROFS || errno == EACCES));
  CHECK(stat("/home/function", &status) == 0 && status.st_uid == 1000 && (status.st_mode & 07777) == 0700);
  CHECK(stat("/tmp", &status) == 0 && (status.st_mode & 07777) == 01777);
  CHECK(access("/opt/flashd/sample/lib/boot.txt", R_OK) == 0);
  CHECK(open("/opt/flashd/sample/lib/boot.txt", O_WRONLY) < 0);
  CHECK(execl("/bin/true", "true", NULL) == 0);
}

static void probe_proc(void *unused)
{
  static const char *const hidden[] = { "kcore", "keys", "locks", "timer_list", "sysrq-trigger", "kallsyms" };
  char text[4096], path[64];
  struct dirent *entry;
  DIR *processes = opendir("/proc");
  struct stat status;
  int pids = 0;

  (void)unused;
  for (size_t index = 0; index < FL_COUNT(hidden); index++) {
    snprintf(path, sizeof path, "/proc/%s", hidden[index]);
    if (stat(path, &status) == 0)
      CHECK(S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
  }
  CHECK(open("/proc/sys/kernel/hostname", O_WRONLY) < 0 && (errno == EROFS || errno == EACCES));
  CHECK(open("/proc/sys/vm/drop_caches", O_WRONLY) < 0);
  while ((entry = readdir(processes)))
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
      pids++;
  CHECK(pids == 2);                                              /* the init and we */
  CHECK(getpid() > 1 && getppid() == 0);
  CHECK(strstr(slurp("/proc/1/comm", text, sizeof text), "flashd-init"));
  CHECK(open("/proc/1/environ", O_RDONLY) < 0 && open("/proc/1/mem", O_RDONLY) < 0 && open("/proc/1/ns/mnt", O_RDONLY) < 0);
  CHECK(fails(kill(1, SIGKILL), EPERM));
  CHECK(strstr(slurp("/proc/meminfo", text, sizeof text), "MemTotal"));
  slurp("/proc/self/cgroup", text, sizeof text);
  CHECK(!strstr(text, "flashd-test"));                           /* the cgroup namespace: our own cgroup is its root */
}

static void probe_network(void *unused)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, outside = { .sin_family = AF_INET, .sin_port = htons(53) };
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
  struct if_nameindex *interfaces = if_nameindex();

  (void)unused;
  CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
  CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
  inet_pton(AF_INET, "192.0.2.1", &outside.sin_addr);
  CHECK(fails(connect(other, (struct sockaddr *)&outside, sizeof outside), ENETUNREACH));
  CHECK(interfaces && interfaces[0].if_index && !strcmp(interfaces[0].if_name, "lo"));
  for (int index = 1; interfaces[index].if_index; index++) {     /* only what a fresh namespace has by itself, and down */
    struct ifreq request = { 0 };

    strcpy(request.ifr_name, interfaces[index].if_name);
    CHECK(ioctl(other, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP));
  }
  CHECK(fails(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM));
}

/* Fills one of the places, and all of them are full. */
static void probe_scratch(void *expected_pointer)
{
  static const char *const places[] = { "/tmp/a", "/var/tmp/a", "/dev/shm/a", "/home/function/a" };
  uint64_t expected = *(uint64_t *)expected_pointer, written = 0;
  char block[4096], path[32];
  int fd = open(places[0], O_CREAT | O_WRONLY, 0600), made = 0;
  ssize_t got;

  memset(block, 'x', sizeof block);
  CHECK(fd >= 0);
  while ((got = write(fd, block, sizeof block)) > 0)
    written += (uint64_t)got;
  CHECK(errno == ENOSPC);
  CHECK(written <= expected && written + 65536 >= expected);
  CHECK(ftruncate(fd, 0) == 0);
  for (size_t index = 1; index < FL_COUNT(places); index++) {
    fd = open(places[index], O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, block, sizeof block) == (ssize_t)sizeof block);
  }
  while (made < 100000) {
    snprintf(path, sizeof path, "/tmp/n%d", made);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0)
      break;
    close(fd);
    made++;
  }
  CHECK(fails(fd, ENOSPC));
  CHECK(made > 0 && made <= 64);
}

static void probe_forks(void *unused)
{
  int children = 0;
  pid_t pid;

  (void)unused;
  while ((pid = fork()) > 0)
    children++;
  if (pid == 0) {
    pause();
    _exit(0);
  }
  CHECK(errno == EAGAIN);
  CHECK(children == 7);                                          /* 8 with this one */
}

static void probe_memory(void *unused)
{
  size_t size = 256u << 20;
  volatile char *memory = malloc(size);

  (void)unused;
  CHECK(memory);
  for (size_t at = 0; at < size; at += 4096)
    memory[at] = 1;
}

static void probe_orphans(void *unused)
{
  (void)unused;
  for (int turn = 0; turn < 4; turn++) {
    pid_t pid = fork();

    if (pid == 0) {
      if (fork() == 0)
        _exit(0);                                                /* its parent ends at once: the init inherits it */
      _exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
  }
  for (int turn = 0; turn < 200; turn++) {
    struct dirent *entry;
    DIR *processes = opendir("/proc");
    int pids = 0;

    while ((entry = readdir(processes)))
      pids += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    closedir(processes);
    if (pids == 2)
      return;
    usleep(5000);
  }
  CHECK(!"orphans are reaped");
}

static struct fl_sandbox take(const struct fl_limits *wanted)
{
  struct fl_sandbox sandbox;
  struct fl_error error = { 0 };
  int result = fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, &error);

  if (result == -EAGAIN) {
    CHECK(parts_pump(parts, some_ready, 5000));
    result = fl_parts_take(parts, FL_NETWORK_NONE, &sandbox, &error);
  }
  if (result == 0)
    result = fl_parts_limit(parts, &sandbox, wanted, &error);
  if (result < 0)
    fprintf(stderr, "take: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
  CHECK(result == 0);
  return sandbox;
}

/* One sandbox, one probe: it must end with this status. */
static void in_sandbox(const struct fl_limits *wanted, bool filtered, void (*probe)(void *), void *argument, int expected_status,
                       struct fl_cgroup_report *ret_report)
{
  struct fl_sandbox sandbox = take(wanted);
  int status = instance_run(parts, &sandbox, filtered, probe, argument);

  if (status != expected_status)
    fprintf(stderr, "status %#x instead of %#x\n", status, expected_status);
  CHECK(status == expected_status);
  if (ret_report)
    fl_cgroup_report(fl_parts_cgroup_host(parts), &sandbox.cgroup, ret_report);
  fl_parts_end(parts, &sandbox);
  CHECK(sandbox.init_pidfd == -1 && sandbox.scratch_fd == -1);
}

static void the_init_holds_nothing(void)
{
  struct fl_sandbox sandbox = take(&limits);
  char path[64], text[8192];
  struct dirent *entry;
  DIR *descriptors;

  usleep(20000);                                                 /* it lives on after it was told so */
  snprintf(path, sizeof path, "/proc/%d/fd", sandbox.init_pid);
  descriptors = opendir(path);
  CHECK(descriptors);
  while ((entry = readdir(descriptors)))
    CHECK(entry->d_name[0] == '.');
  closedir(descriptors);
  snprintf(path, sizeof path, "/proc/%d/status", sandbox.init_pid);
  slurp(path, text, sizeof text);
  CHECK(strstr(text, "CapEff:\t0000000000000000") && strstr(text, "CapBnd:\t0000000000000000") && strstr(text, "NoNewPrivs:\t1") && strstr(text, "Seccomp:\t2"));
  fl_parts_end(parts, &sandbox);
}

static void templates_enter_the_base(void)
{
  pid_t pid = fork();
  int status;

  if (pid == 0) {
    struct fl_error error = { 0 };
    char text[256];

    if (fl_parts_enter_base(parts, &error) < 0) {
      fprintf(stderr, "enter_base: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
      _exit(1);
    }
    CHECK(fails(open("/usr/made", O_CREAT | O_WRONLY, 0600), EROFS));
    CHECK(fails(open("/made", O_CREAT | O_WRONLY, 0600), EROFS));
    CHECK(open("/tmp/made", O_CREAT | O_WRONLY, 0600) >= 0);
    CHECK(readlink("/proc/self", text, sizeof text) > 0 && atoi(text) == getpid());
    CHECK(access("/etc/ld.so.cache", R_OK) == 0 && access("/etc/shadow", F_OK) < 0 && access("/base", F_OK) < 0);
    CHECK(execl("/usr/bin/true", "true", NULL) == 0);
  }
  status = instance_wait(parts, pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* As in a service that may make no devices: the sandbox shows what stands in our /dev. */
static void devices_may_be_shown(const struct fl_parts_config *config)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

  CHECK(syscall(SYS_capget, &header, data) == 0);
  data[0].effective &= ~(1u << CAP_MKNOD);
  CHECK(syscall(SYS_capset, &header, data) == 0);
  devices_made = false;
  parts = parts_open(config);
  in_sandbox(&limits, true, probe_mounts, NULL, 0, NULL);
  in_sandbox(&limits, true, probe_root, NULL, 0, NULL);
  CHECK(parts_pump(parts, none_ending, 5000));
  fl_parts_close(parts);
}

int main(void)
{
  static struct fl_pack pack = { .count = 1, .runtime = { { .name = "sample", .files = 1 } } };
  char name[64], before[65536], after[65536];
  struct fl_parts_config config = { .cgroup_name = name, .uid_base = 0x20000000, .slots = 8, .pool_floor = 2, .pool_ceiling = 4, .defaults = limits, .pack = &pack, .binary_fd = -1 };
  struct fl_limits larger = limits, small = limits, few = limits;
  struct fl_cgroup_report report;
  uint64_t expected;

  pack.runtime[0].file[0] = (struct fl_pack_file){ .path = "lib/boot.txt", .mode = 0644, .size = 5, .bytes = (const uint8_t *)"hello" };
  snprintf(name, sizeof name, "flashd-test-%d", getpid());
  slurp("/proc/self/mountinfo", before, sizeof before);
  parts = parts_open(&config);
  in_sandbox(&limits, true, probe_identity, NULL, 0, &report);
  in_sandbox(&limits, true, probe_mounts, NULL, 0, NULL);
  in_sandbox(&limits, true, probe_root, NULL, 0, NULL);
  in_sandbox(&limits, false, probe_root, NULL, 0, NULL);         /* it holds without the filter too */
  in_sandbox(&limits, true, probe_proc, NULL, 0, NULL);
  in_sandbox(&limits, true, probe_network, NULL, 0, NULL);
  in_sandbox(&limits, true, probe_orphans, NULL, 0, NULL);
  expected = limits.tmp_bytes;
  in_sandbox(&limits, true, probe_scratch, &expected, 0, NULL);
  larger.tmp_bytes = expected = 4 << 20;
  larger.tmp_inodes = 60;
  in_sandbox(&larger, true, probe_scratch, &expected, 0, NULL);
  small.tmp_bytes = expected = 256 << 10;
  in_sandbox(&small, true, probe_scratch, &expected, 0, NULL);
  in_sandbox(&limits, true, probe_forks, NULL, 0, &report);
  CHECK(report.pids_refused > 0);
  few.memory_bytes = 32 << 20;
  in_sandbox(&few, true, probe_memory, NULL, SIGKILL, &report);
  CHECK(report.oom_kills > 0 && report.memory_peak_bytes > 16 << 20);
  the_init_holds_nothing();
  templates_enter_the_base();
  CHECK(parts_pump(parts, none_ending, 5000));
  fl_parts_close(parts);
  devices_may_be_shown(&config);
  CHECK(strcmp(before, slurp("/proc/self/mountinfo", after, sizeof after)) == 0);
  return 0;
}
