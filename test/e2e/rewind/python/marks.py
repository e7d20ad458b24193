"""What the kernel marks a mapping with, and tells of it in smaps."""
import mmap, re

from calls import maps, system


def page_of(name):
  start, _, end = maps(name)[0].split()[0].partition('-')
  return int(start, 16), int(end, 16)


def flags_of_heap():
  text = open('/proc/self/smaps').read().split('[heap]')[1]
  return set(re.search('VmFlags: (.*)', text)[1].split())


def advised():
  """Marks that stay on a mapping: of copies at a fork, dumps, huge pages, merging, order."""
  start, end = page_of('[heap]')
  for advice in (1, 2, 8, 10, 12, 15, 14, 16, 18, 102):
    system(28, start, end - start, advice)
  system(149, start, end - start)
  system(462, start, end - start, 0)


def advised_found():
  return flags_of_heap() & {'rr', 'sr', 'dc', 'mg', 'hg', 'dd', 'wf', 'lo', 'sl'} or None


def unmarked():
  """Mappings without the mark of those written to (soft-dirty), where the kernel gives it to new ones."""
  with mmap.mmap(-1, 4096), open('/proc/self/smaps') as file:
    marked = [' sd' in line for line in file if line.startswith('VmFlags:')]
  return any(marked) and marked.count(False) > 1 or None         # vsyscall, which is no mapping of its own, never has one
