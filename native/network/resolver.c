/* Which name server sandboxes are sent to: see egress.h. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "network/egress.h"

enum { FILE_BYTES = 16 << 10 };

uint32_t fl_resolver_parse(const char *text)
{
  static const char keyword[] = "nameserver";

  for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    char word[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    size_t length;

    line += strspn(line, " \t");
    if (strncmp(line, keyword, sizeof keyword - 1) != 0 || !strchr(" \t", line[sizeof keyword - 1]))
      continue;
    line += sizeof keyword - 1;
    line += strspn(line, " \t");
    length = strcspn(line, " \t\r\n#;");
    if (length == 0 || length >= sizeof word)
      continue;
    memcpy(word, line, length);
    if (inet_pton(AF_INET, word, &address) == 1 && ntohl(address.s_addr) >> 24 != IN_LOOPBACKNET && address.s_addr != INADDR_ANY)
      return ntohl(address.s_addr);
  }
  return 0;
}

uint32_t fl_resolver_host(void)
{
  static const char *const files[] = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" };
  static char text[FILE_BYTES];

  for (size_t index = 0; index < FL_COUNT(files); index++) {
    uint32_t found = fl_file_read(AT_FDCWD, files[index], text, sizeof text) >= 0 ? fl_resolver_parse(text) : 0;

    if (found)
      return found;
  }
  return 0;
}
