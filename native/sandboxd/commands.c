/* What the gateway asks for, and the answers that are no instance's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "sandboxd/daemon.h"

enum { CPU_LOOKS_MAX = 256 };

void fl_commands_refuse(struct fl_daemon *daemon, uint64_t request, const struct fl_error *err)
{
  struct fl_failed failed = {.header = fl_control_header(FL_MSG_FAILED, sizeof failed, request), .code = err->code, .errno_value = err->errno_value};

  memcpy(failed.op, err->op, sizeof failed.op);
  memcpy(failed.detail, err->detail, sizeof failed.detail);
  fl_daemon_send(daemon, &failed, sizeof failed);
}

void fl_commands_announce_runtime(struct fl_daemon *daemon, uint32_t runtime)
{
  uint32_t ready = fl_templates_ready(daemon, runtime);
  struct fl_runtime event = {
      .header = fl_control_header(FL_MSG_RUNTIME, sizeof event, 0), .index = runtime, .templates = ready,
      .state = ready ? FL_RUNTIME_READY : fl_templates_booting(daemon, runtime) ? FL_RUNTIME_BOOTING : daemon->runtime_detail[runtime][0] ? FL_RUNTIME_FAILED : FL_RUNTIME_IDLE};

  memcpy(event.name, daemon->pack->runtime[runtime].name, sizeof event.name);
  memcpy(event.detail, ready ? daemon->executable[runtime] : daemon->runtime_detail[runtime], sizeof event.detail);
  fl_daemon_send(daemon, &event, sizeof event);
}

static void hello(struct fl_daemon *daemon, uint64_t request)
{
  struct fl_hello_ok reply = {.header = fl_control_header(FL_MSG_HELLO_OK, sizeof reply, request), .features = daemon->features,
                              .runtimes = daemon->pack->count, .instances_max = daemon->options.slots};

  fl_daemon_send(daemon, &reply, sizeof reply);
  for (uint32_t i = 0; i < daemon->pack->count; i++)
    fl_commands_announce_runtime(daemon, i);
}

static uint64_t resident_bytes(void)
{
  char text[128];
  unsigned long size, resident;

  if (fl_file_read(AT_FDCWD, "/proc/self/statm", text, sizeof text) < 0 || sscanf(text, "%lu %lu", &size, &resident) != 2)
    return 0;
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Distinct templates (boots of them) that the gateway's instances were forked from, as far as there is room to tell them apart. */
static uint32_t layouts(const struct fl_daemon *daemon)
{
  uint64_t seen[FL_TEMPLATES_MAX];
  uint32_t count = 0;

  for (uint32_t i = 0; i < daemon->instances && count < FL_COUNT(seen); i++) {
    uint64_t layout = daemon->instance[i]->create_request ? daemon->instance[i]->layout : 0;
    bool counted = layout == 0;

    for (uint32_t j = 0; j < count && !counted; j++)
      counted = seen[j] == layout;
    if (!counted)
      seen[count++] = layout;
  }
  return count;
}

static void stats(struct fl_daemon *daemon, uint64_t request)
{
  struct fl_parts_levels levels;
  struct fl_stats_ok reply = {.header = fl_control_header(FL_MSG_STATS_OK, sizeof reply, request), .forks = daemon->forks, .forks_failed = daemon->forks_failed, .template_restarts = daemon->template_restarts};

  fl_parts_levels(daemon->parts, &levels);
  for (uint32_t i = 0; i < daemon->pack->count; i++)
    reply.templates_ready += fl_templates_ready(daemon, i);
  for (uint32_t i = 0; i < daemon->pack->count; i++)
    for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
      reply.spares += fl_spares_count(daemon, &(struct fl_spare_kind){.runtime = i, .network = network}, true);
  for (uint32_t i = 0; i < daemon->instances; i++)
    reply.instances += daemon->instance[i]->create_request != 0;
  for (uint32_t i = 0; i < daemon->instances; i++)
    reply.resting += daemon->instance[i]->state == FL_INSTANCE_RESTED;
  reply.rests = daemon->rests;
  reply.rests_failed = daemon->rests_failed;
  reply.layouts = layouts(daemon);
  reply.functions = daemon->functions;
  reply.template_rotations = daemon->template_rotations;
  reply.sandboxes_pooled = levels.pooled;
  reply.sandboxes_building = levels.building;
  reply.sandboxes_ending = levels.ending;
  reply.sandboxes_built = levels.built;
  reply.sandboxes_on_demand = levels.on_demand;
  reply.rss_bytes = resident_bytes();
  fl_daemon_send(daemon, &reply, sizeof reply);
}

/* The FL_USAGE_MAX lowest ids above `after`, in order. Processor time and sockets cost several times what memory does: of many instances they are looked at in turns. */
static void usage(struct fl_daemon *daemon, uint64_t request, uint64_t after)
{
  struct fl_usage_ok reply = {.header = fl_control_header(FL_MSG_USAGE_OK, sizeof reply, request)};
  struct fl_cgroup_host *host = fl_parts_cgroup_host(daemon->parts);
  uint32_t turns = 1 + daemon->instances / CPU_LOOKS_MAX;

  daemon->usages += after == 0;
  while (reply.count < FL_USAGE_MAX) {
    struct fl_instance *next = NULL;

    for (uint32_t i = 0; i < daemon->instances; i++) {
      struct fl_instance *instance = daemon->instance[i];

      if (instance->state == FL_INSTANCE_RUNNING && !instance->probe && instance->id > after && (!next || instance->id < next->id))
        next = instance;
    }
    if (!next)
      break;
    struct fl_usage_entry *entry = &reply.entry[reply.count++];
    entry->instance = after = next->id;
    fl_cgroup_memory(host, &next->sandbox.cgroup, &entry->memory_bytes);
    if ((next->id + daemon->usages) % turns != 0)
      continue;
    if (fl_cgroup_cpu(host, &next->sandbox.cgroup, &entry->cpu_us) == 0)
      entry->at_us = fl_daemon_now_ns() / 1000;
    fl_sockets_look(next);
  }
  reply.more = reply.count == FL_USAGE_MAX;
  fl_daemon_send(daemon, &reply, sizeof reply);
}

void fl_commands_run(struct fl_daemon *daemon, const union fl_request *request, int *fds)
{
  switch (request->header.type) {
  case FL_MSG_HELLO: hello(daemon, request->header.request); break;
  case FL_MSG_CREATE: fl_starts_create(daemon, &request->create, NULL, fds); break;
  case FL_MSG_CREATE_INTERCEPTED: fl_starts_create(daemon, &request->create, &request->intercepted.intercept, fds); break;
  case FL_MSG_NAMES: daemon->names_told = request->names; break;
  case FL_MSG_DESTROY: fl_instances_destroy(daemon, &request->destroy); break;
  case FL_MSG_BOOT: fl_templates_want(daemon, request->boot.runtime); break;
  case FL_MSG_FREEZE: fl_functions_freeze(daemon, &request->freeze); break;
  case FL_MSG_FORGET: fl_functions_forget(daemon, request->forget.function); break;
  case FL_MSG_SNAPSHOT:
  case FL_MSG_REWIND:
  case FL_MSG_VERIFY: fl_keepers_ask(daemon, &request->rewind); break;
  case FL_MSG_LEARN: fl_functions_learn(daemon, &request->learn); break;
  case FL_MSG_PULSE: fl_starts_touch(daemon, &request->pulse); break;
  case FL_MSG_PLACE: fl_instances_place(daemon, &request->place); break;
  case FL_MSG_STATS: stats(daemon, request->header.request); break;
  case FL_MSG_USAGE: usage(daemon, request->header.request, request->usage.after); break;
  }
}
