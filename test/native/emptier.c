/*
 * The emptier: what functions leave in their layers goes, however it lies there; nothing else does; and whoever dies meanwhile, the slot is free again. As root.
 */
#include <linux/securebits.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/directory.h"
#include "base/file.h"
#include "instance.h"
#include "sandbox/builder.h"
#include "sandbox/emptier.h"
#include "sandbox/pool.h"

enum { OWNER = 0x30000000 + FL_INNER_UID, FLASHD_OWN = 2, DEEP = 6000, MANY = 4 * FL_EMPTIER_FILES_MIN, CROWD = 20000, AWAIT_MS = 5000, ENDS_MS = 500 };

static const struct fl_cgroup nowhere = { .into_fd = -1 };
static const char *const places[FLASHD_OWN] = { "tmp", "home" };
static char name[64];

/* --- layers --- */

/* A layer as sandboxes have it, current directory and all; what happens to it is seen by nobody else. */
static int new_layer(void)
{
  int layer;

  CHECK(mount("tmpfs", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV, "size=256m,nr_inodes=100000") == 0);
  CHECK(mkdir("/mnt/tmp", 0755) == 0 && chmod("/mnt/tmp", 01777) == 0);
  CHECK(mkdir("/mnt/home", 0700) == 0 && chown("/mnt/home", OWNER, OWNER) == 0);
  layer = open("/mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
  CHECK(layer >= 0);
  return layer;
}

static void drop_layer(int layer)
{
  close(layer);
  CHECK(umount2("/mnt", MNT_DETACH) == 0);
}

/* In the layer's /tmp, as the function does it. */
static void as_function(void (*act)(void))
{
  pid_t pid = fork();
  int status;

  if (pid == 0) {
    CHECK(chdir("/mnt/tmp") == 0 && setgroups(0, NULL) == 0 && setresgid(OWNER, OWNER, OWNER) == 0 && setresuid(OWNER, OWNER, OWNER) == 0);
    act();
    _exit(0);
  }
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void make_file(const char *path)
{
  int fd = open(path, O_CREAT | O_WRONLY, 0600);

  CHECK(fd >= 0);
  close(fd);
}

static void make_files(uint32_t count)
{
  char path[32];

  for (uint32_t i = 0; i < count; i++) {
    snprintf(path, sizeof path, "f%u", i);
    make_file(path);
  }
}

static void many(void) { make_files(MANY); }
static void few(void) { make_files(8); }
static void crowd(void) { make_files(CROWD); }

static int start(int layer, const struct fl_cgroup *cgroup)
{
  struct fl_error error = { 0 };

  if (fl_emptier_start(layer, cgroup, OWNER, &error) == 0)
    return 0;
  fprintf(stderr, "start: %s: %s (%s)\n", error.op, strerror(error.errno_value), error.detail);
  return -1;
}

/* By its exit status. */
static int run(int layer)
{
  int status;

  CHECK(start(layer, &nowhere) == 0 && wait(&status) > 0 && WIFEXITED(status));
  return WEXITSTATUS(status);
}

static uint64_t files_in(int layer)
{
  struct statfs files;

  CHECK(fstatfs(layer, &files) == 0);
  return files.f_files - files.f_ffree;
}

static bool is_empty(int layer)
{
  for (int i = 0; i < FLASHD_OWN; i++)
    if (faccessat(layer, places[i], F_OK, 0) < 0)
      return false;
  return files_in(layer) == 1 + FLASHD_OWN;
}

static void it_is_for_many_files(void)
{
  int layer = new_layer();

  CHECK(!fl_emptier_needed(-1) && !fl_emptier_needed(layer));
  as_function(few);
  CHECK(!fl_emptier_needed(layer));
  as_function(many);
  CHECK(fl_emptier_needed(layer));
  CHECK(run(layer) == 0 && is_empty(layer));
  drop_layer(layer);
}

static void make_depths(void)
{
  CHECK(mkdir("deep", 0700) == 0 && chdir("deep") == 0);
  for (int i = 0; i < DEEP; i++) {
    CHECK(mkdir("and", 0700) == 0);
    make_file("file");
    CHECK(chdir("and") == 0);
  }
}

static void deeper_than_any_path(void)
{
  int layer = new_layer();

  as_function(make_depths);
  CHECK(files_in(layer) > 2 * DEEP);
  CHECK(run(layer) == 0 && is_empty(layer));
  drop_layer(layer);
}

/* Names that the emptier would give itself, directories that nobody may look into, and what is no plain file. */
static void make_obstacles(void)
{
  static const mode_t modes[] = { 0, 01000, 0500, 0300 };
  char path[32];

  for (size_t i = 0; i < 2 * FL_COUNT(modes); i++) {
    snprintf(path, sizeof path, "%zu", i);
    CHECK(mkdir(path, 0700) == 0 && chdir(path) == 0);
    for (int j = 0; j < 8; j++) {
      snprintf(path, sizeof path, "%d", j);
      CHECK(mkdir(path, 0700) == 0 && chdir(path) == 0);
      make_file("0");
      CHECK(chdir("..") == 0 && chmod(path, 0) == 0);
    }
    snprintf(path, sizeof path, "%zu", i);
    CHECK(chdir("..") == 0 && chmod(path, modes[i % FL_COUNT(modes)]) == 0);
  }
  CHECK(mkfifo("fifo", 0) == 0 && symlink("..", "up") == 0 && symlink("/mnt-outside", "out") == 0 && link("fifo", "again") == 0);
  CHECK(mknod("socket", S_IFSOCK, 0) == 0);
  make_file("name\nwith \xff");
}

static void whatever_stands_in_its_way(void)
{
  int layer = new_layer();

  as_function(make_obstacles);
  CHECK(run(layer) == 0 && is_empty(layer));
  drop_layer(layer);
}

static void link_outside(void)
{
  CHECK(symlink("/mnt/home", "home") == 0 && symlink("/media/outside", "outside") == 0);
}

static void what_is_not_the_functions_stays(void)
{
  int layer = new_layer();

  CHECK(mount("tmpfs", "/media", "tmpfs", 0, "size=64k") == 0 && mkdir("/media/outside", 0777) == 0 && chmod("/media/outside", 0777) == 0);
  make_file("/media/outside/kept");
  CHECK(chown("/media/outside/kept", OWNER, OWNER) == 0);
  make_file("/mnt/kept");
  CHECK(mkdir("/mnt/home/of-root", 0700) == 0);
  make_file("/mnt/home/of-root/kept");
  as_function(link_outside);
  as_function(many);
  CHECK(run(layer) == 0);
  CHECK(access("/media/outside/kept", F_OK) == 0 && access("/mnt/kept", F_OK) == 0 && access("/mnt/home/of-root/kept", F_OK) == 0);
  CHECK(umount2("/media", MNT_DETACH) == 0);
  drop_layer(layer);
}

/* --- the process --- */

static bool field_is(const char *text, const char *key, const char *value)
{
  const char *found = strstr(text, key);

  return found && !strncmp(found + strlen(key), value, strlen(value));
}

static pid_t child_of(pid_t parent, const char *named)
{
  char path[64], text[4096];

  for (pid_t pid = parent + 1; pid < parent + 4096; pid++) {
    char parents[32];

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    snprintf(parents, sizeof parents, "%d\n", parent);
    if (fl_file_read(AT_FDCWD, path, text, sizeof text) >= 0 && field_is(text, "PPid:\t", parents) && field_is(text, "Name:\t", named))
      return pid;
  }
  return 0;
}

/* All but the first three. */
static bool has_only_descriptors_of(int layer, pid_t pid)
{
  struct stat of_layer, found;
  char path[64];

  CHECK(fstat(layer, &of_layer) == 0);
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  fl_autoclosedir DIR *entries = opendir(path);
  CHECK(entries);
  for (const struct dirent *entry; (entry = readdir(entries));)
    if (fl_directory_is_entry(entry) && atoi(entry->d_name) > 2 && (fstatat(dirfd(entries), entry->d_name, &found, 0) < 0 || found.st_dev != of_layer.st_dev))
      return false;
  return true;
}

static void it_has_the_functions_user_and_nothing_else(void)
{
  int layer = new_layer(), status, unrelated = open("/etc/passwd", O_RDONLY);
  char path[64], text[4096], uids[64];
  pid_t pid = 0;

  as_function(crowd);
  CHECK(unrelated >= 0 && prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0);      /* as for a service that is not root: with another user, capabilities do not go by themselves */
  CHECK(start(layer, &nowhere) == 0);
  while (!pid)
    pid = child_of(getpid(), "flashd-emptier");
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  snprintf(uids, sizeof uids, "%d\t%d\t%d\t%d\n", OWNER, OWNER, OWNER, OWNER);
  do
    CHECK(fl_file_read(AT_FDCWD, path, text, sizeof text) >= 0 && !field_is(text, "State:\t", "Z"));
  while (files_in(layer) > CROWD - FL_EMPTIER_BATCH);
  CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
  CHECK(fl_file_read(AT_FDCWD, path, text, sizeof text) >= 0);
  CHECK(field_is(text, "Uid:\t", uids) && field_is(text, "Gid:\t", uids) && field_is(text, "NoNewPrivs:\t", "1") && field_is(text, "Groups:\t", " \n"));
  for (size_t i = 0; i < 4; i++) {
    static const char *const sets[] = { "CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapAmb:\t" };

    CHECK(field_is(text, sets[i], "0000000000000000"));
  }
  CHECK(has_only_descriptors_of(layer, pid));
  snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
  CHECK(fl_file_read(AT_FDCWD, path, text, sizeof text) >= 0 && atoi(text) == 1000);
  CHECK(kill(pid, SIGCONT) == 0 && waitpid(pid, &status, 0) == pid && status == 0 && is_empty(layer));
  close(unrelated);
  drop_layer(layer);
}

/* --- slots --- */

static bool settled_with_one(struct fl_parts *parts)
{
  struct fl_parts_levels levels;

  fl_parts_levels(parts, &levels);
  return levels.ending == 0 && levels.building == 0 && levels.pooled == 1;
}

static void leave_crowd(void *unused)
{
  (void)unused;
  CHECK(chdir("/tmp") == 0);
  make_files(CROWD);
}

static struct fl_parts *open_one(struct fl_sandbox *ret)
{
  const struct fl_limits limits = { .memory_bytes = 256 << 20, .tmp_bytes = 64 << 20, .tmp_inodes = 100000, .pids = 8, .cpu_millis = 4000, .descriptors = 64 };
  struct fl_parts *parts = parts_open(&(struct fl_parts_config){ .cgroup_name = name, .uid_base = 0x30000000, .slots = 1, .pool_floor = 1, .pool_ceiling = 1, .defaults = limits });

  CHECK(parts_pump(parts, settled_with_one, AWAIT_MS) && fl_parts_take(parts, FL_NETWORK_NONE, ret, NULL) == 0);
  CHECK(instance_run(parts, ret, true, leave_crowd, NULL) == 0);
  fl_parts_end(parts, ret);
  return parts;
}

static pid_t emptier;

static bool is_at_work(struct fl_parts *parts)
{
  return (emptier = child_of(parts->builder, "flashd-emptier")) != 0;
}

static bool is_in_cgroup(pid_t pid)
{
  char path[64], text[4096];

  snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
  return fl_file_read(AT_FDCWD, path, text, sizeof text) >= 0 && strstr(text, name) && strstr(text, "/s0\n");
}

static bool has_ended(pid_t pid)
{
  char path[64], text[4096] = "";

  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  return fl_file_read(AT_FDCWD, path, text, sizeof text) < 0 || strstr(text, ") Z ");
}

static void it_works_in_the_sandboxes_cgroup_and_then_the_slot_is_free(void)
{
  struct fl_sandbox sandbox;
  struct fl_parts *parts = open_one(&sandbox);

  CHECK(parts_pump(parts, is_at_work, AWAIT_MS) && parts->slot[0].scratch_fd < 0);
  for (int tries = 0; !is_in_cgroup(emptier) && tries < 100; tries++)
    usleep(100);
  CHECK(is_in_cgroup(emptier));
  CHECK(parts_pump(parts, settled_with_one, 2 * AWAIT_MS) && has_ended(emptier));
  fl_parts_close(parts);
}

static void killed_it_leaves_the_rest_to_the_kernel(void)
{
  struct fl_sandbox sandbox;
  struct fl_parts *parts = open_one(&sandbox);

  CHECK(parts_pump(parts, is_at_work, AWAIT_MS) && kill(emptier, SIGKILL) == 0);
  CHECK(parts_pump(parts, settled_with_one, AWAIT_MS));
  fl_parts_close(parts);
}

static void it_dies_with_the_builder(void)
{
  struct fl_sandbox sandbox;
  struct fl_parts *parts = open_one(&sandbox);

  CHECK(parts_pump(parts, is_at_work, AWAIT_MS) && kill(parts->builder, SIGKILL) == 0);
  for (int tries = 0; !has_ended(emptier) && tries < ENDS_MS; tries++)
    usleep(1000);
  CHECK(has_ended(emptier));                   /* before anybody sweeps */
  CHECK(parts_pump(parts, settled_with_one, AWAIT_MS));
  fl_parts_close(parts);
}

/* Mounts of its own. */
static void layers(void)
{
  CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  it_is_for_many_files();
  deeper_than_any_path();
  whatever_stands_in_its_way();
  what_is_not_the_functions_stays();
  it_has_the_functions_user_and_nothing_else();
}

int main(void)
{
  int status;
  pid_t pid = fork();

  if (pid == 0) {
    layers();
    return 0;
  }
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
  snprintf(name, sizeof name, "flashd-emptier-%d", getpid());
  it_works_in_the_sandboxes_cgroup_and_then_the_slot_is_free();
  killed_it_leaves_the_rest_to_the_kernel();
  it_dies_with_the_builder();
  return 0;
}
