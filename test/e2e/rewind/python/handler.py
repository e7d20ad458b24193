"""
Hides something wherever a process can keep it, or looks for it there: the path says what and where. A place is a pair of functions; the second one returns None when it finds nothing.
Those in HOSTILE do what a restore need not undo, as long as it ends the instance.
"""
import array, ctypes, errno, fcntl, json, os, re, resource, signal, socket, struct, sys, threading, time

from calls import C, MARK, maps, status, succeed, system
from marks import advised, advised_found, flags_of_heap, page_of, unmarked
import region

KEPT = {}
AT = 0x3000000000
BRK = 12


# Neither stands anywhere as the words themselves, which are in memory only when a request has hidden them.
SCRAMBLED = b'jdqu!nomx!ho!uid!ldlnsx!ng!nod!sdptdru'
WORDS = re.compile(rb'[k][e][p][t][ ][o][n][l][y][ ][i][n][ ][t][h][e][ ][m][e][m][o][r][y][ ][o][f][ ][o][n][e][ ][r][e][q][u][e][s][t]')


def words():
  return bytes(each ^ 1 for each in SCRAMBLED)


def search():
  with open('/proc/self/mem', 'rb', 0) as memory:
    for line in open('/proc/self/maps'):
      addresses, rights, *_ = line.split()
      start, end = (int(each, 16) for each in addresses.split('-'))
      if not rights.startswith('rw') or end - start > 1 << 30:
        continue
      try:
        memory.seek(start)
        found = WORDS.search(memory.read(end - start))
      except OSError:
        continue
      if found:
        return hex(start + found.start())


def remember(key, value):
  KEPT[key] = value


def patched():
  json.dumps.__defaults__ = ('patched',)


def mapped():
  C.mmap(AT, 1 << 16, 3, 0x32, -1, 0)
  ctypes.memmove(AT, MARK, len(MARK))


def gigabytes():
  at = C.mmap(None, 4 << 30, 3, 0x4022, -1, 0)
  for page in range(0, 4 << 30, 256 << 20):
    ctypes.memmove(at + page, MARK, len(MARK))


def heap():
  C.sbrk.argtypes = [ctypes.c_long]
  at = C.sbrk(1 << 20)
  ctypes.memmove(at, MARK, len(MARK))
  KEPT['heap'] = at


def heap_end():
  return system(BRK, 0)


def unwritable():
  start, end = page_of('[heap]')
  C.mprotect(end - 4096, 4096, 1)


def code():
  start, end = next((int(a, 16), int(b, 16)) for a, b in (line.split()[0].split('-') for line in maps('libm') if ' r-xp ' in line))
  C.mprotect(end - 4096, 4096, 7)
  ctypes.memmove(end - 64, MARK, len(MARK))
  C.mprotect(end - 4096, 4096, 5)


def code_found():
  end = next(int(line.split()[0].split('-')[1], 16) for line in maps('libm') if ' r-xp ' in line)
  return MARK in ctypes.string_at(end - 64, 64) or None


def vdso():
  start, end = page_of('[vdso]')
  C.mprotect(start, end - start, 7)
  ctypes.memmove(end - 64, MARK, len(MARK))
  C.mprotect(start, end - start, 5)


def libc_code():
  for line in maps('libc.so'):
    if ' r-xp ' in line:
      start, end = (int(each, 16) for each in line.split()[0].split('-'))
      C.mprotect(end - 4096, 4096, 7)
      ctypes.memset(end - 32, 0x90, 16)


def unmap_library():
  start, end = page_of('libm')
  C.munmap(start, end - start, 0)


def discard():
  start, end = page_of('[heap]')
  system(28, end - 8192, 4096, 4)


def file_descriptor():
  fd = os.memfd_create('kept')
  os.write(fd, MARK)
  os.dup2(fd, 100)


def pipe_content():
  near, far = os.pipe()
  os.dup2(near, 101), os.dup2(far, 102)
  os.write(102, MARK)


def readable(fd):
  try:
    return os.fstat(fd) and fd
  except OSError:
    return None


def owner():
  fcntl.fcntl(3, fcntl.F_SETOWN, os.getpid())


def spoken():
  """Behind the answer, bytes that would become the beginning of the next one."""
  header = struct.pack('<IIIHHIIII', 4000, 0, 4, 130, 0, 200, 0, 0, 0)

  def speak():
    time.sleep(0.0004)
    os.write(3, header[:20])
  threading.Thread(target=speak, daemon=True).start()


def handler_of_signal():
  signal.signal(signal.SIGUSR1, lambda *_: None)


def hidden_mask():
  action = struct.pack('<QQQQ', 0, 0x04000000, 0x1234, 0x5a5a0000)
  system(13, 50, ctypes.create_string_buffer(action, 32), 0, 8)


def hidden_mask_found():
  old = ctypes.create_string_buffer(32)
  system(13, 50, 0, old, 8)
  return struct.unpack('<QQQQ', old.raw)[3] or None


def pending():
  signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, 40})
  os.kill(os.getpid(), signal.SIGUSR2)
  for _ in range(3):
    system(129, os.getpid(), 40, ctypes.create_string_buffer(struct.pack('<iii', 40, 0, -1).ljust(128, b'x'), 128))


def pending_found():
  masks = [status(each) for each in ('SigBlk:', 'SigPnd:', 'ShdPnd:')]
  return masks if any(int(each, 16) for each in masks) else None


def posix_timer():
  event = ctypes.create_string_buffer(struct.pack('<Qii', 7, 14, 1).ljust(64, b'\0'), 64)
  identity = ctypes.c_int()
  system(222, 1, event, ctypes.byref(identity))


def child():
  if os.fork() == 0:
    os.close(3)
    time.sleep(20)
    os._exit(0)


def daemon():
  if os.fork() == 0:
    os.setsid()
    for fd in range(256):
      try:
        os.close(fd)
      except OSError:
        pass
    if os.fork() == 0:
      time.sleep(20)
    os._exit(0)
  os.wait()


def zombie():
  if os.fork() == 0:
    os._exit(7)
  time.sleep(0.02)


def children():
  return len([each for each in os.listdir('/proc') if each.isdigit()]) - 2 or None


def thread():
  threading.Thread(target=lambda: time.sleep(20), daemon=True).start()


def deaf_thread():
  def deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
      pass
  threading.Thread(target=deaf, daemon=True).start()


def threads():
  return len(os.listdir('/proc/self/task')) - 1 or None


def shared_memory():
  identity = system(29, 4242, 4096, 0o1600)
  KEPT['shm'] = identity


def tree():
  at = '/tmp'
  for depth in range(20):
    at += '/d'
    os.mkdir(at)
    with open(at + '/file', 'wb') as file:
      file.write(MARK)
  os.symlink('/', '/tmp/root')
  for directory in ('/var/tmp', '/dev/shm', os.path.expanduser('~')):
    with open(directory + '/kept', 'wb') as file:
      file.write(MARK)
  os.chmod('/tmp/d', 0)


def files():
  return [each for directory in ('/tmp', '/var/tmp', '/dev/shm', '/home/function') for each in os.listdir(directory)] or None


def deep_tree():
  os.chdir('/tmp')
  for depth in range(200):
    os.mkdir('d')
    os.chdir('d')


def times():
  os.utime('/home/function', (1234, 5678))
  os.chmod('/home/function', 0o711)


def times_found():
  found = os.stat('/home/function')
  return (found.st_mtime == 5678 or found.st_mode & 0o777 == 0o711) or None


def attribute():
  try:
    os.setxattr('/home/function', 'user.kept', MARK)
  except OSError as error:
    if error.errno != errno.ENOTSUP:           # before Linux 6.6 there are none
      raise


def listening():
  server = socket.socket()
  server.bind(('127.0.0.1', 4242))
  server.listen()
  KEPT['server'] = server


def connected():
  server = socket.create_server(('127.0.0.1', 4243))
  client = socket.create_connection(('127.0.0.1', 4243))
  client.sendall(MARK)
  server.accept()[0].close()


def forks():
  if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setpgid(0, 0)
    while True:
      if os.fork():
        time.sleep(20)
      else:
        break
    time.sleep(20)
    os._exit(0)
  time.sleep(0.01)


def death_signal():
  found = ctypes.c_int()
  C.prctl(2, ctypes.byref(found), 0, 0, 0)
  return found.value or None


def subreaper():
  found = ctypes.c_int()
  C.prctl(37, ctypes.byref(found), 0, 0, 0)
  return found.value or None


def attached():
  C.shmat.restype = ctypes.c_void_p
  at = C.shmat(system(29, 4343, 4096, 0o1600), None, 0)
  ctypes.memmove(at, MARK, len(MARK))


def replaced(flags=0):
  """The same text in maps, and another mapping, perhaps with another flag."""
  end = page_of('[heap]')[1]
  C.mmap(end - 4096, 4096, 3, 0x32 | flags, -1, 0)
  ctypes.memmove(end - 64, MARK, len(MARK))


def replaced_found():
  return MARK in ctypes.string_at(page_of('[heap]')[1] - 64, 64) or None


def huge():
  """The heap's pages together in huge ones, those of the snapshot among them, as far as the kernel does that."""
  heap()
  start, end = page_of('[heap]')
  system(28, start, end - start, 14)
  for at in range(start + (1 << 21) - 1 & -(1 << 21), end - (1 << 21) + 1, 1 << 21):
    system(28, at, 1 << 21, 25)
  remember('huge', words())


def unwritten():
  """What a restore finds written pages by is what this asks the kernel to forget, if it may."""
  remember('unwritten', MARK)
  pages = os.open('/proc/self/pagemap', os.O_RDONLY)
  room = ctypes.create_string_buffer(24 * 4096)
  scan = struct.pack('<12Q', 96, 1, 0, 0x7ffffffff000, 0, ctypes.addressof(room), 4096, 0, 0, 2, 24, 2)
  for _ in range(8):
    C.ioctl(pages, ctypes.c_ulong(0xc0606610), ctypes.create_string_buffer(scan, 96))


def sockets():
  return [line for name in ('tcp', 'udp', 'raw') for line in open(f'/proc/self/net/{name}').read().splitlines()[1:]] or None


def own_filter():
  program = array.array('Q', [0x7fff000000000006])
  system(157, 38, 1, 0, 0, 0)
  system(317, 1, 0, ctypes.create_string_buffer(struct.pack('<HxxxxxxQ', 1, program.buffer_info()[0])))


def landlock():
  attributes = ctypes.create_string_buffer(struct.pack('<Q', 1 << 1), 8)
  rules = system(444, attributes, 8, 0)
  return system(446, rules, 0) == 0


def dispatch():
  system(157, 59, 1, 0, (1 << 47) - 4096, 0)


def standing(name, value):
  return lambda: value if open(f'/proc/self/{name}').read().split()[0] == value else None


def write(name, value):
  def put():
    with open(f'/proc/self/{name}', 'w') as file:
      file.write(value)
  return put


def will_be_locked():
  C.mmap(None, 1 << 16, 3, 0x22, -1, 0)
  return status('VmLck:') != '0' or None


PLACES = {
  'a variable': (lambda: remember('variable', MARK), lambda: KEPT.get('variable')),
  'a module': (lambda: setattr(sys, 'kept', MARK), lambda: getattr(sys, 'kept', None)),
  'a function of the runtime': (patched, lambda: json.dumps.__defaults__),
  'the environment': (lambda: os.environ.update(KEPT='1'), lambda: os.environ.get('KEPT')),
  'freed memory': (lambda: words() * 1000, search),
  'much memory': (lambda: remember('much', [bytes(1 << 20) for _ in range(64)] + [words()]), search),
  'a mapping': (mapped, lambda: maps('3000000000-') or None),
  'gigabytes': (gigabytes, lambda: next((line for line in open('/proc/self/maps') if (lambda a, b: int(b, 16) - int(a, 16))(*line.split()[0].split('-')) >= 4 << 30), None)),
  'the heap': (heap, lambda: KEPT.get('heap')),
  'the end of the heap within its page': (lambda: system(BRK, heap_end() - 24), lambda: heap_end() % 4096 or None),
  'rights of memory': (unwritable, lambda: [line for line in maps('[heap]') if ' r--p ' in line] or None),
  'code of a library': (code, code_found),
  'discarded memory': (discard, lambda: None),
  'a descriptor': (file_descriptor, lambda: readable(100)),
  'a pipe': (pipe_content, lambda: readable(102)),
  'flags of a descriptor': (lambda: fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK), lambda: fcntl.fcntl(1, fcntl.F_GETFL) & os.O_NONBLOCK or None),
  'the owner of a descriptor': (owner, lambda: fcntl.fcntl(3, fcntl.F_GETOWN) or None),
  'a handler': (handler_of_signal, lambda: int(status('SigCgt:'), 16) & 1 << 9 or None),
  'the mask of an action': (hidden_mask, hidden_mask_found),
  'signals that wait': (pending, pending_found),
  'an alarm': (lambda: signal.setitimer(signal.ITIMER_REAL, 600, 5), lambda: signal.getitimer(signal.ITIMER_REAL)[1] or None),
  'a timer of profiling': (lambda: signal.setitimer(signal.ITIMER_PROF, 600, 7), lambda: signal.getitimer(signal.ITIMER_PROF)[1] or None),
  'a POSIX timer': (posix_timer, lambda: open('/proc/self/timers').read() or None),
  'the directory': (lambda: os.chdir('/usr'), lambda: os.getcwd() != '/function' or None),
  'the umask': (lambda: os.umask(0o70), lambda: status('Umask:') != '0022' or None),
  'a limit': (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (77, resource.getrlimit(resource.RLIMIT_NOFILE)[1])), lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 77 or None),
  'the name': (lambda: C.prctl(15, MARK[:15], 0, 0, 0), lambda: 'secret' in open('/proc/self/comm').read() or None),
  'locked memory': (lambda: succeed(C.mlock(ctypes.c_void_p(id(KEPT)), ctypes.c_size_t(1))), lambda: status('VmLck:') != '0' or None),
  'the slack of timers': (lambda: C.prctl(29, 123456, 0, 0, 0), lambda: C.prctl(30, 0, 0, 0, 0) == 123456 or None),
  'a thread': (thread, threads),
  'a thread that hears nothing': (deaf_thread, threads),
  'a dead child': (zombie, children),
  'files': (tree, files),
  'times of a directory': (times, times_found),
  'a bound socket': (listening, sockets),
  'personality': (lambda: C.personality(0x0020000), lambda: C.personality(0xffffffff) or None),
  'dumpable': (lambda: C.prctl(4, 0, 0, 0, 0), lambda: C.prctl(3, 0, 0, 0, 0) != 1 or None),
  'a group of processes': (lambda: C.prctl(36, 1, 0, 0, 0), subreaper),
  'the badness': (write('oom_score_adj', '500'), standing('oom_score_adj', '500')),
  'what is dumped': (write('coredump_filter', '0x7'), standing('coredump_filter', '00000007')),
  'a child': (child, children),
  'a daemon': (daemon, children),
  'System V shared memory': (shared_memory, lambda: max(0, system(29, 4242, 0, 0)) or None),
  'a semaphore': (lambda: system(64, 4242, 1, 0o1600), lambda: max(0, system(64, 4242, 0, 0)) or None),
  'a queue of messages': (lambda: system(68, 4242, 0o1600), lambda: max(0, system(68, 4242, 0)) or None),
  'an attribute of a directory': (attribute, lambda: os.listxattr('/home/function') or None),
  'the policy of the scheduler': (lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)), lambda: os.sched_getscheduler(0) == os.SCHED_BATCH or None),
  'the priority of input and output': (lambda: system(251, 1, 0, 2 << 13 | 7), lambda: (system(252, 1, 0) & 7 == 7) or None),
  'the death signal': (lambda: C.prctl(1, 12, 0, 0, 0), death_signal),
  'children that fork': (forks, children),
  'attached shared memory': (attached, lambda: maps('SYSV') or (max(0, system(29, 4343, 0, 0)) or None)),
  'a mapping in the place of another': (replaced, replaced_found),
  'advice on memory': (advised, advised_found),
  'huge pages': (huge, lambda: search() or advised_found()),
  'pages that are called unwritten': (unwritten, lambda: KEPT.get('unwritten')),
  'a Landlock domain': (landlock, lambda: None),
}
HOSTILE = {
  "the kernel's code": (vdso, lambda: MARK in ctypes.string_at(page_of('[vdso]')[1] - 64, 64) or None),
  'a mapping of another kind in the place of another': (lambda: replaced(0x4000), lambda: replaced_found() or flags_of_heap() & {'nr'} or None),
  'niceness': (lambda: os.nice(7), lambda: os.nice(0) or None),
  'the size of a pipe': (lambda: fcntl.fcntl(1, 1031, 4096 * 4), lambda: fcntl.fcntl(1, 1032) == 16384 or None),
  'memory that will be locked': (lambda: succeed(C.mlockall(2)), will_be_locked),
  'a limit of the heap': (lambda: resource.setrlimit(resource.RLIMIT_DATA, (4096, resource.getrlimit(resource.RLIMIT_DATA)[1])), lambda: resource.getrlimit(resource.RLIMIT_DATA)[0] == 4096 or None),
  'a hard limit': (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (7777, 7777)), lambda: resource.getrlimit(resource.RLIMIT_FSIZE)[1] == 7777 or None),
  'the code of the libc': (libc_code, lambda: None),
  'an unmapped library': (unmap_library, lambda: None if maps('libm') else 'unmapped'),
  'nothing on descriptor 3': (lambda: os.dup2(os.open('/dev/null', os.O_RDWR), 103) and None, lambda: readable(103)),
  'a beginning of the next answer': (spoken, lambda: None),
  'an option of the data socket': (lambda: system(54, 3, 1, 20, ctypes.create_string_buffer(struct.pack('<qq', 77, 0), 16), 16), lambda: socket.socket(fileno=os.dup(3)).getsockopt(1, 20, 16)[:1] == b'M' or None),
  'refusal of code': (lambda: C.prctl(65, 1, 0, 0, 0), lambda: max(0, C.prctl(66, 0, 0, 0, 0)) or None),
  'marks of written pages': (write('clear_refs', '4'), unmarked),
  'a POSIX queue': (lambda: system(240, b'kept', 0o102, 0o600, 0), lambda: max(0, system(240, b'kept', 0, 0, 0)) or None),
  'a deep tree': (deep_tree, files),
  'a connection': (connected, sockets),
  'a filter': (own_filter, lambda: None),
  'dispatched system calls': (dispatch, lambda: None),
  'another program': (lambda: os.execv('/bin/sleep', ['sleep', '20']), lambda: None),
}


PLACES |= region.PLACES
HOSTILE |= region.HOSTILE


def handler(event, context):
  what, place = event['rawPath'].strip('/').replace('%20', ' ').split('/') if event['rawPath'].count('/') > 1 else ('list', '')
  if what == 'list':
    return {'places': list(PLACES), 'hostile': list(HOSTILE), 'region': region.find() is not None}
  hide, find = (PLACES | HOSTILE)[place]
  if what == 'hide':
    hide()
    return {'pid': os.getpid()}
  found = find()
  return {'pid': os.getpid(), 'found': None if found is None else str(found)[:200]}
