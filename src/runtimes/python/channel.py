"""
The stream of frames on an instance's data socket (native/include/flashd/frame.h). One thread reads at a time, one writes at a time.
"""
import os, select, struct, threading

HEADER = struct.Struct('<IIIHHIIII')  # length, meta length, id, type, flags, aux, load us, handler us, reserved
INIT, REQUEST, PING, FREEZE, READY, RESPONSE, ERROR = 1, 2, 3, 4, 129, 130, 131
NO_HANDLER, LOAD, CALL, BAD_RESPONSE, EXIT = 1, 2, 3, 4, 5
BODY_BINARY, READ_BYTES = 1, 16 << 10


class Channel:
  def __init__(self, fd):
    self.fd, self.data = fd, b''
    self.reading, self.writing = threading.Lock(), threading.Lock()
    self.poll = select.poll()
    self.poll.register(fd, select.POLLIN)

  def receive(self):
    """The next frame: header, meta, body; None at the end. Waits in poll(), not in read(): the gateway's own reads would wake a blocked reader."""
    data = self.data
    while len(data) < 32:
      self.poll.poll()
      chunk = os.read(self.fd, READ_BYTES)
      if not chunk:
        return None
      data += chunk
    header = HEADER.unpack_from(data)
    middle, end, have = 32 + header[1], 32 + header[0], len(data)
    if have < end:
      whole = memoryview(bytearray(end))
      whole[:have], data = data, whole
      while have < end:
        self.poll.poll()
        count = os.readv(self.fd, [whole[have:]])
        if not count:
          return None
        have += count
    self.data = bytes(data[end:])
    return header, bytes(data[32:middle]), bytes(data[middle:end])

  def send(self, kind, id, aux, meta, body=b'', load_us=0, handler_us=0):
    header = HEADER.pack(len(meta) + len(body), len(meta), id, kind, 0, aux, load_us, handler_us, 0)
    with self.writing:
      if len(body) < READ_BYTES:
        parts = [header + meta + body]
      else:
        parts = [header + meta, body]
      for part in parts:
        sent = os.write(self.fd, part)
        while sent < len(part):  # a signal came in between
          sent += os.write(self.fd, memoryview(part)[sent:])
