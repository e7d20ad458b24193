/*
 * The CRC-32 of the request's body, as in zip and PNG. The table is made once, before the first request.
 *
 *   curl --data-binary @README.md http://127.0.0.1:8080/function/crc32
 */
#include <flashd.h>
#include <stdint.h>
#include <string.h>

static uint32_t table[256];

int flashd_init(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0xedb88320u : value >> 1;
    table[i] = value;
  }
  return 0;
}

int flashd_handle(const flashd_request *request, flashd_response *response) {
  size_t length;
  const char *body = flashd_body(request, &length);
  if (strcmp(flashd_method(request), "POST") && strcmp(flashd_method(request), "PUT")) {
    flashd_status(response, 405);
    flashd_add_header(response, "allow", "POST, PUT");
    return flashd_printf(response, "send the bytes as the body of a POST\n");
  }
  uint32_t sum = ~0u;
  for (size_t i = 0; i < length; i++) sum = table[(sum ^ (unsigned char)body[i]) & 255] ^ (sum >> 8);
  return flashd_printf(response, "%08x %zu\n", ~sum, length);
}
