/*
 * An instance from CREATE to its assignment: a sandbox, a fork into it, and what makes both the function's. Spares and probes go the same way. What becomes of it afterwards is instances.c's,
 * which has the picture of the states.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "sandbox/light.h"
#include "sandboxd/daemon.h"
#include "sys/packet.h"

enum { MILLISECOND = 1000000 };
enum { CREATE_DATA, CREATE_STDOUT, CREATE_STDERR, CREATE_BUNDLE };      /* order in the CREATE packet */

static struct fl_instance *enlist(struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  struct fl_instance *instance = daemon->instances < daemon->options.slots ? calloc(1, sizeof *instance) : NULL;

  if (!instance)
    return NULL;
  *instance = (struct fl_instance){.id = ++daemon->next_instance, .state = FL_INSTANCE_WAITING, .limits = daemon->options.defaults, .runtime = kind->runtime, .function = kind->function, .network = kind->network, .serving = kind->network,
                                   .fds = {-1, -1, -1, -1}, .assignment = -1, .bundle = -1, .keeper_fd = -1, .far = -1, .accepted_ns = fl_daemon_now_ns()};
  daemon->instance[daemon->instances++] = instance;
  daemon->waiting++;
  return instance;
}

static void take_fds(struct fl_instance *instance, int mount, int *fds)
{
  instance->fds[FL_ASSIGNED_BUNDLE] = mount;
  instance->fds[FL_ASSIGNED_STDOUT] = fl_steal_fd(&fds[CREATE_STDOUT]);
  instance->fds[FL_ASSIGNED_STDERR] = fl_steal_fd(&fds[CREATE_STDERR]);
  instance->fds[FL_ASSIGNED_DATA] = fl_steal_fd(&fds[CREATE_DATA]);
}

static int send_fork(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  const struct fl_cgroup *cgroup = &instance->sandbox.cgroup;
  bool light = instance->network == FL_NETWORK_LIGHT;
  struct fl_plan_inputs inputs = {.cgroup_joins = cgroup->joins, .cap_last = daemon->cap_last, .uid = FL_INNER_UID, .ahead = instance->ahead, .light = light, .known = instance->known};
  struct fl_fork fork = {.request = instance->id, .cgroup_fd = FL_NO_FD};
  int fds[FL_PLAN_FDS_MAX] = {instance->sandbox.init_pidfd}, pair[2];

  if (light) {
    inputs.uid += daemon->options.uid_base + instance->sandbox.slot * FL_UIDS_PER_SLOT;
    inputs.landlock_flags = daemon->landlock >= FL_LIGHT_ABI_QUIET ? FL_LANDLOCK_QUIET : 0;
  }
  int r = fl_plan_make(&inputs, &fork.plan, err);
  if (r < 0)
    return r;
  instance->template = instance->probe ? &instance->probe->template : instance->function ? &instance->function->template : fl_templates_choose(daemon, instance->runtime);
  if (!instance->template)
    return fl_fail(err, FL_ERR_NO_RUNTIME, EAGAIN, "create", "no template of the runtime is ready");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fl_fail_errno(err, "socketpair");
  fl_autoclose int theirs = pair[1], bundle = -1;
  instance->assignment = pair[0];
  if (instance->known && (r = fl_bundle_mount(instance->function->bundle, &bundle, err)) < 0)
    return r;
  fds[FL_FD_ASSIGNMENT] = theirs;
  for (uint32_t i = 0; i < cgroup->joins; i++)
    fds[FL_FD_CGROUP + i] = cgroup->join_fds[i];
  if (light) {
    fds[FL_FD_CGROUP + cgroup->joins] = instance->sandbox.root_fd;
    fds[FL_FD_CGROUP + cgroup->joins + 1] = instance->sandbox.ruleset_fd;
  }
  if (instance->known)
    fds[FL_FD_CGROUP + cgroup->joins] = bundle;
  if (cgroup->into_fd >= 0) {
    fork.cgroup_fd = fork.plan.fds;
    fds[fork.cgroup_fd] = cgroup->into_fd;
  }
  fork.pid = daemon->pack->runtime[instance->runtime].keeps_pid ? instance->template->known_pid : fl_templates_child_pid(daemon, instance->template, light ? FL_SHARED_PIDS : 1);
  instance->layout = instance->template->boot;
  instance->state = FL_INSTANCE_FORKING;
  fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_FORK_MS * MILLISECOND);
  instance->template->forks++;
  if (instance->function)
    instance->function->language->forks++;
  return fl_template_fork(instance->template, &fork, fds, err);
}

/* FAST PATH. From here on it is the function's: its limits, its descriptors, its bundle. */
static int assign(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err)
{
  /* In the light class no init stands in the cgroup, which has room for one: it would let one more pass. */
  struct fl_assignment assignment = fl_plan_assignment(&instance->limits, daemon->features & FL_FEATURE_CGROUP_PIDS && instance->network != FL_NETWORK_LIGHT);

  assignment.reserve = instance->candidate;
  assignment.rewound = instance->rewound;
  if (instance->rewound)
    assignment.growth = fl_template_growth(instance->template);
  int r = fl_parts_limit(daemon->parts, &instance->sandbox, &instance->limits, err);

  if (r >= 0)
    r = fl_parts_bundle(daemon->parts, &instance->sandbox, instance->fds[FL_ASSIGNED_BUNDLE], err);
  if (r >= 0)
    r = fl_parts_grant(daemon->parts, &instance->sandbox, &instance->egress, err);
  if (r >= 0)
    r = fl_names_grant(daemon, instance, err);
  if (r < 0)
    return r;
  fl_instances_advise_first(daemon, instance);
  uint32_t first = instance->known ? FL_ASSIGNED_STDOUT : FL_ASSIGNED_BUNDLE;
  r = instance->policy ? fl_interception_assign(daemon, instance, &assignment, err) : fl_packet_send(instance->assignment, &assignment, sizeof assignment, instance->fds + first, FL_ASSIGNED_FDS - first);
  if (r < 0)                                     /* whoever is forked, but not yet there, goes with its template */
    return fl_fail(err, r == -EPIPE ? FL_ERR_TEMPLATE : FL_ERR_CHILD_LOST, -r, "assign", "instance %lu", instance->id);
  instance->state = FL_INSTANCE_STARTING;
  fl_instances_set_deadline(daemon, instance, fl_daemon_now_ns() + (uint64_t)FL_FORK_MS * MILLISECOND);
  daemon->forks += instance->create_request != 0;
  return 0;                                      /* what it was given is closed when it runs (instances.c): that takes long, and would keep it from this processor */
}

/* Takes a sandbox and forks into it; what has an assignment gets it along. Leaves the instance WAITING when the pool is empty. */
static void start(struct fl_daemon *daemon, struct fl_instance *instance)
{
  struct fl_error err = {0};
  int r = instance->names ? fl_names_ready(daemon, &err) : 1;

  if (r > 0)
    r = fl_parts_take(daemon->parts, instance->network, &instance->sandbox, &err);
  else if (r == 0)
    return;
  if (r == -EAGAIN)
    return;
  daemon->waiting--;
  instance->state = FL_INSTANCE_ENDING;
  if (r >= 0) {
    r = send_fork(daemon, instance, &err);
    if (r >= 0 && instance->fds[FL_ASSIGNED_DATA] >= 0)
      r = assign(daemon, instance, &err);
    if (r < 0)
      fl_parts_end(daemon->parts, &instance->sandbox);
  }
  if (r < 0) {
    struct fl_template *template = instance->template;
    struct fl_function *function = instance->function;

    fl_instances_refuse(daemon, instance, &err);
    fl_instances_forget(daemon, instance);
    if (err.code == FL_ERR_TEMPLATE && err.errno_value == EPIPE)       /* it has ended, which its parent hears of only when all its memory is gone */
      function ? fl_functions_broken(daemon, function) : fl_templates_broken(daemon, template);
  }
}

static void retry_waiting(struct fl_daemon *daemon, uint32_t network)
{
  for (uint32_t before = daemon->waiting + 1; daemon->waiting && daemon->waiting < before;) {
    struct fl_instance *oldest = NULL;

    before = daemon->waiting;
    for (uint32_t i = 0; i < daemon->instances; i++)
      if (daemon->instance[i]->state == FL_INSTANCE_WAITING && daemon->instance[i]->network == network && (!oldest || daemon->instance[i]->id < oldest->id))
        oldest = daemon->instance[i];
    if (!oldest)
      return;
    start(daemon, oldest);
  }
}

void fl_starts_retry_waiting(struct fl_daemon *daemon)
{
  for (uint32_t network = 0; network < FL_NETWORK_KINDS; network++)
    retry_waiting(daemon, network);
}

void fl_starts_refuse_names(struct fl_daemon *daemon, const struct fl_error *err)
{
  for (uint32_t i = daemon->instances; i-- > 0;) {             /* the last one takes the place of one that goes */
    if (daemon->instance[i]->state != FL_INSTANCE_WAITING || !daemon->instance[i]->names)
      continue;
    fl_instances_refuse(daemon, daemon->instance[i], err);
    fl_instances_forget(daemon, daemon->instance[i]);
  }
}

void fl_starts_create_spare(struct fl_daemon *daemon, const struct fl_spare_kind *kind)
{
  struct fl_instance *instance = enlist(daemon, kind);

  if (!instance)
    return;
  instance->known = kind->function && kind->function->plain && kind->network != FL_NETWORK_LIGHT;
  fl_spares_join(daemon, instance);
  start(daemon, instance);
}

static struct fl_spare_kind kind_of(const struct fl_daemon *daemon, const struct fl_create *create)
{
  struct fl_function *function = create->flags & FL_CREATE_CANDIDATE ? NULL : fl_functions_find(daemon, create->function);

  /* What is frozen has lived in a sandbox like all others, whatever its forks will live in. */
  if (create->flags & FL_CREATE_CANDIDATE && create->network == FL_NETWORK_LIGHT)
    return (struct fl_spare_kind){create->runtime, FL_NETWORK_NONE, NULL};
  return (struct fl_spare_kind){create->runtime, create->network, function && function->network == create->network ? function : NULL};
}

/* The gateway may be hostile: what the operator permits is decided here too. */
static int check_class(const struct fl_daemon *daemon, const struct fl_create *create, const struct fl_intercept *policy, struct fl_error *err)
{
  if (create->network != FL_NETWORK_LIGHT)
    return 0;
  if (!daemon->options.light)
    return fl_fail(err, FL_ERR_ISOLATION, EPERM, "create", "the operator does not permit the light class");
  if (policy)
    return fl_fail(err, FL_ERR_ISOLATION, EINVAL, "create", "system calls of the light class are not intercepted");
  if (create->runtime < daemon->pack->count && daemon->pack->runtime[create->runtime].keeps_pid)
    return fl_fail(err, FL_ERR_ISOLATION, EINVAL, "create", "%.40s keeps its process id, which the light class has no way to give it", daemon->pack->runtime[create->runtime].name);
  return 0;
}

/* A spare that was finished for what its function was so far may not be what it is now. */
static struct fl_instance *suitable(struct fl_instance *spare, const struct fl_spare_kind *kind, const struct fl_create *create, const struct fl_intercept *policy, int bundle)
{
  if (kind->function)
    kind->function->plain = !policy && !(create->flags & (FL_CREATE_REWOUND | FL_CREATE_ACROSS));
  if (!spare || !spare->known)
    return spare;
  if (spare->state == FL_INSTANCE_WAITING) {     /* there is nothing of it yet: its assignment goes along with its fork */
    spare->known = false;
    return spare;
  }
  if (kind->function->plain && fl_bundle_same(kind->function->bundle, bundle))
    return spare;
  fl_spares_leave(spare);
  fl_instances_kill(spare);
  return NULL;
}

/* It has everything that was asked for: as a spare, as one that rests, or still without a sandbox. */
static void begin(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_spare_kind *kind)
{
  struct fl_error err = {0};

  fl_spares_leave(instance);
  instance->pooled = instance->state == FL_INSTANCE_PARKED || instance->state == FL_INSTANCE_RESTED;
  if (instance->state != FL_INSTANCE_RESTED)
    fl_spares_taken(daemon, kind, instance->accepted_ns);
  if (instance->state == FL_INSTANCE_WAITING) {
    start(daemon, instance);
  } else if (instance->state == FL_INSTANCE_RESTED ? fl_rested_bind(daemon, instance, &err) < 0 && fl_starts_instead(daemon, instance, &err) < 0 : assign(daemon, instance, &err) < 0) {
    fl_instances_refuse(daemon, instance, &err);
    fl_instances_kill(instance);
  }
}

int fl_starts_instead(struct fl_daemon *daemon, struct fl_instance *failed, struct fl_error *err)
{
  const struct fl_spare_kind kind = {.runtime = failed->runtime};
  fl_autoclose int mount = -1;

  if (fl_templates_ready(daemon, kind.runtime) == 0)
    return fl_fail(err, FL_ERR_NO_RUNTIME, EAGAIN, "create", "runtime %u has no ready template", kind.runtime);
  int r = fl_bundle_mount(failed->bundle, &mount, err);       /* the one before may be where nobody takes it back from */
  if (r < 0)
    return r;
  struct fl_instance *instance = fl_spares_best(daemon, &kind);
  if (!instance && !(instance = enlist(daemon, &kind)))
    return fl_fail(err, FL_ERR_FULL, EAGAIN, "create", "%u instances live already", daemon->instances);
  instance->create_request = failed->create_request;
  instance->candidate = failed->candidate;
  instance->rewound = true;
  instance->bundle = failed->candidate ? fl_steal_fd(&failed->bundle) : -1;
  instance->limits = failed->limits;
  instance->yields = failed->yields;
  instance->processors = failed->processors;
  instance->misplaced = instance->processors != FL_PROCESSORS_ALL;
  instance->silent = failed->silent;
  instance->accepted_ns = failed->accepted_ns;
  instance->fds[FL_ASSIGNED_BUNDLE] = fl_steal_fd(&mount);
  for (int i = 0; i < FL_ASSIGNED_FDS; i++)
    if (i != FL_ASSIGNED_BUNDLE)
      instance->fds[i] = fl_steal_fd(&failed->fds[i]);
  failed->create_request = 0;
  fl_instances_kill(failed);
  begin(daemon, instance, &kind);
  return 0;
}

void fl_starts_create(struct fl_daemon *daemon, const struct fl_create *create, const struct fl_intercept *policy, int *fds)
{
  uint64_t now = fl_daemon_now_ns();
  struct fl_error err = {0};
  struct fl_spare_kind kind = kind_of(daemon, create);
  bool ahead = kind.function && (create->flags & FL_CREATE_AHEAD);
  bool across = create->flags & FL_CREATE_ACROSS && create->runtime < daemon->pack->count;
  struct fl_instance *instance = NULL, *spare = across ? fl_rested_find(daemon, create->runtime, &create->limits) : NULL;
  struct fl_intercept *kept = NULL;
  struct fl_names *names = NULL;
  int mount = -1;

  if (across && !spare)
    fl_rested_missed(daemon, create->runtime, &create->limits);
  if (!spare && !ahead)
    spare = fl_spares_best(daemon, &kind);
  if ((create->egress.flags & FL_EGRESS_NAMES) && daemon->names_network < 0)
    spare = NULL;                              /* it is not to wait for the forwarder in one */
  spare = suitable(spare, &kind, create, policy, fds[CREATE_BUNDLE]);
  if (create->runtime >= daemon->pack->count || fl_templates_ready(daemon, create->runtime) == 0)
    fl_fail(&err, FL_ERR_NO_RUNTIME, EAGAIN, "create", "runtime %u has no ready template", create->runtime);
  else if (check_class(daemon, create, policy, &err) == 0 && fl_interception_keep(policy, &kept, &err) == 0 && fl_names_keep(daemon, create, &names, &err) == 0 &&
           ((spare && spare->known) || fl_bundle_mount(fds[CREATE_BUNDLE], &mount, &err) == 0) && !(instance = spare) &&
           !(instance = enlist(daemon, &kind)))
    fl_fail(&err, FL_ERR_FULL, EAGAIN, "create", "%u instances live already", daemon->instances);
  if (!instance) {
    if (err.code == FL_ERR_FULL)
      fl_rested_give_way(daemon);
    free(kept);
    free(names);
    fl_close(&mount);
    daemon->forks_failed++;
    fl_commands_refuse(daemon, create->header.request, &err);
    return;
  }
  instance->create_request = create->header.request;
  instance->candidate = create->flags & FL_CREATE_CANDIDATE;
  instance->rewound = ((create->flags & FL_CREATE_REWOUND) && !policy) || across;
  instance->yields = create->flags & FL_CREATE_YIELDS;
  instance->misplaced = create->flags & FL_CREATE_ASIDE;
  instance->processors = instance->misplaced ? FL_PROCESSORS_OTHERS : FL_PROCESSORS_ALL;
  instance->ahead = ahead;
  instance->serving = create->network;
  instance->bundle = instance->candidate || instance->state == FL_INSTANCE_RESTED ? fcntl(fds[CREATE_BUNDLE], F_DUPFD_CLOEXEC, 0) : -1;
  instance->limits = create->limits;
  instance->egress = create->egress;
  instance->policy = kept;
  instance->names = names;
  instance->accepted_ns = now;
  take_fds(instance, mount, fds);
  begin(daemon, instance, &kind);
}

int fl_starts_create_probe(struct fl_daemon *daemon, struct fl_template_slot *slot, int *fds, struct fl_error *err)
{
  struct fl_instance *instance = enlist(daemon, &(struct fl_spare_kind){.runtime = slot->template.runtime});

  if (!instance)
    return fl_fail(err, FL_ERR_FULL, EAGAIN, "probe", "no room for a probe");
  instance->probe = slot;
  take_fds(instance, fl_steal_fd(&fds[CREATE_BUNDLE]), fds);
  start(daemon, instance);
  return 0;
}

int fl_starts_create_rested(struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits, int *fds, int far, struct fl_error *err)
{
  struct fl_instance *instance = enlist(daemon, &(struct fl_spare_kind){.runtime = runtime});

  if (!instance) {
    fl_close(&far);
    return fl_fail(err, FL_ERR_FULL, EAGAIN, "rest", "no room");
  }
  instance->across = instance->rewound = true;
  instance->far = far;
  instance->limits = *limits;
  take_fds(instance, fl_steal_fd(&fds[CREATE_BUNDLE]), fds);
  start(daemon, instance);
  return 0;
}

void fl_starts_touch(struct fl_daemon *daemon, const struct fl_pulse *pulse)
{
  struct fl_function *function = fl_functions_find(daemon, pulse->function);
  struct fl_spare_kind kind = {pulse->runtime, function ? function->network : FL_NETWORK_NONE, function};
  struct fl_instance *spare = pulse->runtime < daemon->pack->count ? fl_spares_best(daemon, &kind) : NULL;

  if (spare && spare->state == FL_INSTANCE_PARKED)
    fl_packet_send(spare->assignment, "\0", FL_TOUCH_BYTES, NULL, 0);
}
