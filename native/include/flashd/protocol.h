/*
 * Control protocol: gateway ↔ sandboxd, one AF_UNIX SOCK_SEQPACKET, one message a packet, fixed width, little-endian.
 *
 *   gateway                                    sandboxd
 *      │ HELLO ───────────────────────────────▶ │  first, once per connection
 *      │ ◀────────────────── HELLO_OK, RUNTIME… │  one RUNTIME event per runtime, again whenever its state changes
 *      │ BOOT ────────────────────────────────▶ │  a runtime that a function needs; a RUNTIME event tells how it goes
 *      │ CREATE + 4 descriptors ──────────────▶ │
 *      │ ◀──────────────── CREATED or FAILED    │  same request id
 *      │ CREATE_INTERCEPTED, the same ────────▶ │  with a policy for system calls (flashd/intercept.h)
 *      │ NAMES ───────────────────────────────▶ │  before a CREATE of the same request id, whose policy has FL_EGRESS_NAMES; no answer
 *      │ ◀───────────────────────────── SYSCALL │  events: what the policy says is told
 *      │ DESTROY ─────────────────────────────▶ │
 *      │ ◀──────────────────────────── ENDED    │  exactly one per created instance, asked for or not
 *      │ FREEZE ──────────────────────────────▶ │  an instance that was created for it, and waits
 *      │ ◀───────────────── FROZEN or FAILED    │  it is gone; CREATE may name the function template
 *      │ FORGET ──────────────────────────────▶ │
 *      │ SNAPSHOT ────────────────────────────▶ │  a fork of a function template that was created to be rewound, and has been sent nothing yet
 *      │ REWIND ──────────────────────────────▶ │  it has answered what it was sent
 *      │ VERIFY ──────────────────────────────▶ │  the same, and all of it is compared with the snapshot before it goes on
 *      │ ◀──────────────── REWOUND or FAILED    │  it is what it was at the snapshot; or that is not so, and it ends
 *      │ LEARN ───────────────────────────────▶ │  an instance has served a request, or stands by (idle: 1): what it wrote to, other forks of its function template will; no answer
 *      │ PULSE ───────────────────────────────▶ │  a CREATE may come soon; no answer
 *      │ PLACE ───────────────────────────────▶ │  whether an instance works on something long, and the processors it is to run on; no answer
 *      │ STATS ───────────────────────────────▶ │
 *      │ ◀─────────────────────────── STATS_OK  │
 *      │ USAGE ───────────────────────────────▶ │
 *      │ ◀──────────────────────────── USAGE_OK │
 *
 * The gateway is treated as hostile: a packet with a wrong size, an unknown type, an out-of-range field or the wrong number of
 * descriptors is answered by FAILED (bad_message) and changes nothing. When the connection ends, every instance is destroyed.
 * src/sandbox/protocol.ts mirrors this file; a test compares them.
 */
#ifndef FLASHD_PROTOCOL_H
#define FLASHD_PROTOCOL_H
#include <stdint.h>

enum { FL_PROTOCOL_VERSION = 1, FL_PROTOCOL_MAGIC = 0x464c };

enum {
  FL_RUNTIMES_MAX = 32,
  FL_NAME_MAX = 32,                            /* bytes of a runtime's name, NUL included */
  FL_USAGE_MAX = 64,                           /* instances in one USAGE_OK */
  FL_REWIND_PHASES = 5,
  FL_MESSAGE_MAX = 4096                        /* bytes of the longest message */
};

enum fl_message_type {
  FL_MSG_HELLO = 1,
  FL_MSG_CREATE = 2,
  FL_MSG_DESTROY = 3,
  FL_MSG_STATS = 4,
  FL_MSG_USAGE = 5,
  FL_MSG_BOOT = 6,
  FL_MSG_FREEZE = 7,
  FL_MSG_FORGET = 8,
  FL_MSG_PULSE = 9,
  FL_MSG_LEARN = 10,
  FL_MSG_PLACE = 11,
  FL_MSG_CREATE_INTERCEPTED = 12,              /* flashd/intercept.h */
  FL_MSG_SNAPSHOT = 13,
  FL_MSG_REWIND = 14,
  FL_MSG_VERIFY = 15,
  FL_MSG_NAMES = 16,
  FL_MSG_HELLO_OK = 129,
  FL_MSG_RUNTIME = 130,
  FL_MSG_CREATED = 131,
  FL_MSG_FAILED = 132,
  FL_MSG_ENDED = 133,
  FL_MSG_STATS_OK = 134,
  FL_MSG_USAGE_OK = 135,
  FL_MSG_FROZEN = 136,
  FL_MSG_SYSCALL = 137,                        /* flashd/intercept.h */
  FL_MSG_REWOUND = 138
};

struct fl_header {                             /* 16 bytes, starts every message */
  uint16_t magic;                              /* FL_PROTOCOL_MAGIC */
  uint16_t version;                            /* FL_PROTOCOL_VERSION */
  uint16_t type;                               /* enum fl_message_type */
  uint16_t size;                               /* of the whole message, header included */
  uint64_t request;                            /* chosen by the gateway, echoed; 0 in events. Below 2^53 */
};

struct fl_hello { struct fl_header header; };

enum fl_rewind_phase { FL_REWIND_STOP = 0, FL_REWIND_STATE = 1, FL_REWIND_LAYOUT = 2, FL_REWIND_FACTS = 3, FL_REWIND_MEMORY = 4 };      /* what each is: native/rewind/rewinder.h */

enum fl_feature {                              /* HELLO_OK.features */
  FL_FEATURE_CGROUP_V2 = 1 << 0,               /* else v1 */
  FL_FEATURE_CGROUP_MEMORY = 1 << 1,
  FL_FEATURE_CGROUP_PIDS = 1 << 2,
  FL_FEATURE_CGROUP_CPU = 1 << 3,
  FL_FEATURE_PAGEMAP_SCAN = 1 << 4,
  FL_FEATURE_SOFT_DIRTY = 1 << 5,
  FL_FEATURE_SECCOMP_NOTIFY = 1 << 6,
  FL_FEATURE_LANDLOCK = 1 << 7,
  FL_FEATURE_PROCESS_ISOLATION = 1 << 8,       /* sandboxes of the light class can be had: Landlock restricts files, TCP and abstract sockets */
  FL_FEATURE_WRITE_WATCH = 1 << 9              /* the kernel can watch which pages are written to: restores need not compare all (native/rewind/watch.h) */
};

struct fl_hello_ok {
  struct fl_header header;
  uint32_t features;                           /* enum fl_feature, or-ed */
  uint32_t runtimes;                           /* how many RUNTIME events follow at once */
  uint32_t instances_max;
  uint32_t reserved;
};

/* IDLE: nobody has needed it yet. FAILED: it cannot boot, or it is not installed. */
enum fl_runtime_state { FL_RUNTIME_BOOTING = 1, FL_RUNTIME_READY = 2, FL_RUNTIME_FAILED = 3, FL_RUNTIME_IDLE = 4 };

struct fl_boot {
  struct fl_header header;
  uint32_t runtime;                            /* index */
  uint32_t reserved;                           /* 0 */
};

struct fl_runtime {                            /* event */
  struct fl_header header;
  uint32_t index;                              /* what CREATE names it by */
  uint32_t state;                              /* enum fl_runtime_state; READY when at least one template can fork */
  uint32_t templates;                          /* how many can */
  uint32_t reserved;
  char name[FL_NAME_MAX];
  char detail[256];                            /* why it failed; when it is ready, the path of its program; or empty */
};

#define FL_MEMORY_BYTES_MIN (16ull << 20)
#define FL_MEMORY_BYTES_MAX (1ull << 40)
#define FL_TMP_BYTES_MIN (64ull << 10)
#define FL_TMP_BYTES_MAX (64ull << 30)
#define FL_EGRESS_RATE_MIN 12500ull            /* bytes a second: 0.1 Mbit/s … */
#define FL_EGRESS_RATE_MAX 1250000000ull       /* … 10 Gbit/s */
enum {
  FL_TMP_INODES_MIN = 16, FL_TMP_INODES_MAX = 1000000,
  FL_PIDS_MIN = 1, FL_PIDS_MAX = 32768,
  FL_CPU_MILLIS_MIN = 10, FL_CPU_MILLIS_MAX = 1024000,
  FL_DESCRIPTORS_MIN = 16, FL_DESCRIPTORS_MAX = 65536,
  FL_EGRESS_RULES_MAX = 32,
  FL_NAMES_MAX = 32,                           /* host names in a policy */
  FL_NAMES_TEXT_BYTES = 2048,                  /* all of them together */
  FL_NAMES_PORTS_MAX = 8                       /* of one policy, distinct, that names are listed with */
};

struct fl_limits {
  uint64_t memory_bytes;                       /* swap is never granted on top */
  uint64_t tmp_bytes;                          /* the writable layer: /tmp, /var/tmp, /dev/shm, $HOME together */
  uint32_t tmp_inodes;
  uint32_t pids;                               /* processes and threads */
  uint32_t cpu_millis;                         /* thousandths of a CPU */
  uint32_t descriptors;                        /* RLIMIT_NOFILE */
};

enum fl_network {                              /* kind of a sandbox, by its network */
  FL_NETWORK_NONE = 0,                         /* loopback only */
  FL_NETWORK_EGRESS = 1,                       /* connections to the world outside, as far as a policy lets them */
  FL_NETWORK_LIGHT = 2,                        /* none at all, in a sandbox of the light class (sandbox/light.h); refused unless the operator permits it */
  FL_NETWORK_KINDS = 3
};

struct fl_egress_rule {                        /* TCP and UDP to the destination are permitted */
  uint32_t address;                            /* host byte order; no bit beyond the prefix is set */
  uint16_t port;                               /* 0: each */
  uint8_t prefix;                              /* leading bits of address that count, at most 32 */
  uint8_t reserved;                            /* 0 */
};

/* Never in it, whatever is permitted: the host itself, other sandboxes, loopback, link-local and multicast addresses. */
struct fl_egress_policy {
  uint32_t flags;                              /* enum fl_egress_flags */
  uint32_t rules;                              /* how many of rule are used; the others are 0 */
  uint64_t bytes_per_second;                   /* in each direction; one second's worth may come at once */
  struct fl_egress_rule rule[FL_EGRESS_RULES_MAX];
};
enum fl_egress_flags {
  FL_EGRESS_PUBLIC = 1,                        /* every public address */
  FL_EGRESS_NAMES = 2                          /* what the names of a NAMES stand for, too; without FL_EGRESS_PUBLIC */
};

struct fl_name {
  uint16_t port;                               /* never 0: an address is shared by many names */
  uint8_t length;                              /* of its text */
  uint8_t wildcard;                            /* 1: what is below it, at any depth, and not itself */
};

/* Host names and what their addresses may be connected to by. Lower case, letters, digits, "-" and "_"; one behind the other, nothing in between. What is not used is 0. */
struct fl_names {
  uint32_t count, text_bytes;
  struct fl_name name[FL_NAMES_MAX];
  char text[FL_NAMES_TEXT_BYTES];
};

struct fl_name_list { struct fl_header header; struct fl_names names; };     /* NAMES */

struct fl_create {                             /* + descriptors: data, stdout, stderr, bundle directory (O_PATH or O_RDONLY) */
  struct fl_header header;
  uint32_t runtime;                            /* index of a READY runtime */
  uint32_t flags;                              /* enum fl_create_flags */
  struct fl_limits limits;
  uint64_t function;                           /* function template to fork from, of the same bundle; 0, or one that is gone: the language template */
  uint32_t network;                            /* enum fl_network */
  uint32_t reserved;                           /* 0 */
  struct fl_egress_policy egress;              /* FL_NETWORK_EGRESS; else all 0 */
};
enum { FL_CREATE_DESCRIPTORS = 4 };
enum fl_create_flags {
  FL_CREATE_CANDIDATE = 1,                     /* to be frozen: it will not serve a request */
  FL_CREATE_REWOUND = 4,                       /* SNAPSHOT and REWIND will be asked for: some calls that cannot be undone are refused to it */
  FL_CREATE_ACROSS = 8,                        /* it may be one that was another function's, and was rewound since; loopback only, of no function template, not intercepted */
  FL_CREATE_YIELDS = 16,                       /* it yields from its start (PLACE) … */
  FL_CREATE_ASIDE = 32,                        /* … is on the other processors */
  FL_CREATE_AHEAD = 2                          /* no request waits for it: of a function template, it is forked with no more pages of its own than it writes */
};

struct fl_freeze { struct fl_header header; uint64_t instance; };
struct fl_frozen {
  struct fl_header header;
  uint64_t function;                           /* non-zero, never reused */
  uint64_t bytes;                              /* memory that it has of its own */
};
struct fl_learn { struct fl_header header; uint64_t instance, idle; };
struct fl_place {
  struct fl_header header;
  uint64_t instance;
  uint32_t yields;                             /* 1: others' instances run before it wherever both want to; 0: as at first */
  uint32_t processors;                         /* enum fl_processors; FL_PROCESSORS_ALL as at first */
};
enum fl_processors {                           /* base/lane.h */
  FL_PROCESSORS_ALL = 0,
  FL_PROCESSORS_LANE = 1,
  FL_PROCESSORS_OTHERS = 2,
  FL_PROCESSORS_COUNT = 3
};
struct fl_rewind { struct fl_header header; uint64_t instance; };            /* SNAPSHOT, REWIND and VERIFY */
struct fl_rewound {
  struct fl_header header;
  uint64_t instance;
  uint32_t own_pages, written_pages, dropped_pages;   /* that are not its template's, in the same frame; of those, written back; given back to the kernel */
  uint32_t mappings;                           /* that had changed */
  uint32_t phase_us[FL_REWIND_PHASES];         /* enum fl_rewind_phase */
  uint32_t reserved;                           /* 0 */
};
struct fl_forget { struct fl_header header; uint64_t function; };
struct fl_pulse { struct fl_header header; uint64_t function; uint32_t runtime, reserved; };  /* as in CREATE */

struct fl_created {
  struct fl_header header;
  uint64_t instance;                           /* non-zero, never reused, below 2^53 */
  uint32_t pid;                                /* on the host */
  uint32_t slot;                               /* of the sandbox; host uid = uid base + slot * 65536 + 1000 */
  uint32_t pooled;                             /* 1: the sandbox came from the pool, 0: built on demand */
  uint32_t from_function;                      /* 1: forked from the function template */
  uint32_t reused;                             /* 1: it has been another function's, or was made to go from one to another */
  uint32_t reserved;                           /* 0 */
};

struct fl_failed {
  struct fl_header header;
  uint32_t code;                               /* enum fl_error */
  int32_t errno_value;
  char op[32];                                 /* what failed, e.g. "clone3" */
  char detail[128];
};

enum fl_destroy_flags {
  FL_DESTROY_EXPECT_EXIT = 1,                  /* its data socket has ended: wait a moment for its own exit status before killing it */
  FL_DESTROY_REST = 2                          /* its data socket is open still: what is left of it may become another function's, if it can be rewound. ENDED comes when it is, or has ended */
};

struct fl_destroy {
  struct fl_header header;
  uint64_t instance;
  uint32_t flags;
  uint32_t reserved;
};

enum fl_end { FL_END_EXITED = 1, FL_END_SIGNALED = 2, FL_END_DESTROYED = 3 };

struct fl_ended {                              /* the reply to DESTROY, or an event (request 0) */
  struct fl_header header;
  uint64_t instance;
  uint32_t how;                                /* enum fl_end */
  int32_t status;                              /* exit status, or signal number */
  uint32_t oom_kills;
  uint32_t pids_refused;                       /* forks refused by the pids limit */
  uint64_t memory_peak_bytes;                  /* 0: unknown */
  uint64_t cpu_us;
  uint32_t sockets;                            /* it had more than it may, and was ended for that; else 0 */
  uint32_t reserved;
};

struct fl_stats { struct fl_header header; };
struct fl_stats_ok {
  struct fl_header header;
  uint32_t instances, sandboxes_pooled, sandboxes_building, sandboxes_ending, templates_ready, spares;
  uint32_t layouts;                            /* distinct address-space layouts among them: templates they were forked from */
  uint32_t functions;                          /* function templates */
  uint64_t forks, forks_failed, sandboxes_built, sandboxes_on_demand, template_restarts, template_rotations, rss_bytes;
  uint64_t resting, rests, rests_failed;       /* nobody's, and go from function to function; given back and rewound; ended as a function's */
};

struct fl_usage {
  struct fl_header header;
  uint64_t after;                              /* instances with a greater id, in order */
};
struct fl_usage_entry {
  uint64_t instance, memory_bytes;
  uint64_t cpu_us;                             /* since whenever: only what is added to it counts */
  uint64_t at_us;                              /* CLOCK_MONOTONIC: when that was read; 0: not this time, and cpu_us is nothing */
};
struct fl_usage_ok {
  struct fl_header header;
  uint32_t count;
  uint32_t more;                               /* 1: ask again with `after` = the last id */
  struct fl_usage_entry entry[FL_USAGE_MAX];
};
#endif
