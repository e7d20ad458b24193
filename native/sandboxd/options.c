/* See options.h. */
#include "sandboxd/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct number_option {
  const char *name;
  size_t at;
  bool wide;
  uint64_t least, most;
} numbers[] = {
#define NARROW(name, field, least, most) {name, offsetof(struct fl_options, field), false, least, most}
#define WIDE(name, field, least, most) {name, offsetof(struct fl_options, field), true, least, most}
    NARROW("--binary", binary_fd, 4, 1 << 20),
    NARROW("--pack", pack_fd, 4, 1 << 20),
    NARROW("--image", image_fd, 4, 1 << 20),
    NARROW("--uid", uid, 1, UINT32_MAX - 1),
    NARROW("--gid", gid, 1, UINT32_MAX - 1),
    NARROW("--uid-base", uid_base, 65536, UINT32_MAX - 65536),
    NARROW("--slots", slots, 1, 16384),
    NARROW("--pool-floor", pool_floor, 0, 4096),
    NARROW("--pool-ceiling", pool_ceiling, 1, 4096),
    NARROW("--own", own, 0, 1),
    NARROW("--light", light, 0, 1),
    NARROW("--templates", templates, 1, 64),
    NARROW("--spares", spares, 0, 1024),
    NARROW("--template-forks", template_forks, 1, UINT32_MAX),
    NARROW("--template-seconds", template_seconds, 1, UINT32_MAX),
    NARROW("--egress-range", egress_range, 0, UINT32_MAX),
    NARROW("--egress-prefix", egress_prefix, 8, 32),
    NARROW("--nameserver", nameserver, 0, UINT32_MAX),
    WIDE("--memory-bytes", defaults.memory_bytes, FL_MEMORY_BYTES_MIN, FL_MEMORY_BYTES_MAX),
    WIDE("--tmp-bytes", defaults.tmp_bytes, FL_TMP_BYTES_MIN, FL_TMP_BYTES_MAX),
    NARROW("--tmp-inodes", defaults.tmp_inodes, FL_TMP_INODES_MIN, FL_TMP_INODES_MAX),
    NARROW("--pids", defaults.pids, FL_PIDS_MIN, FL_PIDS_MAX),
    NARROW("--cpu-millis", defaults.cpu_millis, FL_CPU_MILLIS_MIN, FL_CPU_MILLIS_MAX),
    NARROW("--descriptors", defaults.descriptors, FL_DESCRIPTORS_MIN, FL_DESCRIPTORS_MAX),
#undef NARROW
#undef WIDE
};

static int set_number(struct fl_options *options, const struct number_option *option, const char *text, struct fl_error *err)
{
  char *end;

  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || *text < '0' || *text > '9' || *end || value < option->least || value > option->most)
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "%s %.40s: a number from %lu to %lu", option->name, text, option->least, option->most);
  if (option->wide)
    *(uint64_t *)((char *)options + option->at) = value;
  else
    *(uint32_t *)((char *)options + option->at) = (uint32_t)value;
  return 0;
}

/* One path component of our own choosing: letters, digits, dashes. */
static int set_cgroup_name(struct fl_options *options, const char *text, struct fl_error *err)
{
  size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

  if (length == 0 || length > 64 || text[length])
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "--cgroup %.40s: 1 to 64 of a-z 0-9 -", text);
  options->cgroup_name = text;
  return 0;
}

int fl_options_parse(int argc, char **argv, struct fl_options *ret_options, struct fl_error *err)
{
  struct fl_options options = {.gateway_argv = argv + argc};
  uint64_t seen = 0;
  int i = 1;

  for (; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
    if (i + 1 == argc)
      return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "%.40s needs a value", argv[i]);
    size_t at = 0;
    int r = 0;
    if (strcmp(argv[i], "--cgroup") == 0) {
      r = set_cgroup_name(&options, argv[i + 1], err);
    } else {
      while (at < FL_COUNT(numbers) && strcmp(numbers[at].name, argv[i]) != 0)
        at++;
      if (at == FL_COUNT(numbers))
        return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "unknown option %.60s", argv[i]);
      r = set_number(&options, &numbers[at], argv[i + 1], err);
      seen |= 1ull << at;
    }
    if (r < 0)
      return r;
  }
  if (i < argc)
    options.gateway_argv = argv + i + 1;
  for (size_t at = 0; at < FL_COUNT(numbers); at++)
    if (!(seen & 1ull << at))
      return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "%s is missing", numbers[at].name);
  if (!options.cgroup_name)
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "--cgroup is missing");
  if (options.pool_floor > options.pool_ceiling || options.pool_ceiling > options.slots)
    return fl_fail(err, FL_ERR_BAD_LIMIT, EINVAL, "options", "--pool-floor <= --pool-ceiling <= --slots does not hold");
  *ret_options = options;
  return 0;
}
