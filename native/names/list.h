/* The list of host names in a policy (struct fl_names): is it well formed, and which of its entries is a name? Pure, and fuzzed: the list comes from the gateway, the name from a function. */
#ifndef FLASHD_NAMES_LIST_H
#define FLASHD_NAMES_LIST_H
#include <flashd/error.h>
#include <flashd/protocol.h>
#include <stddef.h>

enum {
  FL_NAMES_NAME_MAX = 253,                     /* characters of a name: 255 bytes in a packet */
  FL_NAMES_LABEL_MAX = 63
};

int fl_names_check(const struct fl_names *names, struct fl_error *err);
/* text: lower case, without a dot at its end. A bit for each entry that it is; the list was checked. */
uint32_t fl_names_match(const struct fl_names *names, const char *text, size_t length);
/* The distinct ports of these entries; ret_port has room for FL_NAMES_PORTS_MAX, which is enough for any list that was checked. */
uint32_t fl_names_ports(const struct fl_names *names, uint32_t entries, uint16_t ret_port[FL_NAMES_PORTS_MAX]);
#endif
