"""
The mapping in which a keeper has its calls made, where it stays in the instance (native/rewind/region.h): code that may be executed, and memory behind it. Where it does not stay there is nothing to do, and nothing is found;
the test looks whether it is there.
"""
import ctypes, struct, threading

from calls import C, MARK


def mapped():
  return [line.split() for line in open('/proc/self/maps')]


def addresses(line):
  return [int(each, 16) for each in line[0].split('-')]


def is_without_file(line):
  return len(line) == 5


def find():
  """Beginning of the code, beginning and end of the memory."""
  lines = mapped()
  for code, memory in zip(lines, lines[1:]):
    (start, end), (first, last) = addresses(code), addresses(memory)
    if is_without_file(code) and is_without_file(memory) and (code[1], memory[1]) == ('r-xp', 'rw-p') and end == first:
      return start, first, last
  return None


def hiding(act):
  def hide():
    if find():
      act(*find())
  return hide


def write(code, memory, end):
  ctypes.memmove(memory + 512, MARK, len(MARK))
  ctypes.memmove(end - 4096, MARK, len(MARK))


def patch(code, memory, end):
  C.mprotect(code, 4096, 7)
  ctypes.memmove(memory - 64, MARK, len(MARK))
  C.mprotect(code, 4096, 5)


def trap(code, memory, end):
  C.mprotect(code, 4096, 7)
  ctypes.memset(code, 0xcc, 4096)


def replace(code, memory, end):
  C.mmap(memory, end - memory, 3, 0x32, -1, 0)
  ctypes.memmove(memory, MARK, len(MARK))


def share(code, memory, end):
  content = ctypes.string_at(code, memory - code)
  C.mmap(code, memory - code, 7, 0x31, -1, 0)
  ctypes.memmove(code, content, len(content))


def unmap(code, memory, end):
  C.munmap(memory, end - memory, 0)


def marked():
  return find() and any(MARK in ctypes.string_at(at, 4096) for at in range(find()[0], find()[2], 4096)) or None


def misshapen():
  """Code of no file, or shared, that is not the region's as it was."""
  start = find() and find()[0]
  return next((line for line in mapped() if 'x' in line[1] and (is_without_file(line) or 's' in line[1]) and addresses(line)[0] != start), None)


SIGNATURE = struct.pack('<I', 0x53053053)
EXIT_GROUP = bytes.fromhex('bf07000000 b8e7000000 0f05')


def section(code, memory, end):
  """The main thread is said to be in a restartable sequence (linux/rseq.h) wherever it executes the keeper's calls: from there the kernel would send it to where the process ends."""
  C.pthread_self.restype = ctypes.c_ulong
  at = C.mmap(None, 4096, 7, 0x22, -1, 0)
  text = struct.pack('<IIQQQ', 0, 0, code, memory - code, at + 68).ljust(64, b'\0') + SIGNATURE + EXIT_GROUP
  ctypes.memmove(at, text, len(text))
  said = ctypes.c_uint64.from_address(C.pthread_self() + ctypes.c_ssize_t.in_dll(C, '__rseq_offset').value + 8)

  def say():
    while True:
      said.value = at
  threading.Thread(target=say, daemon=True).start()


PLACES = {
  "a section over the keeper's calls": (hiding(section), lambda: None),
}
HOSTILE = {
  "memory of the keeper's calls": (hiding(write), marked),
  "code of the keeper's calls": (hiding(patch), marked),
  "traps in the keeper's calls": (hiding(trap), misshapen),
  "other memory for the keeper's calls": (hiding(replace), marked),
  "shared code of the keeper's calls": (hiding(share), misshapen),
  "no memory for the keeper's calls": (hiding(unmap), misshapen),
}
