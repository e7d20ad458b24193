/* See dns.h. */
#include "names/dns.h"

#include <errno.h>
#include <string.h>

enum {
  HEADER_BYTES = 12, LABEL_MAX = 63, POINTER = 0xc0, TYPE_CNAME = 5, TYPE_OPT = 41,
  FLAG_RESPONSE = 0x8000, FLAG_OPCODE = 0x7800, FLAG_TRUNCATED = 0x0200, FLAG_RECURSION = 0x0100, FLAG_RECURSION_AVAILABLE = 0x0080, FLAG_CODE = 0x000f,
  SECONDS_MAX = 0x7fffffff                     /* RFC 2181: beyond that it stands for 0 */
};

struct reader { const uint8_t *bytes; size_t size, at; };

static bool take_16(struct reader *reader, uint16_t *ret_value)
{
  if (reader->size - reader->at < 2)
    return false;
  *ret_value = (uint16_t)(reader->bytes[reader->at] << 8 | reader->bytes[reader->at + 1]);
  reader->at += 2;
  return true;
}

static bool take_32(struct reader *reader, uint32_t *ret_value)
{
  uint16_t high, low;

  if (!take_16(reader, &high) || !take_16(reader, &low))
    return false;
  *ret_value = (uint32_t)high << 16 | low;
  return true;
}

/*
 * A name. Each pointer leads to before where the last one led to, and before the name itself, so that there are no loops. The packet goes on behind the first part.
 */
static bool take_name(struct reader *reader, bool pointers, struct fl_dns_name *ret_name)
{
  size_t at = reader->at, before = reader->at;
  bool jumped = false;

  ret_name->size = 0;
  for (;;) {
    if (at >= reader->size)
      return false;
    uint8_t length = reader->bytes[at];

    if ((length & POINTER) == POINTER) {
      size_t target = reader->size - at < 2 ? before : (size_t)(length & ~POINTER) << 8 | reader->bytes[at + 1];

      if (!pointers || target >= before)
        return false;
      if (!jumped)
        reader->at = at + 2;
      jumped = true;
      at = before = target;
      continue;
    }
    if (length > LABEL_MAX || reader->size - at <= length || (size_t)ret_name->size + length + 1 > FL_DNS_NAME_BYTES)
      return false;
    memcpy(ret_name->bytes + ret_name->size, reader->bytes + at, length + 1u);
    ret_name->size += length + 1;
    at += length + 1u;
    if (length == 0) {
      if (!jumped)
        reader->at = at;
      return true;
    }
  }
}

static uint8_t lower(uint8_t byte)
{
  return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

/* Bytes of length are below "A", so that they can be lowered like all others. */
static bool same_name(const struct fl_dns_name *one, const struct fl_dns_name *other)
{
  bool same = one->size == other->size;

  for (uint8_t index = 0; same && index < one->size; index++)
    same = lower(one->bytes[index]) == lower(other->bytes[index]);
  return same;
}

/* Behind the question of a query: nothing, or one OPT, which is at the root and whose options are of no interest. */
static bool take_extension(struct reader *reader, bool *ret_extended)
{
  uint16_t type, class, size;
  uint32_t flags;

  if (reader->at >= reader->size || reader->bytes[reader->at++] != 0 || !take_16(reader, &type) || !take_16(reader, &class) || !take_32(reader, &flags) || !take_16(reader, &size))
    return false;
  *ret_extended = type == TYPE_OPT;
  if (type != TYPE_OPT || size > reader->size - reader->at)
    return false;
  reader->at += size;
  return true;
}

int fl_dns_read_query(const void *bytes, size_t size, struct fl_dns_query *ret_query)
{
  struct reader reader = { bytes, size, 0 };
  uint16_t flags, questions, answers, authorities, additional;

  memset(ret_query, 0, sizeof *ret_query);
  if (size > FL_DNS_QUERY_MAX || !take_16(&reader, &ret_query->id) || !take_16(&reader, &flags) || !take_16(&reader, &questions) || !take_16(&reader, &answers) || !take_16(&reader, &authorities) ||
      !take_16(&reader, &additional) || (flags & FLAG_RESPONSE))
    return -EBADMSG;
  ret_query->recursion = flags & FLAG_RECURSION;
  if (flags & FLAG_OPCODE)
    return FL_DNS_NOT_IMPLEMENTED;
  if (questions != 1 || answers || authorities || additional > 1 || !take_name(&reader, false, &ret_query->name) || !take_16(&reader, &ret_query->type) || !take_16(&reader, &ret_query->class)) {
    ret_query->name.size = 0;                                    /* a reply without a question */
    return FL_DNS_FORMAT;
  }
  if ((additional && !take_extension(&reader, &ret_query->extended)) || reader.at != size)
    return FL_DNS_FORMAT;
  return FL_DNS_OK;
}

size_t fl_dns_text(const struct fl_dns_name *name, char ret_text[FL_DNS_NAME_BYTES])
{
  size_t length = 0;

  for (size_t at = 0; at < name->size && name->bytes[at]; at += name->bytes[at] + 1u) {
    if (length)
      ret_text[length++] = '.';
    for (size_t index = 1; index <= name->bytes[at]; index++) {
      uint8_t byte = lower(name->bytes[at + index]);

      ret_text[length++] = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' ? (char)byte : '?';
    }
  }
  return length;
}

static size_t put_16(uint8_t *bytes, size_t at, uint32_t value)
{
  bytes[at] = (uint8_t)(value >> 8);
  bytes[at + 1] = (uint8_t)value;
  return at + 2;
}

static size_t put_header(uint8_t *bytes, uint16_t id, uint32_t flags, uint32_t questions, uint32_t answers, uint32_t additional)
{
  size_t at = put_16(bytes, put_16(bytes, put_16(bytes, 0, id), flags), questions);

  return put_16(bytes, put_16(bytes, put_16(bytes, at, answers), 0), additional);
}

static size_t put_question(uint8_t *bytes, size_t at, const struct fl_dns_name *name, uint16_t type, uint16_t class)
{
  memcpy(bytes + at, name->bytes, name->size);
  return put_16(bytes, put_16(bytes, at + name->size, type), class);
}

/* Without options; what we take at a time. */
static size_t put_extension(uint8_t *bytes, size_t at)
{
  bytes[at] = 0;
  at = put_16(bytes, put_16(bytes, at + 1, TYPE_OPT), FL_DNS_ANSWER_MAX);
  return put_16(bytes, put_16(bytes, put_16(bytes, at, 0), 0), 0);
}

size_t fl_dns_write_question(uint16_t id, const struct fl_dns_name *name, uint8_t ret_bytes[FL_DNS_QUERY_MAX])
{
  return put_extension(ret_bytes, put_question(ret_bytes, put_header(ret_bytes, id, FLAG_RECURSION, 1, 0, 1), name, FL_DNS_A, FL_DNS_IN));
}

struct record { uint16_t type, class, size; uint32_t seconds; };

static bool take_record(struct reader *reader, struct fl_dns_name *ret_owner, struct record *ret_record)
{
  return take_name(reader, true, ret_owner) && take_16(reader, &ret_record->type) && take_16(reader, &ret_record->class) && take_32(reader, &ret_record->seconds) &&
         take_16(reader, &ret_record->size) && ret_record->size <= reader->size - reader->at;
}

/* One record of an answer, in which a name follows its alias. The reader stands at its data. False: malformed. */
static bool follow(struct reader *reader, const struct fl_dns_name *owner, const struct record *record, struct fl_dns_name *current, uint32_t *aliases, struct fl_dns_answer *answer)
{
  uint32_t seconds = record->seconds > SECONDS_MAX ? 0 : record->seconds;
  struct reader data = { reader->bytes, reader->at + record->size, reader->at };

  reader->at += record->size;
  if (record->class != FL_DNS_IN || (record->type != FL_DNS_A && record->type != TYPE_CNAME) || !same_name(owner, current))
    return true;
  if (record->type == TYPE_CNAME) {
    struct fl_dns_name target;

    if (++*aliases > FL_DNS_ALIASES_MAX || !take_name(&data, true, &target) || data.at != data.size)
      return false;
    *current = target;
  } else {
    uint32_t address;

    if (record->size != sizeof address || !take_32(&data, &address))
      return false;
    if (answer->count < FL_DNS_ADDRESSES_MAX)
      answer->address[answer->count++] = address;
  }
  answer->seconds = seconds < answer->seconds ? seconds : answer->seconds;
  return true;
}

int fl_dns_read_answer(const void *bytes, size_t size, size_t max, uint16_t id, const struct fl_dns_name *name, struct fl_dns_answer *ret_answer)
{
  struct reader reader = { bytes, size, 0 };
  uint16_t got, flags, questions, answers, authorities, additional, type, class;
  struct fl_dns_name current, owner;
  uint32_t aliases = 0;

  *ret_answer = (struct fl_dns_answer){ .seconds = SECONDS_MAX };
  if (size > max || !take_16(&reader, &got) || got != id || !take_16(&reader, &flags) || !take_16(&reader, &questions) || !take_16(&reader, &answers) || !take_16(&reader, &authorities) ||
      !take_16(&reader, &additional) || !(flags & FLAG_RESPONSE) || (flags & FLAG_OPCODE) || questions != 1)
    return -EBADMSG;
  if (!take_name(&reader, false, &current) || !same_name(&current, name) || !take_16(&reader, &type) || !take_16(&reader, &class) || type != FL_DNS_A || class != FL_DNS_IN)
    return -EBADMSG;
  ret_answer->truncated = flags & FLAG_TRUNCATED;
  ret_answer->code = (flags & FLAG_CODE) == FL_DNS_OK || (flags & FLAG_CODE) == FL_DNS_NO_NAME ? (enum fl_dns_code)(flags & FLAG_CODE) : FL_DNS_FAILED;
  for (uint16_t index = 0; index < answers && index < FL_DNS_RECORDS_MAX && ret_answer->code == FL_DNS_OK; index++) {
    struct record record;

    if (ret_answer->truncated && reader.at == size)
      break;                                                     /* counted, and left out */
    if (!take_record(&reader, &owner, &record) || !follow(&reader, &owner, &record, &current, &aliases, ret_answer))
      return -EBADMSG;
  }
  return 0;
}

int fl_dns_frame_wants(const struct fl_dns_frame *frame, size_t max)
{
  if (frame->filled < FL_DNS_PREFIX_BYTES)
    return (int)(FL_DNS_PREFIX_BYTES - frame->filled);
  size_t size = (size_t)frame->bytes[0] << 8 | frame->bytes[1];
  return size == 0 || size > max ? -EMSGSIZE : (int)(FL_DNS_PREFIX_BYTES + size - frame->filled);
}

size_t fl_dns_write_reply(const struct fl_dns_query *query, const struct fl_dns_answer *answer, uint8_t ret_bytes[FL_DNS_REPLY_MAX])
{
  const bool asked = query->name.size > 0;
  uint32_t count = asked && answer->code == FL_DNS_OK ? answer->count : 0;
  size_t at = put_header(ret_bytes, query->id, FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (query->recursion ? FLAG_RECURSION : 0) | answer->code, asked, count, query->extended);

  if (asked)
    at = put_question(ret_bytes, at, &query->name, query->type, query->class);
  for (uint32_t index = 0; index < count; index++) {
    at = put_16(ret_bytes, at, POINTER << 8 | HEADER_BYTES);     /* the question's name */
    at = put_16(ret_bytes, put_16(ret_bytes, at, FL_DNS_A), FL_DNS_IN);
    at = put_16(ret_bytes, put_16(ret_bytes, at, answer->seconds >> 16), answer->seconds);
    at = put_16(ret_bytes, at, sizeof answer->address[0]);
    at = put_16(ret_bytes, put_16(ret_bytes, at, answer->address[index] >> 16), answer->address[index]);
  }
  return query->extended ? put_extension(ret_bytes, at) : at;
}
