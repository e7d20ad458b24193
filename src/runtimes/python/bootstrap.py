"""
The Python runtime's template: imports what handlers import most, warms its own request loop, writes READY and waits in poll() on descriptor 3. Every instance is a fork that wakes up
in that poll() (shim.py).
usage: bootstrap.py FUNCTION_DIRECTORY
"""
import gc, os, sys

# What handlers import most is there when they do; each MB of it costs every fork about 15 us of page tables. What draws random numbers or keeps a pid
# while it is imported may not join (multiprocessing does).
PRELOAD = '''base64 collections.abc concurrent.futures contextlib copy csv dataclasses datetime decimal email.message enum functools gzip hashlib hmac html
  http.client inspect io itertools logging math pathlib secrets shutil ssl string subprocess tempfile textwrap typing urllib.error urllib.parse
  urllib.request uuid zlib'''

POOL_HEADER, BLOCK_STEP, BLOCK_MAX, BYTES_HEADER = 48, 16, 512, 33


def fill(size):
  """Takes the free blocks of one size in CPython's allocator (Objects/obmalloc.c) until three in a row are the first ones of a fresh pool."""
  taken, run = [], 0
  while run < 3 and len(taken) < 1 << 16:
    taken.append(object() if size == 16 else complex() if size == 32 else bytes(size - BYTES_HEADER))
    run = run + 1 if id(taken[-1]) % 4096 == POOL_HEADER + run * size else 0
  return taken


if __name__ == '__main__':
  here = os.path.dirname(__file__)
  os.environ.pop('GLIBC_TUNABLES', None)  # it was this process's own
  for module in PRELOAD.split():
    __import__(module)
  gc.collect()
  # A fork that writes to one object copies its page: what all forks use lies together, in pools of its own, and so does what they make.
  filled = [fill(size) for size in range(BLOCK_STEP, BLOCK_MAX + 1, BLOCK_STEP)]
  sys.path.insert(0, here)
  import shim
  from channel import READY
  del sys.path[0], sys.modules['shim'], sys.modules['channel'], sys.modules['payload']  # the names are the function's
  sys.stdout.reconfigure(line_buffering=True)
  shim.warm(here + '/warmup')
  gc.collect()
  gc.freeze()
  instance = shim.Instance(3, sys.argv[1])
  instance.send(READY, 0, 0, b'')
  instance.serve()
  os._exit(0)
