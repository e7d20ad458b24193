/*
 * A template's probe: its first fork, in a sandbox of its own, which serves the runtime's warm-up (the file "warmup.frames" of the pack: an INIT and a REQUEST) and is then
 * compared with the template. The pages it wrote to are what every fork will write to; they are pinned or touched ahead (inject/hot.h, inject/pin.h). It runs nobody's code but ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <flashd/frame.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/daemon.h"

static const struct fl_pack_file *warmup(const struct fl_pack_runtime *runtime)
{
  for (uint32_t i = 0; i < runtime->files; i++)
    if (strcmp(runtime->file[i].path, "warmup.frames") == 0)
      return &runtime->file[i];
  return NULL;
}

int fl_probe_start(struct fl_daemon *daemon, uint32_t index, struct fl_error *err)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  const struct fl_pack_file *frames = warmup(&daemon->pack->runtime[slot->template.runtime]);
  int pair[2];

  if (!frames)
    return -ENOENT;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int ours = pair[0], theirs = pair[1];
  fl_autoclose int out = open("/dev/null", O_WRONLY | O_CLOEXEC), log = dup(out), mount = -1;
  if (out < 0 || log < 0)
    return fl_fail_errno(err, "probe");
  if (fl_bundle_none(&mount, err) < 0)         /* the warm-up's handler stands among the runtime's own files */
    return -err->errno_value;
  if (send(ours, frames->bytes, frames->size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)frames->size)
    return fl_fail_errno(err, "send_warmup");
  int fds[FL_CREATE_DESCRIPTORS] = {fl_steal_fd(&theirs), fl_steal_fd(&out), fl_steal_fd(&log), fl_steal_fd(&mount)};
  slot->probe_fd = fl_steal_fd(&ours);
  int r = fl_starts_create_probe(daemon, slot, fds, err);
  for (int i = 0; i < FL_CREATE_DESCRIPTORS; i++)
    fl_close(&fds[i]);
  if (r < 0)
    fl_close(&slot->probe_fd);
  return r;
}

void fl_probe_running(struct fl_daemon *daemon, struct fl_template_slot *slot, pid_t pid)
{
  slot->probe_pid = pid;
  if (fl_daemon_watch(daemon, slot->probe_fd, FL_SOURCE_PROBE, (uint32_t)(slot - daemon->template_slot)) < 0)
    fl_instances_kill_probe(daemon, slot);
}

void fl_probe_readable(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  struct fl_frame frame = {0};
  struct fl_error err = {0};

  if (slot->probe_fd < 0)
    return;
  ssize_t length = recv(slot->probe_fd, &frame, sizeof frame, MSG_DONTWAIT);
  if (length == (ssize_t)sizeof frame && frame.type == FL_FRAME_STARTED) {       /* in one packet with its meta, of no interest here */
    struct fl_started started;

    recv(slot->probe_fd, &started, sizeof started, MSG_DONTWAIT);
    return;
  }
  if (length != (ssize_t)sizeof frame || frame.type != FL_FRAME_RESPONSE)
    fl_daemon_log("probe of template %d: no response to the warm-up (type %u)", slot->template.pid, frame.type);
  else if ((slot->template.hot = calloc(1, sizeof *slot->template.hot)) && fl_hot_find(slot->template.pid, slot->probe_pid, slot->template.hot, &err) < 0)
    fl_daemon_log_error("probe", &err);
  /* Only now: it ends by itself when its socket does. */
  fl_close(&slot->probe_fd);
  fl_instances_kill_probe(daemon, slot);
}

void fl_probe_ended(struct fl_daemon *daemon, struct fl_template_slot *slot)
{
  struct fl_error err = {0};

  fl_close(&slot->probe_fd);
  if (slot->probing && slot->template.hot && fl_pin_apply(slot->template.pid, &slot->template.infection, slot->template.hot, &slot->template.pinned, &err) < 0)
    fl_daemon_log_error("pin", &err);
  if (slot->probing)
    fl_templates_usable(daemon, slot);
}
