"""
The Python runtime's shim: reads INIT and REQUEST frames (native/include/flashd/frame.h is the protocol), loads the function, answers. The time from INIT to the first response is the
cold start, and each page touched in it costs a fault: the path is short, raw and free of imports.
"""
import gc, json, marshal, os, random, socket, sys, threading, time, types
from importlib.util import MAGIC_NUMBER

import channel, payload, snapshot_restore_py as hooks
from channel import BAD_RESPONSE, BODY_BINARY, CALL, ERROR, EXIT, FREEZE, HEADER, INIT, LOAD, NO_HANDLER, PING, READ_BYTES, REQUEST, RESPONSE

OWN_FILES = __file__, payload.__file__, channel.__file__, hooks.__file__


class Instance:
  def __init__(self, fd, root):
    self.channel, self.root, self.load_us = channel.Channel(fd), root, 0
    self.handler = self.failure = self.common = None

  def send(self, kind, id, aux, meta, body=b'', handler_us=0):
    load_us, self.load_us = self.load_us, 0  # told once
    self.channel.send(kind, id, aux, meta, body, load_us, handler_us)

  def read(self, file):
    fd, chunks = os.open(file, os.O_RDONLY | os.O_CLOEXEC), []
    while not chunks or len(chunks[-1]) == READ_BYTES:
      chunks.append(os.read(fd, READ_BYTES))
    os.close(fd)
    return chunks[0] if len(chunks) == 1 else b''.join(chunks)

  def bytecode(self, file):
    """A .pyc that is valid without looking at its source (compileall --invalidation-mode unchecked-hash) saves the compiler's page faults."""
    folder, _, stem = file.removesuffix('.py').rpartition('/')
    path = f'{folder or "."}/__pycache__/{stem}.{sys.implementation.cache_tag}.pyc'
    bytecode = self.read(path) if os.access(path, os.R_OK) else b''  # no exception: the first one costs 16 page faults
    return marshal.loads(bytecode[16:]) if bytecode[:8] == MAGIC_NUMBER + b'\1\0\0\0' else None

  def prepare(self, meta):
    config = {}
    for item in meta.decode().split('\0'):
      key, _, value = item.partition('=')
      if key[:4] == 'env.':
        os.environ[key[4:]] = value
      else:
        config[key] = value
    if 'TZ' in os.environ:
      time.tzset()
    self.common = payload.common(config)
    sys.path[:0] = [self.root] + [packages for packages in [f'{self.root}/packages'] if os.access(packages, os.F_OK)]
    self.load(config['handler'], config['symbol'])
    for _ in range(int(config['concurrency']) - 1):
      threading.Thread(target=self.serve, daemon=True).start()

  def load(self, file, symbol):
    fault, name = NO_HANDLER, file.removesuffix('.py').replace('/', '.')
    try:
      code = self.bytecode(file) or self.read(file)
      fault = LOAD
      if isinstance(code, bytes):
        code = compile(code, f'{self.root}/{file}', 'exec', dont_inherit=True)
      module = sys.modules[name] = types.ModuleType(name)
      module.__file__, module.__package__ = f'{self.root}/{file}', name.rpartition('.')[0]
      exec(code, module.__dict__)
      fault = NO_HANDLER
      self.handler = getattr(module, symbol)
    except BaseException as error:
      self.failure = fault, payload.describe(error, OWN_FILES)

  def start(self, meta):
    """INIT. What every fork would repeat of the template's memory is renewed first. In a fork of a function template that is all: it has had this INIT before."""
    started = time.perf_counter_ns()
    random.seed()
    if 'numpy.random' in sys.modules:  # its own seed() takes three times as long
      numpy = sys.modules['numpy']
      numpy.random.set_state(('MT19937', numpy.frombuffer(os.urandom(2496), numpy.uint32), 624))
    threading.main_thread()._set_native_id()
    if self.common:
      self.restored()
    else:
      self.prepare(meta)
    self.load_us = (time.perf_counter_ns() - started) // 1000
    if self.failure and not self.channel.data:  # there is nobody to answer yet; a request that comes nevertheless is told the same
      self.send(ERROR, 0, *self.failure)

  def restored(self):
    try:
      hooks.run_after()
    except BaseException as error:
      self.failure = LOAD, payload.describe(error, OWN_FILES)

  def answer(self, header, meta, body):
    if self.failure:
      return self.send(ERROR, header[2], *self.failure)
    event = payload.decode(meta, body, bool(header[4] & BODY_BINARY))
    context, fault, spent = payload.Context(self.common, event['requestContext']['requestId'], header[5]), CALL, None
    started = time.perf_counter_ns()
    try:
      if header[3] == FREEZE:
        hooks.run_before()
        gc.collect(), gc.freeze()  # a collection in a fork would write to all that was loaded
      result = self.handler(event, context) if header[3] == REQUEST else event['requestContext']  # a ping goes all the way but through the handler
      fault, spent = BAD_RESPONSE, time.perf_counter_ns() - started
      kind, (aux, meta, body) = RESPONSE, payload.encode(result)
    except BaseException as error:
      spent = spent or time.perf_counter_ns() - started
      kind, aux, meta, body = ERROR, EXIT if isinstance(error, SystemExit) else fault, payload.describe(error, OWN_FILES), b''
    for stream in sys.stdout, sys.stderr:
      try:
        stream.flush()
      except Exception:  # closed or replaced by the function: its own affair
        pass
    self.send(kind, header[2], aux, meta, body, spent // 1000)
    if kind == ERROR and aux == EXIT:
      os._exit(1)

  def serve(self):
    while True:
      with self.channel.reading:
        frame = self.channel.receive()
      if not frame:
        return
      if frame[0][3] == INIT:
        self.start(frame[1])
      else:
        self.answer(*frame)


def warm(root):
  """Runs a dummy function through this very code until the interpreter has specialised it, then forgets it."""
  event = json.dumps({'version': '2.0', 'rawPath': '/', 'headers': {'host': 'localhost'}, 'requestContext': {'requestId': '0' * 36}}).encode()
  init = b'function=warmup\0version=0\0handler=handler.py\0symbol=handler\0memory_bytes=134217728\0concurrency=1\0env.LANG=C.UTF-8\0'
  home = os.getcwd()
  os.chdir(root)
  for _ in range(16):
    near, far = socket.socketpair()
    for kind, frame_meta, body in (INIT, init, b''), (REQUEST, event, b''), (REQUEST, event, b'text'), (INIT, init, b''), (PING, event, b''):
      far.sendall(HEADER.pack(len(frame_meta) + len(body), len(frame_meta), 1, kind, 0, 1000, 0, 0, 0) + frame_meta + body)
    far.shutdown(socket.SHUT_WR)
    Instance(near.fileno(), root).serve()
    near.close(), far.close()
    sys.path.remove(root)
    del sys.modules['handler']
  sys.path_importer_cache.pop(root, None)
  os.chdir(home)
