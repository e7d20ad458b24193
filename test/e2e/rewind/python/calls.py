"""What hiding and looking need of the C library and of /proc."""
import ctypes

C = ctypes.CDLL(None, use_errno=True)
C.mmap.restype = C.sbrk.restype = ctypes.c_void_p
C.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
C.munmap.argtypes = C.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
C.syscall.restype = ctypes.c_long
MARK = b'a secret of the request before'


def system(number, *arguments):
  result = C.syscall(ctypes.c_long(number), *[ctypes.c_long(each) if isinstance(each, int) else each for each in arguments])
  return -ctypes.get_errno() if result < 0 else result


def succeed(result):
  if result != 0:
    raise OSError(ctypes.get_errno())


def maps(name):
  return [line for line in open('/proc/self/maps') if name in line]


def status(name):
  return next(line.split()[1] for line in open('/proc/self/status') if line.startswith(name))
