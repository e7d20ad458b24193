/*
 * sandboxd's state, shared by its rooms. One thread, one epoll loop, nothing in it blocks but a template's freeze (a few milliseconds, once per template).
 *
 *   daemon.c     the loop: lifeline, control socket, templates, builder, SIGCHLD, deadlines
 *   commands.c   what the gateway asks for
 *   starts.c     an instance from CREATE to its assignment
 *   instances.c  an instance from its fork's reports to ENDED
 *   templates.c  language templates: boot, freeze, choose, replace
 *   spares.c     how many forks are kept parked ahead of need
 *   probe.c      a template's first fork, which shows what every fork will write to
 *   bundle.c     a version's directory as a mount
 *   keepers.c    a process beside each instance that is rewound
 *   rested.c     instances that go from one function to another
 *   bombs.c      who forks without end is held back
 *   sockets.c    who has too many sockets is ended
 *   functions.c  function templates: freeze an instance, make its image a template
 *   names.c      the forwarder of host names: started, told of policies, answered
 *   interception.c  the monitor of system calls: started, told of instances, heard, mourned
 */
#ifndef FLASHD_DAEMON_H
#define FLASHD_DAEMON_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/lane.h"
#include "inject/pin.h"
#include "inject/settle.h"
#include "inject/template.h"
#include "intercept/handshake.h"
#include "sandbox/pack.h"
#include "sandbox/parts.h"
#include "sandboxd/control.h"
#include "sandboxd/options.h"
#include "sandboxd/reports.h"
#include "snapshot/capture.h"

enum {
  FL_TEMPLATES_MAX = 256,                      /* over all runtimes */
  FL_FUNCTIONS_MAX = 4096,                     /* function templates */
  FL_FREEZE_MS = 5000,                         /* from FREEZE to FROZEN */
  FL_SNAPSHOT_MS = 5000, FL_REWIND_MS = 2000,  /* after which the instance is ended */
  FL_EARLY_ENDS_MAX = 64,                      /* children that ended before their template reported them */
  FL_FORK_MS = 5000,                           /* a template that takes longer is stuck and killed */
  FL_EXIT_GRACE_MS = 500,                      /* FL_DESTROY_EXPECT_EXIT */
  FL_PROBE_MS = 3000,                          /* for a template's probe to answer; without it the template is used as it is */
  FL_NAMES_RESTART_MS = 100,                   /* from one forwarder of names to the next, at least */
  FL_BOOT_RETRY_MS_MIN = 100, FL_BOOT_RETRY_MS_MAX = 10000,
  FL_BOOT_FAILURES_MAX = 3                     /* in a row, after which a runtime counts as failed */
};

enum fl_instance_state {
  FL_INSTANCE_WAITING = 1,                     /* for a sandbox: the pool is empty */
  FL_INSTANCE_FORKING,
  FL_INSTANCE_PARKED,                          /* a spare: forked and isolated, not yet any function's */
  FL_INSTANCE_STARTING,                        /* assigned */
  FL_INSTANCE_RUNNING,
  FL_INSTANCE_RESTING,                         /* rested.c: nobody's, and described */
  FL_INSTANCE_RESTED,                          /* nobody's, and stopped until it is somebody's */
  FL_INSTANCE_ENDING                           /* killed or failed; gone once its process is reaped */
};

struct fl_template_slot;
struct fl_function;

struct fl_instance {
  uint64_t id, create_request, destroy_request;  /* create_request 0: a spare or a probe, unknown to the gateway */
  enum fl_instance_state state;
  struct fl_template *template;
  uint64_t layout;                             /* number of the boot it was forked from */
  struct fl_sandbox sandbox;
  uint32_t network;                            /* enum fl_network */
  uint32_t serving;                            /* of a candidate: enum fl_network of those that will be forked from what it is frozen into */
  struct fl_egress_policy egress;
  struct fl_names *names;                      /* of its policy, or NULL */
  bool named;                                  /* the forwarder answers to it */
  struct fl_intercept *policy;                 /* of its system calls, until it is assigned; or NULL */
  bool watched;                                /* the monitor listens to it */
  struct fl_limits limits;
  struct fl_template_slot *probe;              /* it is this template's probe: our own, unknown to the gateway */
  struct fl_function *function;                /* it is forked from this function template; NULL: from its runtime's */
  bool rewound;                                /* FL_CREATE_REWOUND */
  bool yields;                                 /* it is told to; as long as it does, bombs.c looks at it */
  uint32_t processors;                         /* enum fl_processors: where it runs … */
  bool misplaced;                              /* … as soon as it is assigned, or its keeper, which has moved it, has put it back */
  bool held;                                   /* bombs.c: it is */
  uint64_t refused;                            /* bombs.c: forks, at the last look */
  uint32_t sockets;                            /* sockets.c: it had so many, which is why it is ended; else 0 */
  pid_t keeper;                                /* keepers.c; 0: it has none */
  int keeper_fd;                               /* our end of its socket, or -1 */
  uint64_t keeper_request;                     /* what it is at work on, or 0 */
  uint32_t keeper_index;                       /* by which it is known to the loop: the id changes with the function */
  bool across;                                 /* rested.c: it was made to go from function to function */
  int far;                                     /* the other end of what its data socket is while it is nobody's, or -1 */
  uint64_t rested_ns;                          /* since when it rests */
  bool bound;                                  /* it is a function's, and not by having been made for it */
  bool handed_on;                              /* it has been a function's that is done with it */
  uint64_t cpu_before_us;                      /* what it had used by then */
  bool candidate, ahead;                       /* FL_CREATE_CANDIDATE; FL_CREATE_AHEAD, of a function template */
  bool known;                                  /* a spare of a function template that needs only descriptors and limits any more */
  int bundle;                                  /* the directory of a candidate, and of one that is being bound; or -1 */
  int fds[FL_ASSIGNED_FDS];                    /* until they are assigned; else -1 */
  int assignment;                              /* our end of the socket it is assigned through, or -1 */
  uint32_t runtime;
  pid_t pid;                                   /* host pid, 0 until its template reported it */
  bool parked, resumed, announced, killed, pooled;
  bool silent;                                 /* the gateway that asked for it is gone */
  uint64_t accepted_ns, deadline_ns;  /* deadline: of the fork, or of the grace period; 0: none */
  LIST_ENTRY(fl_instance) spares;              /* spares.c: with the others that were made as spares for the same demand and not taken since */
  bool among_spares;
};

struct fl_template_slot {
  struct fl_template template;
  uint32_t failures;                           /* in a row */
  uint64_t boot_at_ns;                         /* when to boot it; 0: not before its sibling is ready */
  struct fl_settling settling;
  uint64_t look_at_ns;                         /* it has said READY: when to look whether it has settled; else 0 */
  bool retiring;                               /* forks no more; ends when what it has forked needs it no longer, and is booted anew */
  bool probing;                                /* frozen, but not to be used before its probe has ended */
  pid_t probe_pid;
  int probe_fd;                                /* our end of the probe's data socket, or -1 */
};

LIST_HEAD(fl_spare_list, fl_instance);
/* Whose spares, and with which network: a runtime's (function is NULL), or a function's. */
struct fl_spare_kind { uint32_t runtime, network; struct fl_function *function; };
struct fl_demand { double taken; uint64_t counted_ns, taken_ns, pause_until_ns; struct fl_spare_list spares; };

/* Of a runtime: how many were asked for in vain since they were last made, and with which limits. */
struct fl_rested { uint32_t missed; struct fl_limits limits; };

enum fl_function_state { FL_FUNCTION_FREEZING = 1, FL_FUNCTION_STARTING, FL_FUNCTION_READY, FL_FUNCTION_RETIRING };

struct fl_function {
  uint64_t id, freeze_request, deadline_ns;
  enum fl_function_state state;
  uint32_t runtime, index;
  uint32_t network;                            /* of its instances: enum fl_network */
  struct fl_template *language;                /* what it was forked from; whose forks count for both */
  struct fl_template template;
  struct fl_captured captured;
  bool learnt;                                 /* what its forks write to, from one that has served */
  struct fl_hot_writes *idle;                  /* the same of one that stands by, or NULL */
  pid_t helper;                                /* freezes the instance; 0 when it is done */
  int answer, image, bundle;                   /* of the helper; until READY; the version's directory; else -1 */
  bool plain;                                  /* the instance asked for last was neither intercepted nor to be rewound */
  struct fl_demand demand;
  LIST_ENTRY(fl_function) demanded;            /* while demand.taken_ns is not 0 */
};

struct fl_early_end { pid_t pid; int status; uint64_t cpu_us; };

/* The last policy that became a filter. */
struct fl_compiled { bool known; struct fl_intercept policy; struct fl_intercept_program program; };

struct fl_daemon {
  struct fl_options options;
  struct fl_pack *pack;
  struct fl_parts *parts;
  int epoll, lifeline, control, signals;
  uint32_t features, cap_last, landlock;       /* landlock: its version */
  bool stopping;
  uint64_t next_instance;
  uint64_t usages;                             /* how often usage was asked for */
  uint32_t next_pid, pid_limit;
  uint32_t instances, waiting;                 /* living; of those, WAITING: for a sandbox of either kind of network */
  struct fl_instance **instance;               /* options.slots entries, the first `instances` used */
  uint64_t instances_due_ns, functions_due_ns; /* no deadline of any is earlier */
  struct fl_rested rested[FL_RUNTIMES_MAX];
  uint64_t rests, rests_failed;                /* how often one was given back and rewound, or ended as a function's */
  struct fl_lane lane;
  uint64_t bombs_due_ns;                       /* when to look for them again; UINT64_MAX: there can be none */
  uint32_t bombs_next;                         /* whom the next look begins with */
  uint64_t rested_due_ns;                      /* nothing is to be done for them before */
  uint64_t sweep_ns, sweep_took_ns;            /* when to look for children whose end no signal told, 0: never; how long it took the last time */
  uint32_t template_slots;
  struct fl_template_slot template_slot[FL_TEMPLATES_MAX];
  uint32_t template_places;                    /* for each runtime: its replicas, and one for the successor of an only one */
  char runtime_detail[FL_RUNTIMES_MAX][256];   /* why it failed, or empty */
  char executable[FL_RUNTIMES_MAX][256];       /* resolved on the host */
  struct fl_early_end early_end[FL_EARLY_ENDS_MAX];
  uint32_t early_ends;
  struct fl_demand demand[FL_RUNTIMES_MAX][FL_NETWORK_KINDS];                   /* for spares of the runtimes */
  LIST_HEAD(, fl_function) demanded;           /* whose spares may be wanted, or too many */
  uint64_t next_function;
  uint32_t functions, functions_retiring;
  struct fl_function *function[FL_FUNCTIONS_MAX];  /* by index, with holes */
  pid_t monitor;                               /* 0: nobody has needed one */
  int monitor_socket;                          /* ours, or -1 */
  uint32_t monitor_flags;                      /* SECCOMP_FILTER_FLAG_* of its listeners */
  struct fl_compiled compiled;
  struct fl_name_list names_told;              /* for the CREATE that has the same request id */
  pid_t forwarder;                             /* of names; 0: there is none */
  int names_control;                           /* our end of its socket, or -1 */
  int names_network, names_questions, names_listener;    /* its network and the sockets in it that questions come to, for its successor; -1: nobody has needed one */
  bool names_ready, names_cut;                 /* it answers; it was ended, with its network */
  uint64_t names_started_ns;
  uint64_t forks, forks_failed, template_restarts, template_rotations, boots;
};

uint64_t fl_daemon_now_ns(void);
/* Adds a descriptor to the loop; kind and index come back with its events. */
enum fl_source { FL_SOURCE_LIFELINE, FL_SOURCE_CONTROL, FL_SOURCE_SIGNALS, FL_SOURCE_PARTS, FL_SOURCE_TEMPLATE, FL_SOURCE_PROBE, FL_SOURCE_FUNCTION, FL_SOURCE_MONITOR, FL_SOURCE_KEEPER, FL_SOURCE_NAMES };
int fl_daemon_watch(struct fl_daemon *daemon, int fd, enum fl_source source, uint32_t index);
/* A message to the gateway; without one, or when it does not read, the connection is dropped (it is then treated as gone). */
void fl_daemon_send(struct fl_daemon *daemon, const void *message, size_t size);
/* Whether it is a child of ours, or was until a moment ago, that is not known as anything yet. Inits of sandboxes are not looked at: they are thousands. */
bool fl_daemon_new_child(const struct fl_daemon *daemon, pid_t pid);
void fl_daemon_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fl_daemon_log_error(const char *what, const struct fl_error *err);

/* commands.c */
void fl_commands_run(struct fl_daemon *daemon, const union fl_request *request, int *fds);
void fl_commands_refuse(struct fl_daemon *daemon, uint64_t request, const struct fl_error *err);
void fl_commands_announce_runtime(struct fl_daemon *daemon, uint32_t runtime);

/* starts.c: fds = data, stdout, stderr, bundle, taken over in every case. policy: of its system calls, or NULL. */
void fl_starts_create(struct fl_daemon *daemon, const struct fl_create *create, const struct fl_intercept *policy, int *fds);
void fl_starts_create_spare(struct fl_daemon *daemon, const struct fl_spare_kind *kind);
/* The same for a template's probe; fds are in the order of a CREATE, the last one a mount. */
int fl_starts_create_probe(struct fl_daemon *daemon, struct fl_template_slot *slot, int *fds, struct fl_error *err);
/* One that belongs to nobody until it is bound. far: the other end of its data socket; taken over, like fds, in every case. */
int fl_starts_create_rested(struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits, int *fds, int far, struct fl_error *err);
/* One that rested could not be bound, and has run nothing of its function: it is ended, and what was asked for comes about without it. Negative: it is as it was. */
int fl_starts_instead(struct fl_daemon *daemon, struct fl_instance *failed, struct fl_error *err);
/* There may be sandboxes again for those that wait for one. */
void fl_starts_retry_waiting(struct fl_daemon *daemon);
/* Those of them that have names cannot be had. */
void fl_starts_refuse_names(struct fl_daemon *daemon, const struct fl_error *err);
/* Keeps the way to the spare that a CREATE would take in the caches. */
void fl_starts_touch(struct fl_daemon *daemon, const struct fl_pulse *pulse);

/* instances.c */
void fl_instances_destroy(struct fl_daemon *daemon, const struct fl_destroy *destroy);
void fl_instances_place(struct fl_daemon *daemon, const struct fl_place *place);
/* processors: enum fl_processors. */
int fl_instances_move(struct fl_daemon *daemon, struct fl_instance *instance, bool yields, uint32_t processors, struct fl_error *err);
/* Advice: what cannot be set is logged, and others are slower than they might be. */
void fl_instances_advise(struct fl_daemon *daemon, struct fl_instance *instance, bool yields, uint32_t processors);
/* What its CREATE says, before any of the function's code runs. */
void fl_instances_advise_first(struct fl_daemon *daemon, struct fl_instance *instance);
/* Its keeper has put it back. */
void fl_instances_place_again(struct fl_daemon *daemon, struct fl_instance *instance);
struct fl_instance *fl_instances_find(const struct fl_daemon *daemon, uint64_t id);
/* When its fork, or its grace, is over; 0: no deadline. */
void fl_instances_set_deadline(struct fl_daemon *daemon, struct fl_instance *instance, uint64_t at_ns);
/* It could not be started: what the gateway hears of it, if it asked. Its end is another step. */
void fl_instances_refuse(struct fl_daemon *daemon, struct fl_instance *instance, const struct fl_error *err);
/* Frees it, with what it still holds; its sandbox must be gone or given back. */
void fl_instances_forget(struct fl_daemon *daemon, struct fl_instance *instance);
/* Kills the sandbox; the instance is gone once its process is reaped. */
void fl_instances_kill(struct fl_instance *instance);
void fl_instances_kill_probe(struct fl_daemon *daemon, const struct fl_template_slot *slot);
/* from: the template whose socket it came through. Kills that when it reports what cannot be. */
void fl_instances_report(struct fl_daemon *daemon, const struct fl_template *from, const struct fl_fork_report *report);
void fl_instances_distrust(const struct fl_template *template, const struct fl_fork_report *report);
/* It has been bound to the function that asked for it. */
void fl_instances_bound(struct fl_daemon *daemon, struct fl_instance *instance);
/* ENDED: it is not the function's any more, and goes on as nobody's. */
void fl_instances_tell_end(struct fl_daemon *daemon, struct fl_instance *instance);
/* cpu_us: of the process and the children it has waited for. */
bool fl_instances_reaped(struct fl_daemon *daemon, pid_t pid, int status, uint64_t cpu_us);
void fl_instances_template_lost(struct fl_daemon *daemon, const struct fl_template *template);
void fl_instances_expire(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_instances_deadline_ns(const struct fl_daemon *daemon);
void fl_instances_kill_all(struct fl_daemon *daemon);
/* Those with that kind of network; who waits for one goes on waiting. */
void fl_instances_kill_network(struct fl_daemon *daemon, uint32_t network);
/* Ends the spares of a template; true when none of its forks is still on its way. */
bool fl_instances_template_unused(struct fl_daemon *daemon, const struct fl_template *template);
/* Some fork's pid is not known yet: an unknown child that ends may be it. */
bool fl_instances_unknown_child(const struct fl_daemon *daemon);

/* keepers.c */
void fl_keepers_ask(struct fl_daemon *daemon, const struct fl_rewind *request);
/* index: the low half of the instance's id. */
void fl_keepers_readable(struct fl_daemon *daemon, uint32_t index);
bool fl_keepers_reaped(struct fl_daemon *daemon, pid_t pid);
/* The instance is over. */
void fl_keepers_end(struct fl_daemon *daemon, struct fl_instance *instance);

/* bombs.c */
/* Whether it yields has changed. */
int fl_bombs_watch(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err);
void fl_bombs_run(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_bombs_deadline_ns(const struct fl_daemon *daemon);

/* sockets.c */
void fl_sockets_look(struct fl_instance *instance);

/* rested.c */
/* One that can be bound, or NULL. / There was none. */
struct fl_instance *fl_rested_find(const struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits);
void fl_rested_missed(struct fl_daemon *daemon, uint32_t runtime, const struct fl_limits *limits);
/* FAST PATH. It becomes the function's whose descriptors it holds. */
int fl_rested_bind(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err);
/* It was made, and waits. */
void fl_rested_made(struct fl_daemon *daemon, struct fl_instance *instance);
/* Its function is done with it. False: it cannot rest, and is to be ended. */
bool fl_rested_again(struct fl_daemon *daemon, struct fl_instance *instance);
/* err: what its keeper has come to, FL_OK when all went well. told: by the keeper, which lives: then what failed to be bound has not been let go on. */
void fl_rested_answered(struct fl_daemon *daemon, struct fl_instance *instance, bool told, const struct fl_error *err);
void fl_rested_run(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_rested_deadline_ns(const struct fl_daemon *daemon);
/* Somebody needs its sandbox: one ends. False: none rests. */
bool fl_rested_give_way(struct fl_daemon *daemon);

/* templates.c */
/* Before the base is built: whether flashd's own binary stands in for any runtime's program. It is decided once, since the base is. */
bool fl_templates_find_own(struct fl_daemon *daemon);
int fl_templates_open(struct fl_daemon *daemon, struct fl_error *err);
/* Boots the runtime's templates, unless that was done before. One that is not installed is told as failed, and looked for again when it is wanted again. */
void fl_templates_want(struct fl_daemon *daemon, uint32_t runtime);
/* None is ready, but one will probably be soon: it has not failed several times in a row. */
bool fl_templates_booting(const struct fl_daemon *daemon, uint32_t runtime);
void fl_templates_run(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_templates_deadline_ns(const struct fl_daemon *daemon);
void fl_templates_readable(struct fl_daemon *daemon, uint32_t index);
bool fl_templates_reaped(struct fl_daemon *daemon, pid_t pid, int status);
/* It does not take fork requests any more. */
void fl_templates_broken(struct fl_daemon *daemon, const struct fl_template *template);
struct fl_template *fl_templates_choose(struct fl_daemon *daemon, uint32_t runtime);
uint32_t fl_templates_ready(const struct fl_daemon *daemon, uint32_t runtime);
/* The first of so many numbers in a row for the child's main thread inside its pid namespace, unlike any id the template has. */
int32_t fl_templates_child_pid(struct fl_daemon *daemon, const struct fl_template *template, uint32_t numbers);
void fl_templates_close(struct fl_daemon *daemon);
/* The template's probe has ended, one way or another: the template may be used. */
void fl_templates_usable(struct fl_daemon *daemon, struct fl_template_slot *slot);

/* bundle.c: a mount of its own, to be moved to where it is needed. */
int fl_bundle_mount(int bundle, int *ret_mount, struct fl_error *err);
/* Whether both are the same directory. */
bool fl_bundle_same(int one, int other);
/* Of nobody: an empty file system. */
int fl_bundle_none(int *ret_mount, struct fl_error *err);

/* functions.c */
void fl_functions_freeze(struct fl_daemon *daemon, const struct fl_freeze *freeze);
/* Other forks of the instance's template make what it has written to their own before they park. */
void fl_functions_learn(struct fl_daemon *daemon, const struct fl_learn *learn);
/* It takes no more forks, and ends when none is under way; before it was READY, at once. */
void fl_functions_forget(struct fl_daemon *daemon, uint64_t id);
/* It does not take fork requests any more. */
void fl_functions_broken(struct fl_daemon *daemon, struct fl_function *function);
/* Ends those that were forgotten and have no fork under way. */
void fl_functions_run(struct fl_daemon *daemon);
/* A language template is about to go: its function templates are forgotten. True when none is left. */
bool fl_functions_retired(struct fl_daemon *daemon, const struct fl_template *language);
void fl_functions_forget_all(struct fl_daemon *daemon);
/* One that can fork, or NULL. */
struct fl_function *fl_functions_find(const struct fl_daemon *daemon, uint64_t id);
void fl_functions_readable(struct fl_daemon *daemon, uint32_t index);
void fl_functions_report(struct fl_daemon *daemon, const struct fl_template *from, const struct fl_fork_report *report);
bool fl_functions_reaped(struct fl_daemon *daemon, pid_t pid, int status);
void fl_functions_expire(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_functions_deadline_ns(const struct fl_daemon *daemon);
/* A language template has ended, and with it the function templates that have its layout. */
void fl_functions_template_lost(struct fl_daemon *daemon, const struct fl_template *template);

/* spares.c */
/* It was made as a spare. / It is none any more: taken, or gone. */
void fl_spares_join(struct fl_daemon *daemon, struct fl_instance *instance);
bool fl_spares_leave(struct fl_instance *instance);
/* How many spares of the kind there are; with `parked`, only those that can be assigned at once. */
uint32_t fl_spares_count(const struct fl_daemon *daemon, const struct fl_spare_kind *kind, bool parked);
/* The one that is furthest, or NULL. */
struct fl_instance *fl_spares_best(const struct fl_daemon *daemon, const struct fl_spare_kind *kind);
void fl_spares_taken(struct fl_daemon *daemon, const struct fl_spare_kind *kind, uint64_t now_ns);
void fl_spares_fill(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_spares_deadline_ns(struct fl_daemon *daemon);
/* The function is about to be freed. */
void fl_spares_forget(struct fl_function *function);

/* interception.c */
/* A copy, or NULL of NULL. */
int fl_interception_keep(const struct fl_intercept *policy, struct fl_intercept **ret_policy, struct fl_error *err);
/* FAST PATH. The assignment with a link, its filter into that, and the link's other end to the monitor, if the filter needs it. 0 or -errno. */
int fl_interception_assign(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_assignment *assignment, struct fl_error *err);
void fl_interception_readable(struct fl_daemon *daemon);
/* The monitor has ended: what it listened to is ended too. */
bool fl_interception_reaped(struct fl_daemon *daemon, pid_t pid, int status);

/* names.c */
/* A copy of those that were told for this CREATE, or NULL when its policy has none. */
int fl_names_keep(struct fl_daemon *daemon, const struct fl_create *create, struct fl_names **ret_names, struct fl_error *err);
/* 1: who asks for a name will be answered; 0: not yet, and waiting instances are started when it is so; negative: there can be none. */
int fl_names_ready(struct fl_daemon *daemon, struct fl_error *err);
/* FAST PATH. The instance's sandbox has its policy: its names are answered from now on. */
int fl_names_grant(struct fl_daemon *daemon, struct fl_instance *instance, struct fl_error *err);
void fl_names_forget(struct fl_daemon *daemon, struct fl_instance *instance);
void fl_names_readable(struct fl_daemon *daemon);
bool fl_names_reaped(struct fl_daemon *daemon, pid_t pid, int status);
void fl_names_run(struct fl_daemon *daemon, uint64_t now_ns);
uint64_t fl_names_deadline_ns(const struct fl_daemon *daemon);
/* Its network is gone: the next one that is needed begins anew. */
void fl_names_end(struct fl_daemon *daemon);

/* probe.c */
/* Starts a probe of a frozen template; -ENOENT when its runtime has no warm-up. The template becomes usable when the probe ends. */
int fl_probe_start(struct fl_daemon *daemon, uint32_t index, struct fl_error *err);
void fl_probe_readable(struct fl_daemon *daemon, uint32_t index);
/* The probe's process is running: pid is its host pid. / The probe is gone. */
void fl_probe_running(struct fl_daemon *daemon, struct fl_template_slot *slot, pid_t pid);
void fl_probe_ended(struct fl_daemon *daemon, struct fl_template_slot *slot);
#endif
