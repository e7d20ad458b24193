/* See image.h. */
#include "parasite/image.h"

#include "parasite/sys.h"

enum { SIGKILL_NUMBER = 9, SIGSTOP_NUMBER = 19, SIGSET_BYTES = 8 };

static long fill(int32_t fd, uint64_t start, uint64_t bytes, uint64_t offset)
{
  while (bytes > 0) {
    long got = fl_syscall(FL_NR_pread64, fd, (long)start, (long)bytes, (long)offset, 0);

    if (got <= 0)
      return got < 0 ? got : -FL_EPROTO;
    start += (uint64_t)got;
    offset += (uint64_t)got;
    bytes -= (uint64_t)got;
  }
  return 0;
}

static long map_file(const struct fl_image_op *op, const char *path)
{
  long fd = fl_syscall(FL_NR_open, (long)path, FL_O_RDONLY | FL_O_CLOEXEC, 0, 0, 0);

  if (fd < 0)
    return fd;
  long result = fl_map(op->start, op->bytes, op->rights, FL_MAP_PRIVATE | FL_MAP_FIXED, (int32_t)fd, op->offset);
  fl_syscall(FL_NR_close, fd, 0, 0, 0, 0);
  return result;
}

static long run(const struct fl_image_op *op, const char *paths, int32_t fd)
{
  switch (op->kind) {
  case FL_IMAGE_UNMAP: return fl_syscall(FL_NR_munmap, (long)op->start, (long)op->bytes, 0, 0, 0);
  case FL_IMAGE_ANONYMOUS: return fl_map(op->start, op->bytes, op->rights, FL_MAP_PRIVATE | FL_MAP_FIXED | FL_MAP_ANONYMOUS | FL_MAP_NORESERVE, -1, 0);
  case FL_IMAGE_FILE: return map_file(op, paths + op->path);
  case FL_IMAGE_DROP: return fl_syscall(FL_NR_madvise, (long)op->start, (long)op->bytes, FL_MADV_DONTNEED, 0, 0);
  case FL_IMAGE_RIGHTS: return fl_syscall(FL_NR_mprotect, (long)op->start, (long)op->bytes, op->rights, 0, 0);
  case FL_IMAGE_PAGES: return fill(fd, op->start, op->bytes, op->offset);
  default: return -FL_EINVAL;
  }
}

static long take_actions(const struct fl_image *image)
{
  long result = 0;

  for (int signal = 1; signal <= FL_IMAGE_SIGNALS && result >= 0; signal++)
    if (signal != SIGKILL_NUMBER && signal != SIGSTOP_NUMBER)
      result = fl_syscall(FL_NR_rt_sigaction, signal, (long)&image->action[signal - 1], 0, SIGSET_BYTES, 0);
  return result;
}

/* Its forks replace each of these numbers: until then something has to hold them. */
static long hold_numbers(const struct fl_descriptors *descriptors)
{
  long result = 0;

  for (uint32_t i = 0; i < descriptors->count && result >= 0; i++) {
    result = fl_syscall(FL_NR_dup3, 0, descriptors->carried[i].number, FL_O_CLOEXEC, 0, 0);
    if (result >= 0 && descriptors->carried[i].kind == FL_CARRIED_PIPE)
      result = fl_syscall(FL_NR_dup3, 0, descriptors->carried[i].write_end.number, FL_O_CLOEXEC, 0, 0);
  }
  return result;
}

static long take_memory(const struct fl_image *image, int32_t fd)
{
  const struct fl_image_op *op = (const struct fl_image_op *)(image + 1);
  const char *paths = (const char *)image + image->paths_at;
  long result = fl_syscall(FL_NR_brk, (long)image->brk, 0, 0, 0, 0) == (long)image->brk ? 0 : -FL_ENOMEM;

  for (uint32_t i = 0; i < image->ops && result >= 0; i++)
    result = run(&op[i], paths, fd);
  return result;
}

static void become(struct fl_parasite *self, const struct fl_parasite *image)
{
  uint64_t *to = (uint64_t *)self;
  const uint64_t *from = (const uint64_t *)image;

  for (uint64_t i = 0; i < sizeof *self / sizeof *to; i++)
    to[i] = from[i];
}

long fl_image_apply(struct fl_parasite *self, const struct fl_fork *fork, const int32_t *fds)
{
  static const char function[] = "/function", empty[] = "";
  const struct fl_image *image = (const struct fl_image *)fork->home;
  long result = fl_syscall(FL_NR_move_mount, fds[FL_IMAGE_BUNDLE], (long)empty, FL_AT_FDCWD, (long)function, FL_MOVE_MOUNT_F_EMPTY_PATH);

  if (result >= 0)
    result = fl_map(fork->home, fork->table_bytes, FL_PROT_READ, FL_MAP_PRIVATE | FL_MAP_FIXED_NOREPLACE, fds[FL_IMAGE_MEMORY], 0);
  if (result >= 0)
    result = take_memory(image, fds[FL_IMAGE_MEMORY]);
  if (result >= 0)
    result = take_actions(image);
  if (result >= 0)
    result = fl_syscall(FL_NR_dup3, fds[FL_IMAGE_SOCKET], image->self.socket, FL_O_CLOEXEC, 0, 0);
  if (result >= 0)
    result = fl_syscall(FL_NR_dup3, fds[FL_IMAGE_BELL], image->self.bell, FL_O_CLOEXEC, 0, 0);
  if (result >= 0)
    result = hold_numbers(&image->self.descriptors);
  if (result >= 0)
    result = fl_descriptors_close_rest(&image->self.descriptors, -1);
  if (result < 0)
    return result;
  become(self, &image->self);
  return fl_syscall(FL_NR_munmap, (long)fork->home, (long)fork->table_bytes, 0, 0, 0);
}
