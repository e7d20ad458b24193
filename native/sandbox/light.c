/* See light.h. Format of the rules: linux/landlock.h, of which Debian 12's headers know only the beginning. */
#include "sandbox/light.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "sandbox/base.h"
#include "sandbox/init.h"
#include "sys/packet.h"
#include "sys/syscalls.h"

enum { PATH_BYTES = 64 };

/* Of versions 3 to 6. */
#define ACCESS_TRUNCATE (1ull << 14)
#define ACCESS_IOCTL_DEVICE (1ull << 15)
#define NET_BIND_TCP 1ull
#define NET_CONNECT_TCP 2ull
#define SCOPE_ABSTRACT_SOCKETS 1ull
#define SCOPE_SIGNALS 2ull
struct ruleset { uint64_t files, net, scoped; };

#define READS (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
  LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER | ACCESS_TRUNCATE)
/* What stands here and in no rule is refused: making devices among it. */
#define HANDLED (READS | WRITES | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | ACCESS_IOCTL_DEVICE)

/* The writable layer, as in every sandbox: one size for all of it. In the slot's directory, and where it is shown. */
static const struct { const char *name, *target; mode_t mode; } parts[] = {
  { "tmp", "root/tmp", 01777 }, { "var-tmp", "root/var/tmp", 01777 }, { "shm", "root/dev/shm", 01777 }, { "home", "root/home/function", 0700 },
};

uint32_t fl_light_abi(void)
{
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

  return version > 0 ? (uint32_t)version : 0;
}

static uid_t uid_of(const struct fl_parts_config *config, uint32_t slot)
{
  return config->uid_base + slot * FL_UIDS_PER_SLOT + FL_INNER_UID;
}

static int open_own(struct fl_error *err)
{
  int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

  return fd < 0 ? fl_fail_errno(err, "open mntns") : fd;
}

int fl_light_own(struct fl_error *err)
{
  fl_autoclose int own = open_own(err);
  struct stat before, after;
  int status = 0;

  if (own < 0)
    return own;
  if (stat("/", &before) < 0)
    return fl_fail_errno(err, "stat root");
  pid_t pid = fork();
  if (pid == 0)
    _exit(setns(own, CLONE_NEWNS) < 0 || stat("/", &after) < 0 || before.st_dev != after.st_dev || before.st_ino != after.st_ino);
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
    return fl_fail(err, FL_ERR_ISOLATION, pid < 0 ? errno : EINVAL, "light class", "flashd runs in a chroot: it could not come back from the room");
  return fl_steal_fd(&own);
}

int fl_light_open(struct fl_light *light, uint32_t slots, struct fl_error *err)
{
  *light = (struct fl_light){ .room = -1, .own = open_own(err), .in = calloc(slots, sizeof *light->in) };
  if (light->own < 0)
    return light->own;
  return light->in ? 0 : fl_fail(err, FL_ERR_SYSTEM, ENOMEM, "calloc", "light class");
}

/* Whoever does not come back would go on in the room: better none at all. sandboxd starts another builder, the supervisor another sandboxd. */
static void leave(int own)
{
  if (setns(own, CLONE_NEWNS) < 0)
    _exit(1);
}

static int write_maps(const struct fl_parts_config *config, pid_t pid, struct fl_error *err)
{
  static const char *const maps[] = { "uid_map", "gid_map" };
  char path[PATH_BYTES], text[96];
  uint32_t ids = config->slots * FL_UIDS_PER_SLOT;

  /* The init is the one id after those of the slots; instances are who they are outside. */
  snprintf(text, sizeof text, "0 %u 1\n%u %u %u\n", config->uid_base + ids, config->uid_base, config->uid_base, ids);
  for (size_t index = 0; index < FL_COUNT(maps); index++) {
    snprintf(path, sizeof path, "/proc/%d/%s", pid, maps[index]);
    int result = fl_file_write(AT_FDCWD, path, text);

    if (result < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, maps[index], "light class");
  }
  snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
  fl_file_write(AT_FDCWD, path, "-1000");        /* a hint, as for every init */
  return 0;
}

/* The conversation of init.h, waiting for each answer: a room is made once. */
static int settle(const struct fl_parts_config *config, struct fl_light *light, int socket_fd, struct fl_error *err)
{
  static const char go = FL_INIT_GO, live = FL_INIT_LIVE;
  struct pollfd polled = { .fd = socket_fd, .events = POLLIN };
  struct fl_error report = { 0 };
  size_t fds;
  int result = write_maps(config, light->pid, err);

  if (result == 0 && (result = fl_packet_send(socket_fd, &go, 1, NULL, 0)) < 0)
    result = fl_fail(err, FL_ERR_SYSTEM, -result, "start room", NULL);
  if (result < 0)
    return result;
  if (poll(&polled, 1, FL_LIGHT_REPORT_MS) != 1 || fl_packet_receive(socket_fd, &report, sizeof report, NULL, 0, &fds) != sizeof report)
    return fl_fail(err, FL_ERR_CHILD_LOST, 0, "room", "its init did not report");
  if (report.code != FL_OK)
    return fl_fail(err, report.code, report.errno_value, report.op, "%s", report.detail);
  /* Mounted by us, not by the init: only so may we make files in it. */
  if (setns(light->room, CLONE_NEWNS) < 0)
    return fl_fail_errno(err, "enter room");
  if (mount("tmpfs", "/slots", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=32k,mode=755") < 0)
    result = fl_fail_errno(err, "mount slots");
  leave(light->own);
  if (result == 0 && (result = fl_packet_send(socket_fd, &live, 1, NULL, 0)) < 0)
    result = fl_fail(err, FL_ERR_SYSTEM, -result, "start room", NULL);
  return result;
}

static int make_room(struct fl_light *light, const struct fl_parts_config *config, const struct fl_networks *networks, struct fl_error *err)
{
  struct clone_args args = { .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PARENT | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&light->room };
  static const struct fl_cgroup none = { .into_fd = -1 };
  int pair[2], result = 0;

  fl_close(&light->room);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int near = pair[0], far = pair[1];
  if (unshare(CLONE_NEWNET) < 0)                 /* loopback stays down in it */
    return fl_fail_errno(err, "unshare network");
  light->pid = fl_clone3(&args);
  if (light->pid == 0)
    fl_init_run(far, &none, NULL);
  if (fl_networks_leave(networks, err) < 0)
    _exit(1);
  if (light->pid < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -light->pid, "clone3", "room");
  light->number++;
  fl_close(&far);
  result = settle(config, light, near, err);
  if (result < 0) {
    fl_pidfd_kill(light->room);
    fl_close(&light->room);
  }
  return result;
}

static bool has_room(const struct fl_light *light)
{
  struct pollfd ended = { .fd = light->room, .events = POLLIN };

  return light->room >= 0 && poll(&ended, 1, 0) == 0;
}

static int failed(struct fl_error *err, const char *op, const char *path)
{
  return fl_fail(err, FL_ERR_SYSTEM, errno, op, "%.100s", path);
}

/* As that user: what it owns cannot be given to it without CAP_CHOWN. */
static int make_part(size_t index, uid_t owner, struct fl_error *err)
{
  bool owned = parts[index].mode == 0700;
  int result;

  if (owned && (setfsgid(owner), setfsuid(owner), setfsuid(-1) != (int)owner))
    return fl_fail(err, FL_ERR_SYSTEM, EPERM, "setfsuid", "%u", owner);
  result = mkdir(parts[index].name, parts[index].mode);
  if (owned)
    setfsuid(geteuid()), setfsgid(getegid());
  if (result < 0 || (!owned && chmod(parts[index].name, parts[index].mode) < 0))  /* the umask takes nothing from the owner */
    return failed(err, "mkdir", parts[index].name);
  return mount(parts[index].name, parts[index].target, NULL, MS_BIND, NULL) < 0 ? failed(err, "bind", parts[index].target) : 0;
}

static int allow(int ruleset, const char *path, uint64_t access, struct fl_error *err)
{
  fl_autoclose int fd = open(path, O_PATH | O_CLOEXEC);
  struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };

  if (fd < 0)
    return failed(err, "open", path);
  return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? failed(err, "landlock_add_rule", path) : 0;
}

/* In the slot's directory. */
static int make_ruleset(int *ret_ruleset, struct fl_error *err)
{
  const struct ruleset wanted = { .files = HANDLED, .net = NET_BIND_TCP | NET_CONNECT_TCP, .scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS };
  int result;

  *ret_ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, sizeof wanted, 0);
  if (*ret_ruleset < 0)
    return fl_fail_errno(err, "landlock_create_ruleset");
  result = allow(*ret_ruleset, ".", READS, err);
  if (result == 0)
    result = allow(*ret_ruleset, "/base/dev", LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEVICE, err);
  for (size_t index = 0; result == 0 && index < FL_COUNT(parts); index++)
    result = allow(*ret_ruleset, parts[index].name, WRITES, err);
  return result;
}

/* In the room, in the directory of slots. */
static int make_tree(const struct fl_parts_config *config, uint32_t slot, const char *name, struct fl_light_tree *ret_tree, struct fl_error *err)
{
  char options[96];
  int result = 0;

  snprintf(options, sizeof options, "size=%" PRIu64 ",nr_inodes=%" PRIu64 ",mode=777", config->defaults.tmp_bytes, (uint64_t)config->defaults.tmp_inodes + FL_SCRATCH_INODES);
  if ((mkdir(name, 0755) < 0 && errno != EEXIST) || mount("tmpfs", name, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 || chdir(name) < 0)
    return failed(err, "mount tmpfs", name);
  if (mkdir("root", 0755) < 0 || mount("/base", "root", NULL, MS_BIND | MS_REC, NULL) < 0)
    return failed(err, "bind", "root");
  for (size_t index = 0; result == 0 && index < FL_COUNT(parts); index++)
    result = make_part(index, uid_of(config, slot), err);
  if (result == 0 && chmod(".", 0755) < 0)       /* open until here for the owner of the home directory */
    result = failed(err, "chmod", name);
  if (result == 0)
    result = make_ruleset(&ret_tree->ruleset_fd, err);
  if (result < 0)
    return result;
  ret_tree->scratch_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  ret_tree->root_fd = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return ret_tree->scratch_fd < 0 || ret_tree->root_fd < 0 ? failed(err, "open", name) : 0;
}

int fl_light_build(struct fl_light *light, const struct fl_parts_config *config, const struct fl_networks *networks, uint32_t slot, struct fl_light_tree *ret_tree, struct fl_error *err)
{
  char name[PATH_BYTES];
  int result = has_room(light) ? 0 : make_room(light, config, networks, err);

  *ret_tree = (struct fl_light_tree){ -1, -1, -1 };
  if (result < 0)
    return result;
  light->in[slot] = light->number;
  snprintf(name, sizeof name, "/slots/%u", slot);
  if (setns(light->room, CLONE_NEWNS) < 0)
    return fl_fail_errno(err, "enter room");
  result = make_tree(config, slot, name, ret_tree, err);
  leave(light->own);
  return result;
}

void fl_light_remove(struct fl_light *light, uint32_t slot)
{
  char name[PATH_BYTES];
  uint32_t in = light->in[slot];

  light->in[slot] = 0;
  if (in != light->number || !has_room(light) || setns(light->room, CLONE_NEWNS) < 0)
    return;                                      /* it has gone with its room */
  snprintf(name, sizeof name, "/slots/%u", slot);
  umount2(name, MNT_DETACH);
  rmdir(name);
  leave(light->own);
}

/*
 * kill(-1) reaches all processes of its caller's at once: none of them forks past it. As that user, without a capability, it reaches nobody else; from inside of the room, nobody outside of it, whose uid somebody
 * may have given away twice. When the room has ended, so has everybody in it.
 */
void fl_light_kill(const struct fl_light *light, const struct fl_parts_config *config, uint32_t slot)
{
  uid_t uid = uid_of(config, slot);
  pid_t pid = has_room(light) ? fork() : -1;

  if (pid == 0) {
    pid_t inside = setns(light->room, CLONE_NEWPID) < 0 ? -1 : fork();       /* only children are inside */

    if (inside > 0)
      waitpid(inside, NULL, 0);
    if (inside != 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 || getuid() != uid || geteuid() != uid || fl_capabilities_drop() < 0)
      _exit(inside <= 0);
    kill(-1, SIGKILL);
    _exit(0);
  }
  if (pid > 0)
    waitpid(pid, NULL, 0);
}

int fl_light_mount(int own, const struct fl_sandbox *sandbox, int bundle, struct fl_error *err)
{
  int result = 0;

  if (setns(sandbox->init_pidfd, CLONE_NEWNS) < 0)
    return fl_fail(err, FL_ERR_CHILD_LOST, errno, "enter room", "slot %u", sandbox->slot);
  if (move_mount(bundle, "", sandbox->root_fd, "function", MOVE_MOUNT_F_EMPTY_PATH) < 0)
    result = fl_fail_errno(err, "move_mount");
  leave(own);
  return result;
}
