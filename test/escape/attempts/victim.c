/* Another function: it listens, and keeps a secret in every place that has a name. Called again it tells whether all of that is as it was. */
#include "attempts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <stdio.h>

static const char secret[] = "only the victim's";
static int held;

static int hold_light(void)
{
  struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0victim" };
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(4445) };
  int local = socket(AF_UNIX, SOCK_STREAM, 0), number = socket(AF_INET, SOCK_DGRAM, 0), file = open("/tmp/victim", O_CREAT | O_WRONLY | O_CLOEXEC, 0666), memory = shm_open("/victim", O_CREAT | O_RDWR, 0666);

  return bind(local, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 7) == 0 && listen(local, SOMAXCONN) == 0 && bind(number, (struct sockaddr *)&port, sizeof port) == 0 && write(file, secret, sizeof secret) == (ssize_t)sizeof secret &&
         write(memory, secret, sizeof secret) == (ssize_t)sizeof secret;
}

static int hold(void)
{
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(4444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int tcp = socket(AF_INET, SOCK_STREAM, 0), shared = shmget(0x666c6173, 4096, IPC_CREAT | 0666);

  return hold_light() && bind(tcp, (struct sockaddr *)&port, sizeof port) == 0 && listen(tcp, SOMAXCONN) == 0 && shared >= 0 && msgget(0x666c6173, IPC_CREAT | 0666) >= 0;
}

static int file_is_right(void)
{
  char text[sizeof secret] = "";
  int file = open("/tmp/victim", O_RDONLY | O_CLOEXEC), right = read(file, text, sizeof text) == (ssize_t)sizeof text && !memcmp(text, secret, sizeof text);

  close(file);
  return right;
}

const char *victim_hold_light(void)
{
  struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0victim" };
  int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), connected;

  if (!held && !hold_light())
    return "cannot hold\n";
  held = 1;
  connected = connect(local, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 7) == 0;
  close(local);
  return connected && file_is_right() ? "held\n" : "lost\n";
}

/* As the attacker would, from where it must work. */
const char *victim_hold(void)
{
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(4444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), connected;

  if (!held && !hold())
    return "cannot hold\n";
  held = 1;
  connected = connect(tcp, (struct sockaddr *)&port, sizeof port) == 0;
  close(tcp);
  return connected && file_is_right() && shmget(0x666c6173, 4096, 0) >= 0 ? "held\n" : "lost\n";
}
