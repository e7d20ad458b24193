/* Another function: it listens, and keeps a secret in every place that has a name. Called again it tells whether all of that is as it was. */
#include "attempts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
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

static int hold(void)
{
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(4444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0victim" };
  int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0), shared = shmget(0x666c6173, 4096, IPC_CREAT | 0666);
  int file = open("/tmp/victim", O_CREAT | O_WRONLY | O_CLOEXEC, 0666), memory = shm_open("/victim", O_CREAT | O_RDWR, 0666);

  return bind(tcp, (struct sockaddr *)&port, sizeof port) == 0 && listen(tcp, SOMAXCONN) == 0 &&
         bind(local, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 7) == 0 && listen(local, SOMAXCONN) == 0 && shared >= 0 && msgget(0x666c6173, IPC_CREAT | 0666) >= 0 &&
         mq_open("/victim", O_CREAT | O_RDWR, 0666, NULL) >= 0 && write(file, secret, sizeof secret) == (ssize_t)sizeof secret && write(memory, secret, sizeof secret) == (ssize_t)sizeof secret;
}

/* As the attacker would, from where it must work. */
const char *victim_hold(void)
{
  struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(4444), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  char text[sizeof secret] = "";
  int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), file;

  if (!held && !hold())
    return "cannot hold\n";
  held = 1;
  file = open("/tmp/victim", O_RDONLY | O_CLOEXEC);
  if (connect(tcp, (struct sockaddr *)&port, sizeof port) < 0 || read(file, text, sizeof text) != (ssize_t)sizeof text || memcmp(text, secret, sizeof text) || shmget(0x666c6173, 4096, 0) < 0)
    return "lost\n";
  close(tcp);
  close(file);
  return "held\n";
}
