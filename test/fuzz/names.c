/* Hostile packets from both sides. The first byte says which: a sandbox's question, a name server's answer to one, the gateway's list with a name behind it, or messages over TCP in pieces. */
#include <stdlib.h>
#include <string.h>

#include "names/dns.h"
#include "names/list.h"

/* What is written of it is within its bounds, and understood by whoever reads it as strictly. */
static void ask(const uint8_t *data, size_t size)
{
  struct fl_dns_query query, back;
  struct fl_dns_answer answer = { .count = FL_DNS_ADDRESSES_MAX };
  uint8_t bytes[FL_DNS_REPLY_MAX];
  char text[FL_DNS_NAME_BYTES];
  int code = fl_dns_read_query(data, size, &query);

  if (code < 0)
    return;
  answer.code = (enum fl_dns_code)code;
  if (fl_dns_write_reply(&query, &answer, bytes) > sizeof bytes || fl_dns_text(&query.name, text) > FL_NAMES_NAME_MAX)
    abort();
  if (code == FL_DNS_OK && (fl_dns_read_query(bytes, fl_dns_write_question(query.id, &query.name, bytes), &back) != FL_DNS_OK || back.name.size != query.name.size))
    abort();
}

static void answer(const uint8_t *data, size_t size)
{
  struct fl_dns_name name = { .size = 17 };
  struct fl_dns_answer answer, back;
  uint8_t bytes[FL_DNS_REPLY_MAX];

  memcpy(name.bytes, "\3api\7example\3org", 17);
  if (size < 2 || fl_dns_read_answer(data, size, FL_DNS_STREAM_ANSWER_MAX, (uint16_t)(data[0] << 8 | data[1]), &name, &answer) < 0)
    return;
  if (answer.count > FL_DNS_ADDRESSES_MAX || (answer.code != FL_DNS_OK && answer.count) || answer.code > FL_DNS_NO_NAME || answer.seconds > 0x7fffffff)
    abort();
  size_t length = fl_dns_write_reply(&(struct fl_dns_query){ .id = 7, .type = FL_DNS_A, .class = FL_DNS_IN, .name = name }, &answer, bytes);
  if (length > sizeof bytes || fl_dns_read_answer(bytes, length, FL_DNS_ANSWER_MAX, 7, &name, &back) < 0 || back.count != answer.count)
    abort();
}

static void list(const uint8_t *data, size_t size)
{
  static struct fl_names names;
  uint16_t port[FL_NAMES_PORTS_MAX];
  size_t rest = size > sizeof names ? size - sizeof names : 0;

  memset(&names, 0, sizeof names);
  memcpy(&names, data, size - rest);
  if (fl_names_check(&names, NULL) < 0)
    return;
  uint32_t entries = fl_names_match(&names, (const char *)data + size - rest, rest);
  if (entries >> (names.count - 1) >> 1 || (fl_names_ports(&names, entries, port) == 0) != (entries == 0))
    abort();
}

/* As the forwarder fills a frame: the byte before each piece is how much the kernel would have had. Never more than one message is taken, and never beyond the frame. */
static void stream(const uint8_t *data, size_t size)
{
  static struct fl_dns_frame frame;
  size_t max = size > 0 && data[0] & 0x80 ? FL_DNS_STREAM_ANSWER_MAX : FL_DNS_QUERY_MAX;

  frame.filled = 0;
  for (size_t at = 0; at < size;) {
    int wants = fl_dns_frame_wants(&frame, max);
    size_t had = data[at++] & 0x7fu, got = had < size - at ? had : size - at;

    if (wants < 0)
      return;
    if (wants == 0) {
      size_t length = frame.filled - FL_DNS_PREFIX_BYTES;

      if (length == 0 || length > max)
        abort();
      ask(frame.bytes + FL_DNS_PREFIX_BYTES, length);
      answer(frame.bytes + FL_DNS_PREFIX_BYTES, length);
      frame.filled = 0;
      continue;
    }
    got = got < (size_t)wants ? got : (size_t)wants;
    if (frame.filled + (size_t)wants > sizeof frame.bytes)
      abort();
    memcpy(frame.bytes + frame.filled, data + at, got);
    frame.filled += got;
    at += got;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  switch (data[0] % 4) {
  case 0: ask(data + 1, size - 1); break;
  case 1: answer(data + 1, size - 1); break;
  case 2: list(data + 1, size - 1); break;
  default: stream(data + 1, size - 1);
  }
  return 0;
}
