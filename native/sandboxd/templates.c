/*
 * Language templates: each runtime of the pack that a function needs has `templates` replicas, booted one after the other, replaced when they die, with a growing pause when they keep failing. Forks go round the ready ones.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandboxd/daemon.h"

enum { FIRST_CHILD_PID = 300, MILLISECOND = 1000000 };

#define SECOND 1000000000ull

int fl_templates_open(struct fl_daemon *daemon, struct fl_error *err)
{
  uint32_t places = daemon->options.templates > 1 ? daemon->options.templates : 2;

  if (daemon->pack->count * places > FL_TEMPLATES_MAX)
    return fl_fail(err, FL_ERR_BAD_LIMIT, E2BIG, "templates", "%u runtimes with %u replicas", daemon->pack->count, daemon->options.templates);
  daemon->template_places = places;
  daemon->template_slots = daemon->pack->count * places;
  daemon->next_pid = FIRST_CHILD_PID;
  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    struct fl_template_slot *slot = &daemon->template_slot[i];

    slot->template = (struct fl_template){.runtime = i / places, .data_fd = -1, .stderr_fd = -1, .infection = {.socket = -1, .bell = -1}};
    slot->probe_fd = -1;
  }
  return 0;
}

/* A bare name is looked for where interpreters are; links are followed on the host: in the base, /etc/alternatives does not exist. What we pack ourselves stands only there. */
static bool resolve(const char *name, char *ret_path, size_t size)
{
  static const char *const directories[] = {"/usr/local/bin/", "/usr/bin/", "/bin/"};
  char candidate[128], resolved[PATH_MAX];
  bool found = false;

  if (strncmp(name, FL_RUNTIME_FILES, sizeof FL_RUNTIME_FILES - 1) == 0)
    return snprintf(ret_path, size, "%s", name) < (int)size;
  for (size_t i = 0; i < FL_COUNT(directories) && !found; i++) {
    snprintf(candidate, sizeof candidate, "%s%s", name[0] == '/' ? "" : directories[i], name);
    found = realpath(candidate, resolved) && access(resolved, X_OK) == 0;
  }
  return found && snprintf(ret_path, size, "%s", resolved) < (int)size;
}

bool fl_templates_find_own(struct fl_daemon *daemon)
{
  bool found = false;

  for (uint32_t i = 0; i < daemon->pack->count; i++) {
    struct fl_pack_runtime *runtime = &daemon->pack->runtime[i];
    char path[PATH_MAX];

    if (!runtime->may_be_own || (!daemon->options.own && resolve(runtime->argv[0], path, sizeof path)))
      continue;
    fl_pack_make_own(runtime);
    found = true;
  }
  return found;
}

static bool wanted(const struct fl_daemon *daemon, uint32_t runtime)
{
  return daemon->executable[runtime][0] != 0;
}

bool fl_templates_booting(const struct fl_daemon *daemon, uint32_t runtime)
{
  return wanted(daemon, runtime) && daemon->template_slot[runtime * daemon->template_places].failures < FL_BOOT_FAILURES_MAX;
}

void fl_templates_want(struct fl_daemon *daemon, uint32_t runtime)
{
  if (runtime >= daemon->pack->count || wanted(daemon, runtime))
    return;
  const struct fl_pack_runtime *needed = &daemon->pack->runtime[runtime];
  char name[sizeof FL_OWN_PROGRAMS + FL_PACK_PATH_MAX];
  if (snprintf(name, sizeof name, "%s%s", needed->own ? FL_OWN_PROGRAMS : "", needed->argv[0]) < (int)sizeof name && resolve(name, daemon->executable[runtime], sizeof daemon->executable[0])) {
    daemon->runtime_detail[runtime][0] = 0;
    daemon->template_slot[runtime * daemon->template_places].boot_at_ns = 1;
  } else {
    daemon->executable[runtime][0] = 0;
    snprintf(daemon->runtime_detail[runtime], sizeof daemon->runtime_detail[0], "%s is not installed", name);
  }
  fl_commands_announce_runtime(daemon, runtime);
}

static bool usable(const struct fl_template_slot *slot, uint32_t runtime)
{
  return slot->template.runtime == runtime && slot->template.state == FL_TEMPLATE_READY && !slot->probing && !slot->retiring;
}

uint32_t fl_templates_ready(const struct fl_daemon *daemon, uint32_t runtime)
{
  uint32_t ready = 0;

  for (uint32_t i = 0; i < daemon->template_slots; i++)
    ready += usable(&daemon->template_slot[i], runtime);
  return ready;
}

static void failed(struct fl_daemon *daemon, struct fl_template_slot *slot, const char *what, const struct fl_error *err)
{
  struct fl_template *template = &slot->template;
  uint64_t pause = (uint64_t)FL_BOOT_RETRY_MS_MIN << (slot->failures < 8 ? slot->failures : 8);

  snprintf(daemon->runtime_detail[template->runtime], sizeof daemon->runtime_detail[0], "%s: %s: %s%s%s", what, err->op, err->detail,
           err->errno_value ? ": " : "", err->errno_value ? strerror(err->errno_value) : "");
  fl_daemon_log("template %s %d: %s", daemon->pack->runtime[template->runtime].name, template->pid, daemon->runtime_detail[template->runtime]);
  slot->failures++;
  slot->probing = false;
  slot->look_at_ns = 0;
  slot->boot_at_ns = fl_daemon_now_ns() + (pause > FL_BOOT_RETRY_MS_MAX ? FL_BOOT_RETRY_MS_MAX : pause) * MILLISECOND;
  fl_instances_template_lost(daemon, template);
  fl_template_kill(template);
  daemon->template_restarts++;
  fl_commands_announce_runtime(daemon, template->runtime);
}

static void boot(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  uint32_t runtime = slot->template.runtime;
  struct fl_error err = {0};

  slot->boot_at_ns = 0;
  slot->retiring = false;
  if (fl_template_boot(daemon->parts, daemon->pack, runtime, daemon->executable[runtime], &slot->template, &err) < 0 ||
      fl_daemon_watch(daemon, slot->template.data_fd, FL_SOURCE_TEMPLATE, index) < 0)
    failed(daemon, slot, "boot", &err);
  slot->template.boot = ++daemon->boots;
}

static uint64_t retires_at_ns(const struct fl_daemon *daemon, const struct fl_template *template)
{
  return template->forks >= daemon->options.template_forks ? 1 : template->booted_ns + daemon->options.template_seconds * SECOND;
}

/* Ready, booting or about to, and to stay. */
static uint32_t replicas(const struct fl_daemon *daemon, uint32_t runtime)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < daemon->template_places; i++) {
    const struct fl_template_slot *slot = &daemon->template_slot[runtime * daemon->template_places + i];

    count += slot->boot_at_ns || (!slot->retiring && (slot->template.state == FL_TEMPLATE_BOOTING || slot->template.state == FL_TEMPLATE_READY));
  }
  return count;
}

static void boot_successor(struct fl_daemon *daemon, uint32_t runtime)
{
  for (uint32_t i = 0; i < daemon->template_places && replicas(daemon, runtime) < 2; i++) {
    struct fl_template_slot *slot = &daemon->template_slot[runtime * daemon->template_places + i];

    if (slot->template.pid == 0)
      slot->boot_at_ns = 1;
  }
}

/*
 * One that has served its time stops forking when another one of its runtime can; an only one has a successor booted first. The many forks of one template share its address-space
 * layout, and so would an attacker's knowledge of it (Lee et al., "From Zygote to Morula", IEEE S&P 2014).
 */
static void retire(struct fl_daemon *daemon, struct fl_template_slot *slot, uint64_t now_ns)
{
  struct fl_template *template = &slot->template;

  if (!slot->retiring && (!usable(slot, template->runtime) || retires_at_ns(daemon, template) > now_ns))
    return;
  if (!slot->retiring && fl_templates_ready(daemon, template->runtime) < 2) {
    boot_successor(daemon, template->runtime);
    return;
  }
  slot->retiring = true;
  if (!fl_functions_retired(daemon, template) || !fl_instances_template_unused(daemon, template))
    return;
  daemon->template_rotations++;
  fl_template_kill(template);
}

static void became_ready(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  struct fl_error err = {0};

  slot->probing = true;
  int r = fl_probe_start(daemon, index, &err);
  if (r == 0)
    return;
  if (r != -ENOENT)
    fl_daemon_log_error("probe", &err);
  fl_templates_usable(daemon, slot);
}

static void look(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  struct fl_error err = {0};

  if (slot->look_at_ns == 0)
    slot->settling = (struct fl_settling){0};
  slot->look_at_ns = fl_daemon_now_ns() + (uint64_t)FL_SETTLE_LOOK_MS * MILLISECOND;
  if (!fl_settled(slot->template.pid, &slot->settling))
    return;
  slot->look_at_ns = 0;
  if (fl_template_freeze(&slot->template, &err) < 0 || fl_daemon_watch(daemon, slot->template.infection.bell, FL_SOURCE_TEMPLATE, index) < 0)
    failed(daemon, slot, "freeze", &err);
  else
    became_ready(daemon, index);
}

void fl_templates_run(struct fl_daemon *daemon, uint64_t now_ns)
{
  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    struct fl_template_slot *slot = &daemon->template_slot[i];

    if (slot->boot_at_ns && slot->boot_at_ns <= now_ns)
      boot(daemon, i);
    if (slot->look_at_ns && slot->look_at_ns <= now_ns)
      look(daemon, i);
    if (slot->template.state == FL_TEMPLATE_BOOTING && slot->template.booted_ns + (uint64_t)FL_TEMPLATE_BOOT_MS * MILLISECOND < now_ns)
      failed(daemon, slot, "boot", &(struct fl_error){FL_ERR_TEMPLATE, ETIMEDOUT, "wait", "not ready in time"});
    if (slot->template.state == FL_TEMPLATE_READY)
      retire(daemon, slot, now_ns);
  }
}

uint64_t fl_templates_deadline_ns(const struct fl_daemon *daemon)
{
  uint64_t nearest = UINT64_MAX;

  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    const struct fl_template_slot *slot = &daemon->template_slot[i];
    uint64_t deadline = slot->boot_at_ns;

    if (slot->template.state == FL_TEMPLATE_BOOTING)
      deadline = slot->look_at_ns ? slot->look_at_ns : slot->template.booted_ns + (uint64_t)FL_TEMPLATE_BOOT_MS * MILLISECOND;
    /* One that is due by its forks, or waits for them, is looked at whenever anything happens. */
    if (slot->template.state == FL_TEMPLATE_READY && !slot->retiring && slot->template.booted_ns + daemon->options.template_seconds * SECOND > fl_daemon_now_ns())
      deadline = slot->template.booted_ns + daemon->options.template_seconds * SECOND;
    if (deadline && deadline < nearest)
      nearest = deadline;
  }
  return nearest;
}

void fl_templates_usable(struct fl_daemon *daemon, struct fl_template_slot *slot)
{
  uint32_t index = (uint32_t)(slot - daemon->template_slot);

  slot->probing = false;
  slot->failures = 0;
  daemon->runtime_detail[slot->template.runtime][0] = 0;
  fl_daemon_log("template %s %d: ready with %u thread%s, %u hot pages, after %lu ms", daemon->pack->runtime[slot->template.runtime].name, slot->template.pid,
                slot->template.infection.threads, slot->template.infection.threads == 1 ? "" : "s", slot->template.pinned, (fl_daemon_now_ns() - slot->template.booted_ns) / MILLISECOND);
  if (index + 1 < daemon->template_slots) {
    struct fl_template_slot *next = &daemon->template_slot[index + 1];

    if (next->template.runtime == slot->template.runtime && next->template.state == FL_TEMPLATE_NONE && replicas(daemon, next->template.runtime) < daemon->options.templates)
      next->boot_at_ns = 1;
  }
  fl_commands_announce_runtime(daemon, slot->template.runtime);
}

void fl_templates_readable(struct fl_daemon *daemon, uint32_t index)
{
  struct fl_template_slot *slot = &daemon->template_slot[index];
  struct fl_template *template = &slot->template;
  struct fl_fork_report report;
  struct fl_error err = {0};

  if (template->state == FL_TEMPLATE_BOOTING) {
    if (fl_template_said_ready(template, &err) < 0)
      failed(daemon, slot, "boot", &err);
    else
      look(daemon, index);
  } else if (template->state == FL_TEMPLATE_READY) {
    uint64_t rings;
    int r;

    if (read(template->infection.bell, &rings, sizeof rings) < 0 && errno != EAGAIN)
      fl_daemon_log("template %d: bell: %s", template->pid, strerror(errno));
    while ((r = fl_template_report(template, &report)) == 0)
      fl_instances_report(daemon, template, &report);
    if (r != -EAGAIN)
      failed(daemon, slot, "fork", &(struct fl_error){FL_ERR_TEMPLATE, -r, "report", "the template ended"});
  }
}

bool fl_templates_reaped(struct fl_daemon *daemon, pid_t pid, int status)
{
  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    struct fl_template_slot *slot = &daemon->template_slot[i];
    struct fl_error err = {FL_ERR_TEMPLATE, 0, "wait", ""};

    if (slot->template.pid != pid)
      continue;
    snprintf(err.detail, sizeof err.detail, "the runtime ended with status %#x", status);
    if (slot->template.state != FL_TEMPLATE_DEAD)
      failed(daemon, slot, "wait", &err);
    else if (slot->retiring && replicas(daemon, slot->template.runtime) < daemon->options.templates)
      slot->boot_at_ns = 1;
    slot->template.pid = 0;
    return true;
  }
  return false;
}

void fl_templates_broken(struct fl_daemon *daemon, const struct fl_template *template)
{
  for (uint32_t i = 0; i < daemon->template_slots; i++)
    if (&daemon->template_slot[i].template == template && template->state == FL_TEMPLATE_READY)
      failed(daemon, &daemon->template_slot[i], "fork", &(struct fl_error){FL_ERR_TEMPLATE, EPIPE, "fork_request", "the template ended"});
}

struct fl_template *fl_templates_choose(struct fl_daemon *daemon, uint32_t runtime)
{
  struct fl_template *chosen = NULL;

  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    struct fl_template *template = &daemon->template_slot[i].template;

    if (usable(&daemon->template_slot[i], runtime) && (!chosen || template->forks < chosen->forks))
      chosen = template;
  }
  return chosen;
}

static bool within(int32_t id, uint32_t first, uint32_t numbers)
{
  return id >= (int32_t)first && id < (int32_t)(first + numbers);
}

int32_t fl_templates_child_pid(struct fl_daemon *daemon, const struct fl_template *template, uint32_t numbers)
{
  uint32_t first = daemon->next_pid + numbers < daemon->pid_limit ? daemon->next_pid + 1 : FIRST_CHILD_PID;

  for (uint32_t i = 0; i < template->infection.threads && i < FL_PARASITE_THREADS_MAX; i++)
    if (within(template->infection.tid[i], first, numbers) || within(template->known_pid, first, numbers) || within(template->other_pid, first, numbers)) {
      first++;
      i = (uint32_t)-1;
    }
  daemon->next_pid = first + numbers - 1;
  return (int32_t)first;
}

void fl_templates_close(struct fl_daemon *daemon)
{
  for (uint32_t i = 0; i < daemon->template_slots; i++) {
    fl_template_kill(&daemon->template_slot[i].template);
    daemon->template_slot[i].boot_at_ns = 0;
  }
}
