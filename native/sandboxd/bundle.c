/* A version's directory, as the gateway hands it over. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/daemon.h"

/* The directory becomes a mount of its own: read-only, no set-uid, no devices. The gateway could open it, so there is nothing in it that it may not read. */
int fl_bundle_mount(int bundle, int *ret_mount, struct fl_error *err)
{
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  struct stat status;

  if (fstat(bundle, &status) < 0 || !S_ISDIR(status.st_mode))
    return fl_fail(err, FL_ERR_BAD_MESSAGE, ENOTDIR, "bundle", "the bundle is not a directory");
  fl_autoclose int mount = open_tree(bundle, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (mount < 0)
    return fl_fail_errno(err, "open_tree");
  if (mount_setattr(mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
    return fl_fail_errno(err, "mount_setattr");
  *ret_mount = fl_steal_fd(&mount);
  return 0;
}

bool fl_bundle_same(int one, int other)
{
  struct stat first, second;

  return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

int fl_bundle_none(int *ret_mount, struct fl_error *err)
{
  fl_autoclose int context = fsopen("tmpfs", FSOPEN_CLOEXEC);

  if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return fl_fail_errno(err, "fsopen");
  int mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  if (mount < 0)
    return fl_fail_errno(err, "fsmount");
  *ret_mount = mount;
  return 0;
}
