/* See control.h. */
#include "sandboxd/control.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "intercept/policy.h"
#include "names/list.h"
#include "network/rtnetlink.h"

#define REQUEST_ID_LIMIT (1ull << 53)

static const struct { uint16_t type; uint16_t size; uint8_t fds; } shapes[] = {
    {FL_MSG_HELLO, sizeof(struct fl_hello), 0},
    {FL_MSG_CREATE, sizeof(struct fl_create), FL_CREATE_DESCRIPTORS},
    {FL_MSG_CREATE_INTERCEPTED, sizeof(struct fl_create_intercepted), FL_CREATE_DESCRIPTORS},
    {FL_MSG_DESTROY, sizeof(struct fl_destroy), 0},
    {FL_MSG_STATS, sizeof(struct fl_stats), 0},
    {FL_MSG_USAGE, sizeof(struct fl_usage), 0},
    {FL_MSG_BOOT, sizeof(struct fl_boot), 0},
    {FL_MSG_FREEZE, sizeof(struct fl_freeze), 0},
    {FL_MSG_FORGET, sizeof(struct fl_forget), 0},
    {FL_MSG_PULSE, sizeof(struct fl_pulse), 0},
    {FL_MSG_LEARN, sizeof(struct fl_learn), 0},
    {FL_MSG_PLACE, sizeof(struct fl_place), 0},
    {FL_MSG_SNAPSHOT, sizeof(struct fl_rewind), 0},
    {FL_MSG_REWIND, sizeof(struct fl_rewind), 0},
    {FL_MSG_VERIFY, sizeof(struct fl_rewind), 0},
    {FL_MSG_NAMES, sizeof(struct fl_name_list), 0},
};

struct fl_header fl_control_header(enum fl_message_type type, size_t size, uint64_t request)
{
  return (struct fl_header){FL_PROTOCOL_MAGIC, FL_PROTOCOL_VERSION, (uint16_t)type, (uint16_t)size, request};
}

int fl_limits_check(const struct fl_limits *limits, struct fl_error *err)
{
  const struct { const char *name; uint64_t value, least, most; } ranges[] = {
      {"memory_bytes", limits->memory_bytes, FL_MEMORY_BYTES_MIN, FL_MEMORY_BYTES_MAX},
      {"tmp_bytes", limits->tmp_bytes, FL_TMP_BYTES_MIN, FL_TMP_BYTES_MAX},
      {"tmp_inodes", limits->tmp_inodes, FL_TMP_INODES_MIN, FL_TMP_INODES_MAX},
      {"pids", limits->pids, FL_PIDS_MIN, FL_PIDS_MAX},
      {"cpu_millis", limits->cpu_millis, FL_CPU_MILLIS_MIN, FL_CPU_MILLIS_MAX},
      {"descriptors", limits->descriptors, FL_DESCRIPTORS_MIN, FL_DESCRIPTORS_MAX}};

  for (size_t i = 0; i < FL_COUNT(ranges); i++)
    if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
      return fl_fail(err, FL_ERR_BAD_LIMIT, ERANGE, "limits", "%s %lu is not in %lu … %lu", ranges[i].name, ranges[i].value, ranges[i].least, ranges[i].most);
  return 0;
}

static int check_rule(const struct fl_egress_rule *rule)
{
  return rule->prefix <= 32 && rule->reserved == 0 && (rule->address & ~fl_prefix_mask(rule->prefix)) == 0;
}

int fl_egress_check(uint32_t network, const struct fl_egress_policy *policy, struct fl_error *err)
{
  static const struct fl_egress_policy none;
  static const struct fl_egress_rule unused;
  bool right = network < FL_NETWORK_KINDS && policy->rules <= FL_EGRESS_RULES_MAX && (policy->flags & ~(uint32_t)(FL_EGRESS_PUBLIC | FL_EGRESS_NAMES)) == 0 &&
               policy->flags != (FL_EGRESS_PUBLIC | FL_EGRESS_NAMES);

  if (right && network != FL_NETWORK_EGRESS)
    right = memcmp(policy, &none, sizeof none) == 0;
  if (right && network == FL_NETWORK_EGRESS)
    right = policy->bytes_per_second >= FL_EGRESS_RATE_MIN && policy->bytes_per_second <= FL_EGRESS_RATE_MAX;
  for (uint32_t index = 0; right && index < FL_EGRESS_RULES_MAX; index++)
    right = index < policy->rules ? check_rule(&policy->rule[index]) : memcmp(&policy->rule[index], &unused, sizeof unused) == 0;
  return right ? 0 : fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "network %u, flags %#x, %u rules, %lu bytes a second", network, policy->flags, policy->rules, policy->bytes_per_second);
}

static int check_create(const struct fl_create *create, struct fl_error *err)
{
  if (create->runtime >= FL_RUNTIMES_MAX || (create->flags & ~(uint32_t)(FL_CREATE_CANDIDATE | FL_CREATE_AHEAD | FL_CREATE_REWOUND | FL_CREATE_ACROSS | FL_CREATE_YIELDS | FL_CREATE_ASIDE)) || create->reserved)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "create: runtime %u, flags %#x", create->runtime, create->flags);
  if ((create->flags & FL_CREATE_ACROSS) && ((create->flags & (FL_CREATE_CANDIDATE | FL_CREATE_REWOUND)) || create->function || create->network != FL_NETWORK_NONE))
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "create across functions: flags %#x, network %u", create->flags, create->network);
  int r = fl_egress_check(create->network, &create->egress, err);
  return r < 0 ? r : fl_limits_check(&create->limits, err);
}

static int check_intercepted(const struct fl_create_intercepted *create, struct fl_error *err)
{
  int r = check_create(&create->create, err);

  if (r == 0 && (create->create.flags & FL_CREATE_ACROSS))
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "what is intercepted stays its function's");
  return r < 0 ? r : fl_intercept_check(&create->intercept, err);
}

int fl_control_decode(const void *bytes, size_t size, size_t fd_count, union fl_request *ret_request, struct fl_error *err)
{
  memset(ret_request, 0, sizeof *ret_request);
  if (size < sizeof(struct fl_header) || size > sizeof *ret_request)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "a packet of %zu bytes", size);
  memcpy(ret_request, bytes, size);
  const struct fl_header *header = &ret_request->header;
  if (header->magic != FL_PROTOCOL_MAGIC || header->version != FL_PROTOCOL_VERSION || header->request == 0 || header->request >= REQUEST_ID_LIMIT)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "magic %#x, version %u", header->magic, header->version);
  size_t shape = 0;
  while (shape < FL_COUNT(shapes) && shapes[shape].type != header->type)
    shape++;
  if (shape == FL_COUNT(shapes) || shapes[shape].size != size || header->size != size || shapes[shape].fds != fd_count)
    return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "type %u with %zu bytes and %zu descriptors", header->type, size, fd_count);
  switch (header->type) {
  case FL_MSG_CREATE:
    return check_create(&ret_request->create, err);
  case FL_MSG_CREATE_INTERCEPTED:
    return check_intercepted(&ret_request->intercepted, err);
  case FL_MSG_NAMES:
    return fl_names_check(&ret_request->names.names, err);
  case FL_MSG_PULSE:
    if (ret_request->pulse.runtime >= FL_RUNTIMES_MAX || ret_request->pulse.reserved)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "pulse: runtime %u", ret_request->pulse.runtime);
    return 0;
  case FL_MSG_BOOT:
    if (ret_request->boot.runtime >= FL_RUNTIMES_MAX || ret_request->boot.reserved)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "boot: runtime %u", ret_request->boot.runtime);
    return 0;
  case FL_MSG_LEARN:
    return ret_request->learn.idle <= 1 ? 0 : fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "learn: %lu", ret_request->learn.idle);
  case FL_MSG_PLACE:
    if (ret_request->place.yields > 1 || ret_request->place.processors >= FL_PROCESSORS_COUNT)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "place: %u, %u", ret_request->place.yields, ret_request->place.processors);
    return 0;
  case FL_MSG_DESTROY:
    if (ret_request->destroy.instance == 0 || (ret_request->destroy.flags & ~(uint32_t)(FL_DESTROY_EXPECT_EXIT | FL_DESTROY_REST)) || ret_request->destroy.flags == (FL_DESTROY_EXPECT_EXIT | FL_DESTROY_REST) || ret_request->destroy.reserved)
      return fl_fail(err, FL_ERR_BAD_MESSAGE, EBADMSG, "control", "destroy: flags %#x", ret_request->destroy.flags);
    return 0;
  default:
    return 0;
  }
}
