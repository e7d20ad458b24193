"""The passes of tools/filter-cost.c, as a function in Python would make them: the ns of one, for each byte that is read."""
import os
import struct
import time

PASSES = 2000
null = os.open('/dev/null', os.O_WRONLY)

while os.read(0, 1):
  began = time.perf_counter_ns()
  for _ in range(PASSES):
    file = os.open('/etc/passwd', os.O_RDONLY)
    os.fstat(file)
    os.write(null, os.read(file, 512))
    os.close(file)
  os.write(1, struct.pack('d', (time.perf_counter_ns() - began) / PASSES))
