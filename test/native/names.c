/* Host names in policies: lists, packets of DNS, and what answers open in the kernel, with real packets in a world of its own (world.h). The forwarder itself runs in test/e2e/names.test.ts. */
#include <stdlib.h>

#include "names/forwarder.h"
#include "names/list.h"
#include "network/part.h"
#include "world.h"

enum { SLOTS = 4, PLENTY = 125000000 };

static void add(struct fl_names *names, const char *text, uint16_t port, bool wildcard)
{
  names->name[names->count++] = (struct fl_name){ .port = port, .length = (uint8_t)strlen(text), .wildcard = wildcard };
  memcpy(names->text + names->text_bytes, text, strlen(text));
  names->text_bytes += (uint32_t)strlen(text);
}

static struct fl_names listed(void)
{
  struct fl_names names = { 0 };

  add(&names, "api.example.org", 443, false);
  add(&names, "example.org", 80, true);
  add(&names, "api.example.org", 80, false);
  return names;
}

static uint32_t match(const char *text)
{
  const struct fl_names names = listed();

  return fl_names_match(&names, text, strlen(text));
}

static void entries_are_found(void)
{
  const struct fl_names names = listed();
  uint16_t port[FL_NAMES_PORTS_MAX];

  CHECK(match("api.example.org") == 7 && match("www.example.org") == 2 && match("a.b.example.org") == 2);
  CHECK(match("example.org") == 0 && match("badexample.org") == 0 && match("example.org.evil.net") == 0);
  CHECK(match("") == 0 && match("org") == 0 && match("api.example.orgx") == 0 && match("xapi.example.org") == 2);
  CHECK(fl_names_ports(&names, 7, port) == 2 && port[0] == 443 && port[1] == 80 && fl_names_ports(&names, 0, port) == 0 && fl_names_ports(&names, ~7u, port) == 0);
}

static bool accepted(const char *text, uint16_t port)
{
  struct fl_names names = { 0 };

  add(&names, text, port, false);
  return fl_names_check(&names, NULL) == 0;
}

static void lists_that_cannot_hold_are_refused(void)
{
  static const char *const bad[] = { "", ".", "a..b", ".a", "a.", "A.example", "a b", "10.0.0.1", "1", "a.1", "a\xc3\xbc.example", "a/b",
                                     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example" };
  struct fl_names names = listed();

  CHECK(fl_names_check(&names, NULL) == 0 && accepted("localhost", 1) && accepted("_a.b-c.1x", 65535) && !accepted("a.example", 0));
  for (size_t index = 0; index < FL_COUNT(bad); index++)
    CHECK(!accepted(bad[index], 443));
  names.text[names.text_bytes] = 'x';
  CHECK(fl_names_check(&names, NULL) < 0);
  names = listed();
  names.name[2].length--;
  CHECK(fl_names_check(&names, NULL) < 0);
  names = listed();
  names.name[3].port = 1;
  CHECK(fl_names_check(&names, NULL) < 0);
  names = listed();
  names.count = FL_NAMES_MAX + 1;
  CHECK(fl_names_check(&names, NULL) < 0);
  names = listed();
  names.text_bytes = FL_NAMES_TEXT_BYTES + 1;
  CHECK(fl_names_check(&names, NULL) < 0);
  names = (struct fl_names){ 0 };
  CHECK(fl_names_check(&names, NULL) < 0);
  for (uint16_t port = 1; port <= FL_NAMES_PORTS_MAX + 1; port++) {
    add(&names, "a.example", port, false);
    CHECK((fl_names_check(&names, NULL) == 0) == (port <= FL_NAMES_PORTS_MAX));
  }
}

/* A packet as a string literal, its closing NUL not included. */
#define READ_QUERY(packet, query) fl_dns_read_query((packet), sizeof(packet) - 1, (query))
#define QUESTION "\3ApI\7example\3org\0\0\1\0\1"

static void questions_are_read_strictly(void)
{
  static const char plain[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0" QUESTION, extended[] = "\x12\x34\1\0\0\1\0\0\0\0\0\1" QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\0";
  struct fl_dns_query query;
  char text[FL_DNS_NAME_BYTES];

  CHECK(READ_QUERY(plain, &query) == FL_DNS_OK && query.id == 0x1234 && query.type == FL_DNS_A && query.class == FL_DNS_IN && query.recursion && !query.extended);
  CHECK(fl_dns_text(&query.name, text) == 15 && memcmp(text, "api.example.org", 15) == 0);
  CHECK(READ_QUERY(extended, &query) == FL_DNS_OK && query.extended);
  for (size_t size = 0; size < sizeof extended - 1; size++)
    CHECK(fl_dns_read_query(extended, size, &query) != FL_DNS_OK);
  CHECK(READ_QUERY("\x12\x34\x81\0\0\1\0\0\0\0\0\0" QUESTION, &query) < 0);                                /* an answer */
  CHECK(READ_QUERY("\x12\x34\x29\0\0\1\0\0\0\0\0\0" QUESTION, &query) == FL_DNS_NOT_IMPLEMENTED);          /* an update */
  CHECK(READ_QUERY("\x12\x34\1\0\0\2\0\0\0\0\0\0" QUESTION QUESTION, &query) == FL_DNS_FORMAT);            /* two questions */
  CHECK(READ_QUERY("\x12\x34\1\0\0\1\0\1\0\0\0\0" QUESTION, &query) == FL_DNS_FORMAT);
  CHECK(READ_QUERY("\x12\x34\1\0\0\1\0\0\0\0\0\0" QUESTION "x", &query) == FL_DNS_FORMAT);                 /* something behind it */
  CHECK(READ_QUERY("\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", &query) == FL_DNS_FORMAT);              /* a pointer, to itself at that */
  CHECK(READ_QUERY("\x12\x34\1\0\0\1\0\0\0\0\0\0\x40xyz\0\0\1\0\1", &query) == FL_DNS_FORMAT);
  CHECK(READ_QUERY("\x12\x34\1\0\0\1\0\0\0\0\0\0\7api.org\0\0\1\0\1", &query) == FL_DNS_OK && fl_dns_text(&query.name, text) == 7 && memcmp(text, "api?org", 7) == 0);
}

static void a_name_has_a_limit(void)
{
  uint8_t packet[FL_DNS_QUERY_MAX] = { 0, 1, 1, 0, 0, 1 };
  struct fl_dns_query query;
  size_t at = 12;

  for (int label = 0; label < 4; label++, at += 64) {
    packet[at] = 63;
    memset(packet + at + 1, 'a', 63);
  }
  packet[at + 2] = packet[at + 4] = 1;
  CHECK(fl_dns_read_query(packet, at + 5, &query) == FL_DNS_FORMAT);                                       /* 257 bytes */
  packet[12 + 3 * 64] = 61;
  packet[12 + 3 * 64 + 62] = 0;
  memcpy(packet + 12 + 3 * 64 + 63, "\0\1\0\1", 4);
  CHECK(fl_dns_read_query(packet, 12 + 3 * 64 + 67, &query) == FL_DNS_OK && query.name.size == FL_DNS_NAME_BYTES);
}

static struct fl_dns_name asked(void)
{
  struct fl_dns_name name = { .size = 17 };

  memcpy(name.bytes, "\3api\7example\3org", 17);
  return name;
}

#define READ_ANSWER(packet, answer) read_answer((packet), sizeof(packet) - 1, (answer))
static int read_answer(const void *packet, size_t size, struct fl_dns_answer *answer)
{
  const struct fl_dns_name name = asked();

  return fl_dns_read_answer(packet, size, FL_DNS_ANSWER_MAX, 7, &name, answer);
}

static void answers_are_read_strictly(void)
{
  static const char direct[] = "\0\7\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xcb\0\x71\x50";
  static const char alias[] = "\0\7\x81\x80\0\1\0\3\0\0\0\0" QUESTION "\xc0\x0c\0\5\0\1\0\0\0\x0a\0\6\3cdn\xc0\x10"            /* cdn.example.org */
                              "\3cdn\7example\3org\0\0\1\0\1\0\0\0\x40\0\4\xcb\0\x71\x50" "\5other\3org\0\0\1\0\1\0\0\0\1\0\4\x0a\0\0\1";
  static const char *const never[] = {
    "\0\7\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x21\0\1\0\1\0\0\0\1\0\4\1\2\3\4",                                          /* a pointer to itself */
    "\0\7\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\3abc\xc0\x21\0\1\0\1\0\0\0\1\0\4\1\2\3\4",                                      /* and in a circle */
    "\0\7\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\xff\0\1\0\1\0\0\0\1\0\4\1\2\3\4",
  };
  struct fl_dns_answer answer;

  CHECK(READ_ANSWER(direct, &answer) == 0 && answer.code == FL_DNS_OK && answer.count == 1 && answer.seconds == 300 && answer.address[0] == ip("203.0.113.80"));
  CHECK(READ_ANSWER(alias, &answer) == 0 && answer.count == 1 && answer.seconds == 10 && answer.address[0] == ip("203.0.113.80"));    /* not that of a name nobody asked for */
  for (size_t size = 0; size < sizeof alias - 1; size++)
    CHECK(read_answer(alias, size, &answer) < 0);
  for (size_t index = 0; index < FL_COUNT(never); index++)
    CHECK(read_answer(never[index], 12 + 21 + 2 + 14 + 4 * (index == 1), &answer) < 0);
  CHECK(READ_ANSWER("\0\x08\x81\x80\0\1\0\0\0\0\0\0" QUESTION, &answer) < 0);                                /* another number */
  CHECK(READ_ANSWER("\0\7\1\0\0\1\0\0\0\0\0\0" QUESTION, &answer) < 0);                                      /* a question */
  CHECK(READ_ANSWER("\0\7\x81\x80\0\1\0\0\0\0\0\0\3bpi\7example\3org\0\0\1\0\1", &answer) < 0);              /* to another question */
  CHECK(READ_ANSWER("\0\7\x81\x83\0\1\0\0\0\0\0\0" QUESTION, &answer) == 0 && answer.code == FL_DNS_NO_NAME && answer.count == 0);
  CHECK(READ_ANSWER("\0\7\x81\x85\0\1\0\0\0\0\0\0" QUESTION, &answer) == 0 && answer.code == FL_DNS_FAILED);
  CHECK(READ_ANSWER("\0\7\x81\x80\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\0\1\0\5\1\2\3\4\5", &answer) < 0);        /* an address of five bytes */
}

static void an_answer_has_limits(void)
{
  uint8_t packet[FL_DNS_ANSWER_MAX + 1] = "\0\7\x81\x80\0\1\0\x40\0\0\0\0" QUESTION;
  static const char record[] = "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4", round[] = "\xc0\x0c\0\5\0\1\0\0\0\1\0\2\xc0\x0c";
  struct fl_dns_answer answer;
  size_t at = 12 + 21;

  for (int index = 0; index < FL_DNS_RECORDS_MAX; index++, at += sizeof record - 1)
    memcpy(packet + at, record, sizeof record - 1);
  CHECK(read_answer(packet, at, &answer) == 0 && answer.count == FL_DNS_ADDRESSES_MAX && read_answer(packet, sizeof packet, &answer) < 0);
  at = 12 + 21;
  for (int index = 0; index < FL_DNS_RECORDS_MAX; index++, at += sizeof round - 1)       /* a name that is its own alias */
    memcpy(packet + at, round, sizeof round - 1);
  CHECK(read_answer(packet, at, &answer) < 0);
}

static void what_is_cut_short_says_so(void)
{
  static const char empty[] = "\0\7\x83\x80\0\1\0\0\0\0\0\0" QUESTION, some[] = "\0\7\x83\x80\0\1\0\5\0\0\0\0" QUESTION "\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xcb\0\x71\x50";
  uint8_t packet[FL_DNS_STREAM_ANSWER_MAX + 1] = "\0\7\x81\x80\0\1\0\0\0\0\0\0" QUESTION;
  const struct fl_dns_name name = asked();
  struct fl_dns_answer answer;

  CHECK(READ_ANSWER(empty, &answer) == 0 && answer.truncated && answer.count == 0);
  CHECK(READ_ANSWER(some, &answer) == 0 && answer.truncated && answer.count == 1);
  CHECK(read_answer(some, sizeof some - 3, &answer) < 0);        /* in the middle of a record */
  CHECK(fl_dns_read_answer(packet, sizeof packet - 1, FL_DNS_STREAM_ANSWER_MAX, 7, &name, &answer) == 0 && !answer.truncated);
  CHECK(fl_dns_read_answer(packet, sizeof packet, FL_DNS_STREAM_ANSWER_MAX, 7, &name, &answer) < 0);
}

static void a_message_over_tcp_has_its_length_and_a_limit(void)
{
  struct fl_dns_frame frame = { 0 };

  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == 2);
  frame.filled = 1;
  frame.bytes[0] = 2;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == 1);      /* half a length is none */
  frame.filled = 2;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == 512);
  frame.filled = 513;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == 1);
  frame.filled = 514;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == 0);
  frame.filled = 2;
  frame.bytes[1] = 1;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == -EMSGSIZE && fl_dns_frame_wants(&frame, FL_DNS_STREAM_ANSWER_MAX) == 513);
  frame.bytes[0] = frame.bytes[1] = 0;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_QUERY_MAX) == -EMSGSIZE);
  frame.bytes[0] = frame.bytes[1] = 0xff;
  CHECK(fl_dns_frame_wants(&frame, FL_DNS_STREAM_ANSWER_MAX) == -EMSGSIZE);
}

/* What we say is read back by ourselves, as question and as answer. */
static void replies_are_well_formed(void)
{
  static const char plain[] = "\0\7\1\0\0\1\0\0\0\0\0\1" QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\0";
  struct fl_dns_answer answer = { .count = 2, .seconds = 77, .address = { ip("203.0.113.80"), ip("8.8.8.8") } }, back;
  uint8_t bytes[FL_DNS_REPLY_MAX];
  struct fl_dns_query query, again;

  CHECK(READ_QUERY(plain, &query) == FL_DNS_OK);
  CHECK(read_answer(bytes, fl_dns_write_reply(&query, &answer, bytes), &back) == 0 && back.count == 2 && back.seconds == 77 && back.address[1] == ip("8.8.8.8"));
  answer.code = FL_DNS_NO_NAME;
  CHECK(read_answer(bytes, fl_dns_write_reply(&query, &answer, bytes), &back) == 0 && back.code == FL_DNS_NO_NAME && back.count == 0);
  CHECK(fl_dns_read_query(bytes, fl_dns_write_question(99, &query.name, bytes), &again) == FL_DNS_OK && again.id == 99 && again.extended && again.recursion);
  query.name.size = 0;
  CHECK(fl_dns_write_reply(&query, &(struct fl_dns_answer){ .code = FL_DNS_FORMAT }, bytes) == 12 + 11);
}

static void an_answer_is_kept_between_bounds(void)
{
  CHECK(fl_names_seconds(0) == FL_NAMES_SECONDS_MIN + FL_NAMES_GRACE_SECONDS && fl_names_seconds(UINT32_MAX) == FL_NAMES_SECONDS_MAX + FL_NAMES_GRACE_SECONDS);
  CHECK(fl_names_seconds(300) == 300 + FL_NAMES_GRACE_SECONDS);
}

static const struct fl_egress_policy by_name = { .flags = FL_EGRESS_NAMES, .bytes_per_second = PLENTY, .rules = 1, .rule = { { 0x0a090909, 80, 32, 0 } } };

static int make_named_part(uint32_t slot)
{
  struct fl_error error = { 0 };
  int network = make_part(slot);

  must(fl_egress_grant(&egress, slot, &by_name, &error), &error);
  return network;
}

static int open_target(uint32_t slot, const char *address, uint16_t port, uint32_t seconds)
{
  struct fl_error error = { 0 };

  return fl_egress_open_targets(&egress, slot, &(struct fl_egress_target){ ip(address), port }, 1, seconds, &error);
}

static void what_a_name_stands_for_is_open_and_nothing_else(int one, int two)
{
  CHECK(tcp(one, "8.8.8.8", 443) == ECONNREFUSED && tcp(one, "10.9.9.9", 80) == CONNECTED);      /* its rule holds beside names */
  CHECK(open_target(0, "8.8.8.8", 443, 60) == 0);
  CHECK(tcp(one, "8.8.8.8", 443) == CONNECTED && udp(one, "8.8.8.8", 443) == CONNECTED);
  CHECK(tcp(one, "8.8.8.8", 80) == ECONNREFUSED && tcp(one, "203.0.113.80", 443) == ECONNREFUSED);
  CHECK(tcp(two, "8.8.8.8", 443) == ECONNREFUSED);
}

static void it_passes(int one)
{
  CHECK(open_target(0, "203.0.113.80", 443, 1) == 0 && tcp(one, "203.0.113.80", 443) == CONNECTED);
  usleep(600000);
  CHECK(open_target(0, "203.0.113.80", 443, 1) == 0);            /* anew, though it is open */
  usleep(600000);
  CHECK(tcp(one, "203.0.113.80", 443) == CONNECTED);
  usleep(700000);
  CHECK(tcp(one, "203.0.113.80", 443) == ECONNREFUSED && open_target(0, "203.0.113.80", 443, 1) == 0 && tcp(one, "203.0.113.80", 443) == CONNECTED);
}

static void what_is_not_public_is_never_opened(int one)
{
  static const char *const never[] = { "10.9.9.9", "172.16.5.5", "192.168.7.7", "100.64.1.1", "169.254.169.254", "127.0.0.1", "0.0.0.0", "198.18.0.1", "224.0.0.9", "255.255.255.255" };
  const struct fl_egress_target mixed[] = { { ip("8.8.8.8"), 80 }, { ip("10.9.9.9"), 443 } };
  struct fl_error error = { 0 };

  for (size_t index = 0; index < FL_COUNT(never); index++)
    CHECK(open_target(0, never[index], 443, 60) == -EPERM && tcp(one, never[index], 443) != CONNECTED);
  CHECK(fl_egress_open_targets(&egress, 0, mixed, 2, 60, &error) == -EPERM && tcp(one, "8.8.8.8", 80) == ECONNREFUSED);
  /* Public by its looks, and the host's own: the kernel knows. */
  CHECK(open_target(0, "198.51.100.2", 80, 60) == 0 && tcp(one, "198.51.100.2", 80) == ECONNREFUSED);
  CHECK(open_target(0, "192.0.2.7", 80, 60) == -EPERM || tcp(one, "192.0.2.7", 80) == ECONNREFUSED);
}

static void there_is_an_end_to_it(uint32_t slot)
{
  uint32_t opened = 0;
  struct fl_error error = { 0 };

  while (opened <= FL_EGRESS_OPENED_MAX && fl_egress_open_targets(&egress, slot, &(struct fl_egress_target){ ip("8.0.0.0") + opened, 443 }, 1, 60, &error) == 0)
    opened++;
  CHECK(opened == FL_EGRESS_OPENED_MAX);
  CHECK(fl_egress_open_targets(&egress, slot, &(struct fl_egress_target){ 0 }, FL_EGRESS_TARGETS_MAX + 1, 60, &error) < 0);
}

static void nothing_is_left_for_the_next_one(int one)
{
  CHECK(tcp(one, "8.8.8.8", 443) == CONNECTED);
  close(one);
  fl_egress_revoke(&egress, 0);
  fl_egress_part_remove(&maker, 0, fl_egress_address(&egress, 0));
  one = make_named_part(0);
  CHECK(tcp(one, "8.8.8.8", 443) == ECONNREFUSED && open_target(0, "8.8.8.8", 443, 60) == 0 && tcp(one, "8.8.8.8", 443) == CONNECTED);
  fl_egress_revoke(&egress, 0);
  CHECK(tcp(one, "8.8.8.8", 443) == ECONNREFUSED && open_target(0, "8.8.8.8", 443, 60) < 0);
  close(one);
}

int main(void)
{
  static const char name[] = "flashd-names-test";
  struct fl_egress_config config = { .name = name, .range = { 0x0ae00000, 12 }, .slots = SLOTS, .nameserver = 0x0affff35 };
  struct fl_error error = { 0 };
  int one, two;

  entries_are_found();
  lists_that_cannot_hold_are_refused();
  questions_are_read_strictly();
  a_name_has_a_limit();
  answers_are_read_strictly();
  an_answer_has_limits();
  what_is_cut_short_says_so();
  a_message_over_tcp_has_its_length_and_a_limit();
  replies_are_well_formed();
  an_answer_is_kept_between_bounds();
  build_world();
  maker = (struct fl_egress_maker){ .name = name, .own = host };
  must(fl_egress_start(&config, &egress, &error), &error);
  must(fl_egress_open(&egress, &error), &error);
  one = make_named_part(0);
  two = make_named_part(1);
  what_a_name_stands_for_is_open_and_nothing_else(one, two);
  it_passes(one);
  what_is_not_public_is_never_opened(one);
  there_is_an_end_to_it(1);
  nothing_is_left_for_the_next_one(one);
  fl_egress_stop(&egress);
  return 0;
}
