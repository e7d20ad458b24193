/* System calls that no function needs. The arguments are those of somebody who means it; where that needs an object (a child, a descriptor), it is made first. */
#include "attempts.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/kexec.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct { const char *name; unsigned long flag; } namespaces[] = {
  { "user", CLONE_NEWUSER }, { "mount", CLONE_NEWNS }, { "pid", CLONE_NEWPID }, { "net", CLONE_NEWNET }, { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS },
  { "cgroup", CLONE_NEWCGROUP },
};

/* A child that was made is gone again at once. */
static long cloned(unsigned long flags)
{
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

  if (pid == 0)
    _exit(0);
  if (pid > 0)
    waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static void make_namespaces(void)
{
  char name[64];
  struct clone_args arguments = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };

  for (size_t index = 0; index < sizeof namespaces / sizeof *namespaces; index++) {
    snprintf(name, sizeof name, "unshare %s", namespaces[index].name);
    TRY(name, syscall(SYS_unshare, namespaces[index].flag));
    snprintf(name, sizeof name, "clone %s", namespaces[index].name);
    TRY(name, cloned(namespaces[index].flag));
    snprintf(name, sizeof name, "clone %s and high bits", namespaces[index].name);
    TRY(name, cloned(namespaces[index].flag | 1ul << 32));
    snprintf(name, sizeof name, "clone user and %s", namespaces[index].name);
    TRY(name, cloned(namespaces[index].flag | CLONE_NEWUSER));
  }
  TRY("unshare time", syscall(SYS_unshare, CLONE_NEWTIME));
  TRY("unshare user and all", syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET));
  TRY("clone as a sibling", cloned(CLONE_PARENT));
  TRY("clone3 user", syscall(SYS_clone3, &arguments, sizeof arguments));
  TRY("setns own", syscall(SYS_setns, open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC), 0));
  TRY("setns init", syscall(SYS_setns, syscall(SYS_pidfd_open, 1, 0), CLONE_NEWNS));
}

static void make_mounts(void)
{
  TRY("mount tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL));
  TRY("mount proc", mount("proc", "/tmp", "proc", 0, NULL));
  TRY("mount bind", mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL));
  TRY("mount bind of a link", mount("/proc/self/fd/0", "/tmp", NULL, MS_BIND, NULL));
  TRY("mount cgroup", mount("cgroup", "/tmp", "cgroup", 0, "memory"));
  TRY("mount cgroup2", mount("none", "/tmp", "cgroup2", 0, NULL));
  TRY("mount move", mount("/function", "/tmp", NULL, MS_MOVE, NULL));
  TRY("remount usr writable", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
  TRY("remount proc sys writable", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
  TRY("make shared", mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL));
  TRY("umount function", umount2("/function", MNT_DETACH));
  TRY("umount a mask", umount2("/proc/sysrq-trigger", MNT_DETACH));
  TRY("umount root", umount2("/", MNT_DETACH));
  TRY("pivot_root", syscall(SYS_pivot_root, ".", "."));
  TRY("chroot", chroot("/tmp"));
  TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  TRY("fsconfig", syscall(SYS_fsconfig, 0, 6, NULL, NULL, 0));
  TRY("fsmount", syscall(SYS_fsmount, 0, 0, 0));
  TRY("fspick", syscall(SYS_fspick, AT_FDCWD, "/", 0));
  TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 | AT_RECURSIVE));
  TRY("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/function", AT_FDCWD, "/tmp", 0));
  TRY("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &(struct mount_attr){ .attr_clr = MOUNT_ATTR_RDONLY }, sizeof(struct mount_attr)));
  TRY("statmount", syscall(457, &(uint64_t[4]){ 24 }, &(char[512]){ 0 }, 512, 0));
  TRY("listmount", syscall(458, &(uint64_t[4]){ 24, ~0ull }, &(uint64_t[8]){ 0 }, 8, 0));
  TRY("quotactl", syscall(SYS_quotactl, 0x80000100u, "/dev/sda", 0, NULL));
  TRY("quotactl_fd", syscall(SYS_quotactl_fd, 0, 0x80000100u, 0, NULL));
  TRY("swapon", syscall(SYS_swapon, "/tmp/swap", 0));
  TRY("swapoff", syscall(SYS_swapoff, "/tmp/swap"));
  TRY("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &(char[256]){ 128 }, &(int){ 0 }, 0));
  TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, open("/tmp", O_RDONLY | O_CLOEXEC), &(char[256]){ 8 }, O_RDONLY));
  TRY("fanotify_init", syscall(SYS_fanotify_init, 0, O_RDONLY));
  TRY("fanotify_mark", syscall(SYS_fanotify_mark, 0, 1, 1, AT_FDCWD, "/"));
  TRY("inotify_init", syscall(SYS_inotify_init));
  TRY("inotify_init1", syscall(SYS_inotify_init1, 0));
  TRY("inotify_add_watch", syscall(SYS_inotify_add_watch, 0, "/usr/bin", 0xfff));
  TRY("notifications for a directory", fcntl(open("/usr/bin", O_RDONLY | O_DIRECTORY | O_CLOEXEC), F_NOTIFY, DN_ACCESS | DN_MULTISHOT));
  TRY("io_setup", syscall(SYS_io_setup, 8, &(unsigned long){ 0 }));
  TRY("mq_open", syscall(SYS_mq_open, "attempt", O_CREAT | O_RDWR, 0600, NULL));
}

static void enter_the_kernel(void)
{
  union bpf_attr map = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
  struct perf_event_attr event = { .type = PERF_TYPE_SOFTWARE, .size = sizeof event };
  char module[] = "\177ELF";

  TRY("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
  TRY("perf_event_open", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
  TRY("userfaultfd", syscall(SYS_userfaultfd, 1 /* user mode only */));
  TRY("io_uring_setup", syscall(SYS_io_uring_setup, 1, &(char[120]){ 0 }));
  TRY("io_uring_setup large", syscall(SYS_io_uring_setup, 64, &(char[120]){ 0 }));
  TRY("io_uring_enter", syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0));
  TRY("io_uring_register", syscall(SYS_io_uring_register, 0, 0, NULL, 0));
  TRY("keyctl", syscall(SYS_keyctl, 0, -3, 1));
  TRY("add_key", syscall(SYS_add_key, "user", "flashd", "x", 1, -3));
  TRY("request_key", syscall(SYS_request_key, "user", "flashd", NULL, -3));
  TRY("init_module", syscall(SYS_init_module, module, sizeof module, ""));
  TRY("finit_module", syscall(SYS_finit_module, 0, "", 0));
  TRY("delete_module", syscall(SYS_delete_module, "loop", 0));
  TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, KEXEC_ARCH_DEFAULT));
  TRY("kexec_file_load", syscall(SYS_kexec_file_load, 0, -1, 0, "", 0));
  TRY("memfd_secret", syscall(SYS_memfd_secret, 0));
  TRY("remap_file_pages", syscall(SYS_remap_file_pages, 0, 0, 0, 0, 0));
  TRY("mbind", syscall(SYS_mbind, 0, 0, 0, NULL, 0, 0));
  TRY("migrate_pages", syscall(SYS_migrate_pages, 0, 1, &(long){ 1 }, &(long){ 1 }));
  TRY("move_pages", syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0));
  TRY("lookup_dcookie", syscall(SYS_lookup_dcookie, 0, NULL, 0));
}

/* What is counted for the machine, or for the gateway, and not for the function. */
static void use_up_what_is_shared(void)
{
  struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0x7fff0000);
  struct sock_fprog filter = { .len = 1, .filter = &all };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), usual = 0, larger = 0;
  socklen_t length = sizeof usual;

  TRY("filter for system calls", syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 0, &filter));
  TRY("filter for system calls by prctl", prctl(PR_SET_SECCOMP, 2 /* SECCOMP_MODE_FILTER */, &filter));
  TRY("filter for a socket", setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));
  TRY("filter for the sockets of a port", setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter));
  TRY("larger log", fcntl(1, F_SETPIPE_SZ, 1 << 20));
  TRY("reserve of huge pages", (long)mmap(NULL, 1 << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
  TRY("reserve of huge pages by a file", syscall(SYS_memfd_create, "", MFD_HUGETLB));
  TRY("reserve of huge pages by a segment", shmget(IPC_PRIVATE, 1 << 21, SHM_HUGETLB | IPC_CREAT | 0600));
  getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &usual, &length);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 64 << 20 }, sizeof(int));
  getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &larger, &length);
  say("larger buffer to receive into", "%s", usual > 0 && usual == larger ? "as before" : "larger");
  close(fd);
}

static void change_the_machine(void)
{
  struct timespec now = { 0 };
  struct timex clock = { .modes = 0 };

  TRY("settimeofday", syscall(SYS_settimeofday, &(struct timeval){ 0 }, NULL));
  TRY("clock_settime", syscall(SYS_clock_settime, CLOCK_REALTIME, &now));
  TRY("adjtimex", syscall(SYS_adjtimex, &clock));
  TRY("clock_adjtime", syscall(SYS_clock_adjtime, CLOCK_REALTIME, &clock));
  TRY("sethostname", sethostname("x", 1));
  TRY("setdomainname", setdomainname("x", 1));
  TRY("reboot", syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, NULL));
  TRY("syslog", syscall(SYS_syslog, 3, &(char[64]){ 0 }, 64));
  TRY("acct", syscall(SYS_acct, "/tmp/acct"));
  TRY("vhangup", syscall(SYS_vhangup));
  TRY("sync", syscall(SYS_syncfs, 0));
  TRY("TIOCSTI", syscall(SYS_ioctl, 0, TIOCSTI, "x"));
  TRY("TIOCSTI and high bits", syscall(SYS_ioctl, 0, 1ul << 32 | TIOCSTI, "x"));
  TRY("TIOCLINUX", syscall(SYS_ioctl, 0, TIOCLINUX, "\3"));
}

void try_calls(void)
{
  make_namespaces();
  make_mounts();
  enter_the_kernel();
  use_up_what_is_shared();
  change_the_machine();
}
