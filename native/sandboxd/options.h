/*
 * The command line shared by supervisor and sandboxd, written by the launcher from the validated configuration. Every option is required unless a
 * default stands here; an unknown or malformed one ends the program with status 100.
 */
#ifndef FLASHD_OPTIONS_H
#define FLASHD_OPTIONS_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <stdint.h>

struct fl_options {
  uint32_t binary_fd, pack_fd, image_fd;       /* inherited descriptors: the flashd binary, the runtimes' pack, this program */
  uint32_t uid, gid;                           /* whom the gateway runs as */
  const char *cgroup_name;
  uint32_t uid_base, slots, pool_floor, pool_ceiling;
  uint32_t own;                                /* 1: flashd's binary stands in for every program that it can, not only for those that the host does not have */
  uint32_t light;                              /* 1: the operator permits the light class */
  uint32_t templates, spares;                  /* per runtime */
  uint32_t template_forks, template_seconds;   /* after which a template is replaced by a new one, whose address space is laid out anew */
  uint32_t egress_range, egress_prefix, nameserver;     /* addresses, in host byte order */
  struct fl_limits defaults;
  char **gateway_argv;                         /* what follows "--": NULL-terminated, may be empty */
};

int fl_options_parse(int argc, char **argv, struct fl_options *ret_options, struct fl_error *err);
#endif
