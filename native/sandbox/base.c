/*
 * Builds the stage with the base in it, and turns a private copy of the stage into a root: see base.h.
 *
 *   stage   tmpfs                       /base, /scratch, /proc, /binary
 *   base    tmpfs, ro,nosuid,nodev      /etc (synthetic), /opt/flashd/<runtime>/…, symlinks as on the host, mount points
 *   /opt/flashd/self/<program>          flashd's own binary, ro,nosuid,nodev, for a runtime that the host has no program for
 *   /usr    the host's, ro,nosuid,nodev (also /bin, /lib … where they are directories of their own)
 *   /sys    two files, for glibc
 *   /dev    tmpfs, ro,nosuid,noexec     made here, because device nodes work only on a file system of the initial user namespace; without CAP_MKNOD the devices in it are
 *                                       those that we were given: the service's own, which systemd made for it (PrivateDevices=), or a container's
 */
#include "sandbox/base.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "flashd/protocol.h"
#include "sandbox/parts.h"
#include "sys/syscalls.h"

/* Any directory that surely exists and holds nothing we need: only the builder's own namespace sees it covered. */
#define STAGE_POINT "/tmp"
/* In the stage, beside the base. */
#define STAGE_BINARY "binary"

static int failed(struct fl_error *err, const char *op, const char *path)
{
  return fl_fail(err, FL_ERR_SYSTEM, errno, op, "%.100s", path);
}

static int make_directory(const char *path, mode_t mode, struct fl_error *err)
{
  if (mkdir(path, mode) < 0 && errno != EEXIST)
    return failed(err, "mkdir", path);
  return chmod(path, mode) < 0 ? failed(err, "chmod", path) : 0;                  /* the umask does not count */
}

static int set_flags(const char *path, uint64_t flags, struct fl_error *err)
{
  struct mount_attr attributes = { .attr_set = flags };

  return mount_setattr(AT_FDCWD, path, 0, &attributes, sizeof attributes) < 0 ? failed(err, "mount_setattr", path) : 0;
}

static int bind_mount(const char *from, const char *to, unsigned long recursive, struct fl_error *err)
{
  return mount(from, to, NULL, MS_BIND | recursive, NULL) < 0 ? failed(err, "bind", to) : 0;
}

static int bind_host(const char *from, const char *to, struct fl_error *err)
{
  int result = make_directory(to, 0755, err);

  if (result == 0)
    result = bind_mount(from, to, 0, err);
  return result < 0 ? result : set_flags(to, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
}

/* /usr and what stands beside it: a symlink where /usr is merged, else a directory of its own. Relative to the base. */
static int add_system(struct fl_error *err)
{
  static const char *const beside[] = { "bin", "sbin", "lib", "lib64", "lib32", "libx32" };
  int result = bind_host("/usr", "usr", err);

  for (size_t index = 0; result == 0 && index < FL_COUNT(beside); index++) {
    char host[32], target[256];
    struct stat status;
    ssize_t length;

    snprintf(host, sizeof host, "/%s", beside[index]);
    if (lstat(host, &status) < 0)
      continue;                                                                  /* few hosts have all of them */
    if (S_ISDIR(status.st_mode)) {
      result = bind_host(host, beside[index], err);
      continue;
    }
    length = readlink(host, target, sizeof target - 1);
    if (length < 0)
      return failed(err, "readlink", host);
    target[length] = 0;
    if (symlink(target, beside[index]) < 0)
      return failed(err, "symlink", beside[index]);
  }
  return result;
}

/* Made rather than shown wherever that is permitted: locks and watches on it are then seen by nobody outside of the sandboxes. */
static int add_device(const char *path, unsigned major, unsigned minor, struct fl_error *err)
{
  const char *target = path + 1;
  struct stat status;
  int result;

  if (mknod(target, S_IFCHR | 0666, makedev(major, minor)) == 0)
    return chmod(target, 0666) < 0 ? failed(err, "chmod", target) : 0;
  if (errno != EPERM)
    return failed(err, "mknod", target);
  if ((result = fl_file_put(AT_FDCWD, target, 0444, NULL, 0)) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "write", "%.100s", target);
  if ((result = bind_mount(path, target, 0, err)) < 0)
    return result;
  if (stat(target, &status) < 0)
    return failed(err, "stat", target);
  if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(major, minor))
    return fl_fail(err, FL_ERR_UNSUPPORTED, ENODEV, "device", "%.100s is something else", path);
  return set_flags(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
}

static int add_devices(struct fl_error *err)
{
  static const struct { const char *path; unsigned major, minor; } nodes[] = {
    { "/dev/null", 1, 3 }, { "/dev/zero", 1, 5 }, { "/dev/full", 1, 7 }, { "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
  };
  static const char *const links[][2] = {
    { "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" }, { "/proc/self/fd/2", "dev/stderr" },
  };

  if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=64,mode=755") < 0)
    return failed(err, "mount tmpfs", "dev");
  for (size_t index = 0; index < FL_COUNT(nodes); index++) {
    int result = add_device(nodes[index].path, nodes[index].major, nodes[index].minor, err);

    if (result < 0)
      return result;
  }
  for (size_t index = 0; index < FL_COUNT(links); index++)
    if (symlink(links[index][0], links[index][1]) < 0)
      return failed(err, "symlink", links[index][1]);
  if (mkdir("dev/shm", 0755) < 0)
    return failed(err, "mkdir", "dev/shm");
  return set_flags("dev", MOUNT_ATTR_RDONLY, err);
}

static int add_runtime(const struct fl_pack_runtime *runtime, struct fl_error *err)
{
  char path[FL_NAME_MAX + FL_PACK_PATH_MAX + 32];
  int start = snprintf(path, sizeof path, "opt/flashd/%s", runtime->name);
  int result = make_directory(path, 0755, err);

  for (uint32_t index = 0; result == 0 && index < runtime->files; index++) {
    const struct fl_pack_file *file = &runtime->file[index];

    snprintf(path + start, sizeof path - (size_t)start, "/%s", file->path);
    for (char *slash = strchr(path + start + 1, '/'); slash && result == 0; slash = strchr(slash + 1, '/')) {
      *slash = 0;
      result = make_directory(path, 0755, err);
      *slash = '/';
    }
    if (result == 0 && (result = fl_file_put(AT_FDCWD, path, (file->mode & 0555) | 0444, file->bytes, file->size)) < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "write runtime", "%.100s", path);
  }
  return result;
}

/* For a binary that is not on the disk any more, because it was replaced: the kernel mounts no such file. Until the next start the copy takes memory. */
static int copy_binary(int binary_fd, const char *path, struct fl_error *err)
{
  struct stat status;

  if (fstat(binary_fd, &status) < 0)
    return failed(err, "stat", path);
  size_t size = (size_t)status.st_size;
  void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, binary_fd, 0);
  if (bytes == MAP_FAILED)
    return failed(err, "mmap", path);
  int result = fl_file_put(AT_FDCWD, path, 0555, bytes, size);
  munmap(bytes, size);
  return result < 0 ? fl_fail(err, FL_ERR_SYSTEM, -result, "copy binary", "%.100s", path) : 0;
}

/* flashd's binary stands in for the runtime's program, under its name. lost_fd: -1 when it stands in the stage. */
static int add_own_program(const struct fl_pack_runtime *runtime, int lost_fd, struct fl_error *err)
{
  char path[sizeof FL_OWN_PROGRAMS + FL_PACK_PATH_MAX];
  int result = make_directory("opt/flashd/" FL_OWN_DIRECTORY, 0755, err);

  if (result == 0 && snprintf(path, sizeof path, "%s%s", FL_OWN_PROGRAMS + 1, runtime->argv[0]) >= (int)sizeof path)
    result = fl_fail(err, FL_ERR_BAD_MESSAGE, ENAMETOOLONG, "own program", "%.100s", runtime->argv[0]);
  if (result == 0 && lost_fd >= 0)
    return copy_binary(lost_fd, path, err);
  if (result == 0 && (result = fl_file_put(AT_FDCWD, path, 0444, NULL, 0)) < 0)
    result = fl_fail(err, FL_ERR_SYSTEM, -result, "own program", "%.100s", path);
  if (result == 0)
    result = bind_mount("../" STAGE_BINARY, path, 0, err);
  return result < 0 ? result : set_flags(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
}

/*
 * With its tunable glibc.malloc.hugetlb, which runtime.json sets, glibc takes memory on a huge page's borders and advises the kernel of it, but only if it reads here, in these very words, that the policy is madvise. What
 * becomes of that is up to the machine's real policy.
 */
static int add_huge_pages(struct fl_error *err)
{
  static const struct { const char *path, *text; } files[] = { { "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n" }, { "sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n" } };
  static const char *const directories[] = { "sys/kernel", "sys/kernel/mm", "sys/kernel/mm/transparent_hugepage" };
  int result = 0;

  for (size_t index = 0; result == 0 && index < FL_COUNT(directories); index++)
    result = make_directory(directories[index], 0755, err);
  for (size_t index = 0; result == 0 && index < FL_COUNT(files); index++)
    if ((result = fl_file_put(AT_FDCWD, files[index].path, 0444, files[index].text, strlen(files[index].text))) < 0)
      return fl_fail(err, FL_ERR_SYSTEM, -result, "write", "%.100s", files[index].path);
  return result;
}

static int build_base(const struct fl_pack *pack, int lost_fd, struct fl_error *err)
{
  static const char *const directories[] = {
    "etc", "dev", "proc", "run", "sys", "tmp", "var", "var/tmp", "var/empty", "home", "home/function", "root", "function", "opt", "opt/flashd", "mnt",
  };
  fl_autoclose int etc = -1;
  char options[64];
  int result = 0;

  snprintf(options, sizeof options, "size=%d,mode=755", FL_BASE_BYTES_MAX);
  if (mount("tmpfs", "base", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
    return failed(err, "mount tmpfs", "base");
  if (chdir("base") < 0)
    return failed(err, "chdir", "base");
  for (size_t index = 0; result == 0 && index < FL_COUNT(directories); index++)
    result = make_directory(directories[index], 0755, err);
  if (result == 0)
    result = add_system(err);
  if (result == 0)
    result = add_devices(err);
  if (result == 0)
    result = add_huge_pages(err);
  for (uint32_t index = 0; result == 0 && pack && index < pack->count; index++) {
    result = add_runtime(&pack->runtime[index], err);
    if (result == 0 && pack->runtime[index].own)
      result = add_own_program(&pack->runtime[index], lost_fd, err);
  }
  if (result < 0)
    return result;
  etc = open("etc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
  if (etc < 0)
    return failed(err, "open", "etc");
  result = fl_base_etc(etc, pack, err);
  if (result == 0)
    result = set_flags(".", MOUNT_ATTR_RDONLY, err);
  return result == 0 && chdir("..") < 0 ? failed(err, "chdir", "..") : result;
}

/* The current directory, a mount point, becomes the root; what was the root is gone. */
static int become_root(struct fl_error *err)
{
  int result = fl_pivot_root(".", ".");

  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "pivot_root", NULL);
  /* The old root now lies on top of the new one: "." leads to it. */
  if (umount2(".", MNT_DETACH) < 0)
    return failed(err, "umount", "old root");
  return chdir("/") < 0 ? failed(err, "chdir", "/") : 0;
}

/*
 * What Docker masks, and whatever else tells the world machine-wide facts that no pid namespace narrows. Files that only the host's root may open (kmsg, slabinfo …)
 * need no mask: that user does not exist in here. Each mask costs 10 µs of every sandbox.
 */
static struct proc_path { const char *name; const char *cover; bool read_only, known; } proc_paths[] = {
  { .name = "proc/acpi" }, { .name = "proc/asound" }, { .name = "proc/driver" }, { .name = "proc/firmware" }, { .name = "proc/interrupts" }, { .name = "proc/iomem" },
  { .name = "proc/ioports" }, { .name = "proc/kallsyms" }, { .name = "proc/kcore" }, { .name = "proc/key-users" }, { .name = "proc/keys" },
  { .name = "proc/latency_stats" }, { .name = "proc/locks" }, { .name = "proc/modules" }, { .name = "proc/mtd" }, { .name = "proc/sched_debug" }, { .name = "proc/scsi" },
  { .name = "proc/softirqs" }, { .name = "proc/sysrq-trigger" }, { .name = "proc/timer_list" }, { .name = "proc/timer_stats" }, { .name = "proc/zoneinfo" },
  { .name = "proc/bus", .read_only = true }, { .name = "proc/fs", .read_only = true }, { .name = "proc/irq", .read_only = true }, { .name = "proc/sys", .read_only = true },
};

/* Once, with any /proc in sight: which of them this kernel has, and what covers each. Relative to the directory that proc stands in. */
static void learn_proc(void)
{
  struct stat status;

  for (size_t index = 0; index < FL_COUNT(proc_paths); index++) {
    struct proc_path *path = &proc_paths[index];

    if (!path->known && lstat(path->name, &status) == 0)
      path->cover = path->read_only ? path->name : S_ISDIR(status.st_mode) ? "var/empty" : "dev/null";
    path->known = true;
  }
}

/* Onto a file of the stage. *ret_lost: it is not on the disk any more. */
static int place_binary(int tree_fd, bool *ret_lost, struct fl_error *err)
{
  struct mount_attr attributes = { .propagation = MS_PRIVATE };
  int result = fl_file_put(AT_FDCWD, STAGE_BINARY, 0400, NULL, 0);

  if (result < 0)
    return fl_fail(err, FL_ERR_SYSTEM, -result, "write", STAGE_BINARY);
  if (mount_setattr(tree_fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
    return failed(err, "mount_setattr", STAGE_BINARY);
  int moved = move_mount(tree_fd, "", AT_FDCWD, STAGE_BINARY, MOVE_MOUNT_F_EMPTY_PATH);
  *ret_lost = moved < 0 && errno == ENOENT;
  return moved < 0 && !*ret_lost ? failed(err, "move_mount", STAGE_BINARY) : 0;
}

int fl_base_stage(const struct fl_pack *pack, int binary_fd, struct fl_error *err)
{
  fl_autoclose int tree = -1;
  bool lost = false;
  int result;

  /* A detached copy of the mount that it lies on: once we have left that mount's namespace the kernel would refuse to make one. */
  if (binary_fd >= 0 && (tree = open_tree(binary_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)) < 0)
    return fl_fail_errno(err, "open_tree");
  if (unshare(CLONE_NEWNS) < 0)
    return fl_fail_errno(err, "unshare");
  /* Private before anything else is mounted: nothing of ours may reach the host. */
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return failed(err, "make private", "/");
  if (mount("tmpfs", STAGE_POINT, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=64,mode=755") < 0)
    return failed(err, "mount tmpfs", STAGE_POINT);
  if (chdir(STAGE_POINT) < 0)
    return failed(err, "chdir", STAGE_POINT);
  result = make_directory("base", 0755, err);
  if (result == 0)
    result = make_directory("scratch", 0755, err);
  if (result == 0)
    result = make_directory("proc", 0755, err);
  if (result == 0 && tree >= 0)
    result = place_binary(tree, &lost, err);
  if (result == 0)
    result = build_base(pack, lost ? binary_fd : -1, err);
  if (result == 0 && mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
    return failed(err, "mount proc", "stage");
  learn_proc();
  return result < 0 ? result : become_root(err);
}

/* Relative to the base. */
static int mask_proc(struct fl_error *err)
{
  int result = 0;

  learn_proc();
  for (size_t index = 0; result == 0 && index < FL_COUNT(proc_paths); index++) {
    const struct proc_path *path = &proc_paths[index];

    if (!path->cover)
      continue;
    result = bind_mount(path->cover, path->name, 0, err);
    if (result == 0 && path->read_only)
      result = set_flags(path->name, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
  }
  return result;
}

/* ONE tmpfs, shown at four places, so that one size holds for all of them. */
static int add_scratch(const struct fl_root *root, int *ret_scratch_fd, struct fl_error *err)
{
  static const struct { const char *source, *target; mode_t mode; bool owned; } parts[] = {
    { "/scratch/tmp", "tmp", 01777, false }, { "/scratch/var-tmp", "var/tmp", 01777, false }, { "/scratch/shm", "dev/shm", 01777, false },
    { "/scratch/home", "home/function", 0700, true },
  };
  char options[128];

  snprintf(options, sizeof options, "size=%" PRIu64 ",nr_inodes=%" PRIu64 ",mode=755", root->tmp_bytes, (uint64_t)root->tmp_inodes + FL_SCRATCH_INODES);
  if (mount("tmpfs", "/scratch", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
    return fl_fail(err, FL_ERR_SYSTEM, errno, "mount scratch", "%s", options);
  for (size_t index = 0; index < FL_COUNT(parts); index++) {
    int result = make_directory(parts[index].source, parts[index].mode, err);

    if (result == 0 && parts[index].owned && chown(parts[index].source, root->owner, root->owner) < 0)
      return failed(err, "chown", parts[index].source);
    if (result == 0)
      result = bind_mount(parts[index].source, parts[index].target, 0, err);
    if (result < 0)
      return result;
  }
  if (!ret_scratch_fd)
    return 0;
  *ret_scratch_fd = open("/scratch", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return *ret_scratch_fd < 0 ? failed(err, "open", "/scratch") : 0;
}

int fl_base_enter(const struct fl_root *root, int *ret_scratch_fd, struct fl_error *err)
{
  int result;

  /* A mount of our own: the one we inherited is locked to its place when the namespace belongs to a user namespace, and pivot_root refuses it. */
  result = bind_mount("/base", "/base", MS_REC, err);
  if (result < 0)
    return result;
  if (chdir("/base") < 0)
    return failed(err, "chdir", "/base");
  /* Before the pivot, while another /proc is in sight: the kernel demands one. */
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
    return failed(err, "mount", "proc");
  result = mask_proc(err);
  if (result == 0)
    result = add_scratch(root, ret_scratch_fd, err);
  if (result == 0)
    result = become_root(err);
  if (result < 0 && ret_scratch_fd)
    fl_close(ret_scratch_fd);
  return result;
}

int fl_base_room(struct fl_error *err)
{
  int result;

  if (mount("tmpfs", "/scratch", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=16,mode=755") < 0)
    return failed(err, "mount tmpfs", "room");
  if (chdir("/scratch") < 0)
    return failed(err, "chdir", "/scratch");
  result = make_directory("slots", 0755, err);
  if (result == 0)
    result = make_directory("base", 0755, err);
  if (result == 0)
    result = bind_mount("/base", "base", MS_REC, err);
  if (result < 0)
    return result;
  if (chdir("base") < 0 || mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") < 0)
    return failed(err, "mount", "proc");
  result = mask_proc(err);
  if (result == 0 && chdir("..") < 0)
    return failed(err, "chdir", "..");
  return result < 0 ? result : become_root(err);
}
