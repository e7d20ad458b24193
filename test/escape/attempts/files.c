/* The host's files, its devices, its control groups, and the paths by which runtimes of containers were overwritten. */
#include "attempts.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { DEEP = 64 };

static char name[512];
#define TRY_AT(what, path, call) (snprintf(name, sizeof name, "%s %s", what, path), TRY(name, call))

/* Opens it and closes it again. A file that can be opened and stands for the null device is a mask. */
static long touched(const char *path, int flags)
{
  int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

  if (fd >= 0)
    close(fd);
  return fd;
}

/* Some files may be opened by everybody: then it is the write that is refused. */
static long written_to(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC), errno_value;
  ssize_t result;

  if (fd < 0)
    return -1;
  result = write(fd, text, strlen(text));
  errno_value = errno;
  close(fd);
  errno = errno_value;
  return result;
}

static int by_name(const void *one, const void *other)
{
  return strcmp(*(char *const *)one, *(char *const *)other);
}

/* The names in a directory, sorted; numbers of processes left out. */
static void list(const char *path)
{
  char *names[256], text[2048] = "";
  DIR *directory = opendir(path);
  size_t count = 0;

  snprintf(name, sizeof name, "names in %s", path);
  if (!directory) {
    tell(name, -1);
    return;
  }
  for (struct dirent *entry; count < 256 && (entry = readdir(directory));)
    if (entry->d_name[0] != '.')
      names[count++] = strdup(entry->d_name);
  closedir(directory);
  qsort(names, count, sizeof *names, by_name);
  for (size_t index = 0; index < count; index++) {
    strncat(text, index ? " " : "", sizeof text - strlen(text) - 1);
    strncat(text, names[index], sizeof text - strlen(text) - 1);
    free(names[index]);
  }
  say(name, "%s", text);
}

static void host_files(void)
{
  static const char *const paths[] = { "/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/root/.bashrc", "/boot", "/sys/class", "/sys/devices", "/sys/kernel/security", "/run/systemd", "/run/docker.sock", "/var/log", "/var/lib/dpkg",
                                       "/base", "/scratch", "/var/lib/flashd", "/opt/flashd/self/../../../etc/shadow", "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow",
                                       "/proc/self/cwd/../etc/shadow", "/proc/thread-self/root/../etc/shadow" };
  static const char *const directories[] = { "/", "/root", "/home", "/mnt", "/run", "/var", "/opt", "/dev", "/sys", "/sys/kernel", "/sys/kernel/mm", "/sys/kernel/mm/transparent_hugepage" };
  static const char *const targets[] = { "canary", "state directory", "management socket", "victim's file", "/proc of the gateway" };
  char path[4 * DEEP + 64] = "";

  for (size_t index = 0; index < sizeof paths / sizeof *paths; index++)
    TRY_AT("read", paths[index], touched(paths[index], O_RDONLY));
  for (size_t index = 0; index < sizeof targets / sizeof *targets; index++)
    TRY_AT("read", targets[index], touched(given(targets[index]), O_RDONLY));
  for (size_t index = 0; index < sizeof directories / sizeof *directories; index++)
    list(directories[index]);
  /* Up and up from the working directory, which a leaked one outside would lead out of. */
  for (int depth = 0; depth < DEEP; depth++)
    strcat(path, "../");
  strcat(path, "etc/shadow");
  TRY("climb from the working directory", touched(path, O_RDONLY));
  say("working directory", "%s", getcwd(path, sizeof path) ? path : "?");
}

/* CVE-2019-5736, CVE-2024-21626 and their like. */
static void leaked_descriptors(void)
{
  char path[64], link[256], found[4096] = "";
  size_t used = 0;
  int escapes = 0;

  for (int fd = 0; fd < 1024; fd++) {
    struct stat status;
    ssize_t length;

    if (fstat(fd, &status) < 0)
      continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    length = readlink(path, link, sizeof link - 1);
    link[length > 0 ? length : 0] = 0;
    link[strcspn(link, "[")] = 0;
    used += (size_t)snprintf(found + used, used < sizeof found - sizeof link - 32 ? sizeof link + 32 : 0, "%s%d %s", used ? ", " : "", fd, link);
    snprintf(path, sizeof path, "/proc/self/fd/%d/../../../../etc/shadow", fd);
    escapes += touched(path, O_RDONLY) >= 0 || openat(fd, "../../../../../../etc/shadow", O_RDONLY) >= 0 || (S_ISDIR(status.st_mode) && fchdir(fd) == 0);
  }
  say("descriptors", "%s", found);
  say("ways out by a descriptor", "%d", escapes);
}

static void overwrite_programs(void)
{
  static const char *const paths[] = { "/proc/self/exe", "/proc/1/exe", "/usr/bin/sh", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/etc/passwd", "/etc/ld.so.cache", "/etc/ld.so.preload", "/opt/flashd/made",
                                       "/function/made", "/made", "/dev/made", "/usr/made", "/home/made", "/root/made" };
  char path[64];
  int fd;

  for (size_t index = 0; index < sizeof paths / sizeof *paths; index++)
    TRY_AT("write", paths[index], touched(paths[index], strstr(paths[index], "made") || strstr(paths[index], "preload") ? O_WRONLY | O_CREAT : O_WRONLY));
  fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  TRY("write /proc/self/exe by a descriptor", touched(path, O_WRONLY));
  close(fd);
  fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  TRY("truncate /proc/self/exe", truncate("/proc/self/exe", 0));
  TRY("chmod /proc/self/exe", fchmod(fd, 04755));
  TRY("map /proc/self/exe shared and writable", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
  close(fd);
}

/* Turning what set-up code will mount upon, or follow, into something else. */
static void swap_targets(void)
{
  TRY("rename /function", rename("/function", "/tmp/function"));
  TRY("exchange /function and /tmp", syscall(SYS_renameat2, AT_FDCWD, "/function", AT_FDCWD, "/tmp", 2));
  TRY("remove /function", rmdir("/function"));
  TRY("replace /proc by a link", unlinkat(AT_FDCWD, "/proc", AT_REMOVEDIR));
  TRY("replace /tmp by a link", rmdir("/tmp"));
  TRY("replace the home directory", rename("/home/function", "/tmp/home"));
  TRY("link in /", symlink("/etc", "/link"));
  TRY("link in /function", symlink("/etc", "/function/link"));
  TRY("remove a file of its own", unlink("/function/handler.c"));
  TRY("hard link of a program", link("/usr/bin/sh", "/tmp/sh"));
  TRY("hard link of its own program", link("/proc/self/exe", "/tmp/exe"));
  TRY("hard link by a descriptor", linkat(AT_FDCWD, "/proc/self/exe", AT_FDCWD, "/tmp/exe", AT_SYMLINK_FOLLOW));
  unlink("/tmp/shadow");
  TRY("follow a link to /etc/shadow", symlink("/etc/shadow", "/tmp/shadow") < 0 ? -1 : touched("/tmp/shadow", O_RDONLY));
  unlink("/tmp/shadow");
  TRY("follow a link through the init", symlink("/proc/1/root/etc/passwd", "/tmp/shadow") < 0 ? -1 : touched("/tmp/shadow", O_RDONLY));
  unlink("/tmp/shadow");
}

static void devices(void)
{
  static const char *const nodes[] = { "mem", "kmem", "port", "kmsg", "fuse", "kvm", "net/tun", "sda", "vda", "loop0", "loop-control", "userfaultfd", "console", "ptmx", "pts/0", "vsock", "cpu/0/msr", "btrfs-control",
                                       "mapper/control", "rtc0", "dri/card0", "snapshot", "autofs", "vhost-net", "uinput", "tty" };
  char path[64];

  for (size_t index = 0; index < sizeof nodes / sizeof *nodes; index++) {
    snprintf(path, sizeof path, "/dev/%s", nodes[index]);
    TRY_AT("open", path, touched(path, O_RDWR));
  }
  TRY("mknod mem", mknod("/tmp/mem", S_IFCHR | 0666, makedev(1, 1)));
  TRY("mknod null", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
  TRY("mknod disk", mknod("/tmp/disk", S_IFBLK | 0666, makedev(8, 0)));
}

static void kernel_files(void)
{
  static const char *const masked[] = { "kcore", "sysrq-trigger", "kallsyms", "modules", "keys", "locks", "key-users", "timer_list", "iomem", "ioports", "interrupts", "softirqs", "zoneinfo", "latency_stats", "sched_debug",
                                        "acpi", "scsi", "driver", "asound", "firmware" };
  static const char *const forbidden[] = { "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "slabinfo", "vmallocinfo", "pagetypeinfo", "mtrr", "vmcore" };
  static const char *const written[] = { "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hotplug", "sys/kernel/poweroff_cmd", "sys/kernel/hostname", "sys/kernel/domainname", "sys/kernel/ns_last_pid",
                                         "sys/kernel/shmmax", "sys/kernel/msgmax", "sys/kernel/sysrq", "sys/kernel/randomize_va_space", "sys/kernel/yama/ptrace_scope", "sys/kernel/unprivileged_bpf_disabled",
                                         "sys/kernel/cap_last_cap", "sys/kernel/perf_event_paranoid", "sys/vm/drop_caches", "sys/vm/overcommit_memory", "sys/vm/panic_on_oom", "sys/vm/mmap_min_addr", "sys/fs/binfmt_misc",
                                         "sys/fs/binfmt_misc/register", "sys/fs/protected_symlinks", "sys/fs/suid_dumpable", "sys/fs/mqueue/msg_max", "sys/net/ipv4/ip_forward", "sys/net/core/somaxconn",
                                         "sys/user/max_user_namespaces", "self/oom_score_adj", "self/uid_map", "self/gid_map", "self/setgroups", "self/timens_offsets", "irq", "bus", "fs" };
  static const char *const release[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/cgroup.procs", "/cgroup", "/proc/self/cgroup",
                                         "/sys/kernel/mm/transparent_hugepage/enabled" };
  char path[128], text[4096];
  struct stat status;
  ssize_t length;
  int fd;

  for (size_t index = 0; index < sizeof masked / sizeof *masked; index++) {
    snprintf(path, sizeof path, "/proc/%s", masked[index]);
    snprintf(name, sizeof name, "%s", path);
    if (stat(path, &status) < 0)
      say(name, "%s", errno == ENOENT ? "nothing" : strerrorname_np(errno));
    else if (S_ISDIR(status.st_mode))
      say(name, "%s", status.st_nlink == 2 && rmdir(path) < 0 && errno != ENOTEMPTY ? "nothing" : "a directory");
    else
      say(name, "%s", S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3) ? "nothing" : "a file");
  }
  for (size_t index = 0; index < sizeof forbidden / sizeof *forbidden; index++) {
    snprintf(path, sizeof path, "/proc/%s", forbidden[index]);
    TRY_AT("read", path, touched(path, O_RDONLY));
  }
  for (size_t index = 0; index < sizeof written / sizeof *written; index++) {
    snprintf(path, sizeof path, "/proc/%s", written[index]);
    TRY_AT("write", path, written_to(path, strstr(path, "oom_score") ? "-1000" : strstr(path, "timens") ? "1 1 0" : "0 0 1"));
  }
  for (size_t index = 0; index < sizeof release / sizeof *release; index++)
    TRY_AT("write", release[index], touched(release[index], O_WRONLY));
  fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  for (text[0] = 0, length = 0; length < (ssize_t)sizeof text - 1;) {
    ssize_t got = read(fd, text + length, sizeof text - 1 - (size_t)length);

    if (got <= 0)
      break;
    length += got;
    text[length] = 0;
  }
  close(fd);
  say("cgroup file systems", "%s", length <= 0 || (size_t)length >= sizeof text - 1 ? "?" : strstr(text, " - cgroup") || strstr(text, " - sysfs") || strstr(text, " - debugfs") ? "mounted" : "none");
}

static char strange[256];

static int cgroup_file(const char *path, const struct stat *status, int kind, struct FTW *where)
{
  const char *base = path + where->base;

  (void)status;
  if (kind == FTW_D && (!strcmp(path, "/proc") || !strcmp(path, "/usr")))
    return FTW_SKIP_SUBTREE;
  snprintf(strange, sizeof strange, "%s", path);
  return !strcmp(base, "release_agent") || !strcmp(base, "tasks") || !strncmp(base, "cgroup.", 7) || !strcmp(base, "memory.max") || !strcmp(base, "flashd.sock") || !strcmp(base, "shadow") ? FTW_STOP : FTW_CONTINUE;
}

void try_files(void)
{
  leaked_descriptors();
  host_files();
  overwrite_programs();
  swap_targets();
  devices();
  kernel_files();
  say("files of cgroups and of the host anywhere", "%s", nftw("/", cgroup_file, 32, FTW_PHYS | FTW_ACTIONRETVAL) == FTW_STOP ? strange : "none");
}
