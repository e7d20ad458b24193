/*
 * Runs a fuzz target without libFuzzer:  PROGRAM CORPUS [SECONDS [SEED]]
 * Every file of the corpus is replayed; then, for SECONDS, mutations of the corpus (deterministic for a seed). A crash is the sanitizer's abort: the input
 * that did it is left in "crash-<target>" in the working directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 1 << 20 };

static struct { uint8_t *bytes; size_t size; } inputs[INPUTS_MAX];
static size_t inputs_count;
static uint64_t random_state;
static uint8_t current[INPUT_BYTES_MAX];
static size_t current_size;
static char crash_path[256];

void __sanitizer_set_death_callback(void (*callback)(void));

static void keep_crash(void) {
  int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, current, current_size) != (ssize_t)current_size) return;
  fprintf(stderr, "input kept in %s (%zu bytes)\n", crash_path, current_size);
}

static void run_one(const uint8_t *bytes, size_t size) {
  if (bytes != current) memcpy(current, bytes, size);
  current_size = size;
  /* A heap copy of the exact size, so that one byte too far is seen. */
  uint8_t *exact = malloc(size ? size : 1);
  if (!exact) abort();
  memcpy(exact, current, size);
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
}

static uint64_t next_random(void) {            /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545f4914f6cdd1dull;
}

static void load_corpus(const char *folder) {
  struct dirent **names = NULL;
  int count = scandir(folder, &names, NULL, alphasort);
  if (count < 0) { perror(folder); exit(111); }
  for (int i = 0; i < count; free(names[i++])) {
    char path[4096];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
    if (stat(path, &status) || !S_ISREG(status.st_mode) || status.st_size > INPUT_BYTES_MAX || inputs_count == INPUTS_MAX) continue;
    FILE *file = fopen(path, "rbe");
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    if (!file || !bytes) { perror(path); exit(111); }
    inputs[inputs_count].size = fread(bytes, 1, (size_t)status.st_size, file);
    inputs[inputs_count++].bytes = bytes;
    fclose(file);
  }
  free(names);
}

static const uint64_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff };

static void mutate_once(void) {
  size_t at = current_size ? next_random() % current_size : 0;
  switch (next_random() % 6) {
    case 0: if (current_size) current[at] ^= (uint8_t)(1u << next_random() % 8); break;
    case 1: if (current_size) current[at] = (uint8_t)next_random(); break;
    case 2: current_size = at; break;
    case 3: {                                  /* a number at the edge of its type, at any alignment */
      size_t width = (size_t)1 << next_random() % 4;
      if (at + width <= current_size) memcpy(current + at, &edges[next_random() % (sizeof edges / sizeof *edges)], width);
      break;
    }
    case 4: {                                  /* splice with another input */
      size_t other = next_random() % inputs_count, room = INPUT_BYTES_MAX - at;
      size_t size = inputs[other].size < room ? inputs[other].size : room;
      memcpy(current + at, inputs[other].bytes, size);
      if (at + size > current_size) current_size = at + size;
      break;
    }
    default: {                                 /* insert a few bytes */
      size_t size = 1 + next_random() % 16;
      if (current_size + size > INPUT_BYTES_MAX) break;
      memmove(current + at + size, current + at, current_size - at);
      for (size_t i = 0; i < size; i++) current[at + i] = (uint8_t)next_random();
      current_size += size;
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 2) { fprintf(stderr, "usage: %s CORPUS [SECONDS [SEED]]\n", argv[0]); return 100; }
  const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
  snprintf(crash_path, sizeof crash_path, "crash-%s", name);
  __sanitizer_set_death_callback(keep_crash);
  load_corpus(argv[1]);
  if (!inputs_count) { fprintf(stderr, "%s: the corpus %s is empty\n", name, argv[1]); return 111; }
  for (size_t i = 0; i < inputs_count; i++) run_one(inputs[i].bytes, inputs[i].size);
  run_one((const uint8_t *)"", 0);
  uint64_t runs = inputs_count + 1;
  random_state = argc > 3 ? strtoull(argv[3], NULL, 10) | 1 : 1;
  for (time_t end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 0); time(NULL) < end; runs++) {
    size_t base = next_random() % inputs_count;
    memcpy(current, inputs[base].bytes, current_size = inputs[base].size);
    for (uint64_t steps = 1 + next_random() % 8; steps; steps--) mutate_once();
    run_one(current, current_size);
  }
  printf("%s: %llu inputs, no fault\n", name, (unsigned long long)runs);
  return 0;
}
