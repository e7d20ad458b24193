package flashd;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** The stream of frames on an instance's data socket (native/include/flashd/frame.h). One thread reads; any may write. */
final class Channel {
  static final int INIT = 1, REQUEST = 2, PING = 3, FREEZE = 4, READY = 129, RESPONSE = 130, ERROR = 131;
  static final int NO_HANDLER = 1, LOAD = 2, CALL = 3, BAD_RESPONSE = 4, EXIT = 5;
  static final int BODY_BINARY = 1, META_MAX = 1 << 20, BODY_MAX = 64 << 20;
  private static final int HEADER_BYTES = 32, READ_BYTES = 8 << 10;
  private static final short POLLIN = 1;

  /** last: nothing has arrived behind it. */
  record Frame(int type, int id, int flags, int aux, byte[] meta, byte[] body, boolean last) {}

  private final FileDescriptor descriptor;
  private final FileInputStream in;
  private final FileOutputStream out;
  private final Method poll;
  private byte[] data = new byte[READ_BYTES];
  private int have;

  /** from, to: numbers of descriptors, usually the same. */
  Channel(int from, int to) throws ReflectiveOperationException {
    descriptor = descriptor(from);
    in = new FileInputStream(descriptor);
    out = new FileOutputStream(descriptor(to));
    poll = Class.forName("sun.nio.ch.Net").getDeclaredMethod("poll", FileDescriptor.class, int.class, long.class);
    poll.setAccessible(true);
  }

  private static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
    FileDescriptor descriptor = new FileDescriptor();
    Field field = FileDescriptor.class.getDeclaredField("fd");
    field.setAccessible(true);
    field.setInt(descriptor, number);
    return descriptor;
  }

  /** The next frame, or null at the end. Waits in poll(), not in read(): the gateway's own reads would wake a blocked reader. */
  Frame receive() {
    try {
      if (!fill(HEADER_BYTES)) return null;
      ByteBuffer header = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
      int end = HEADER_BYTES + header.getInt(0), middle = HEADER_BYTES + header.getInt(4);
      if (!fill(end)) return null;
      Frame frame = new Frame(header.getShort(12) & 0xffff, header.getInt(8), header.getShort(14), header.getInt(16), Arrays.copyOfRange(data, HEADER_BYTES, middle),
          Arrays.copyOfRange(data, middle, end), have == end);
      System.arraycopy(data, end, data, 0, have - end);
      have -= end;
      if (data.length > READ_BYTES && have <= READ_BYTES) data = Arrays.copyOf(data, READ_BYTES);
      return frame;
    } catch (IOException | ReflectiveOperationException error) {
      return null;
    }
  }

  private boolean fill(int wanted) throws IOException, ReflectiveOperationException {
    if (wanted > data.length) data = Arrays.copyOf(data, wanted);
    while (have < wanted) {
      poll.invoke(null, descriptor, POLLIN, -1L);
      int got = in.read(data, have, data.length - have);
      if (got <= 0) return false;
      have += got;
    }
    return true;
  }

  /** handlerUs, loadUs: microseconds. */
  synchronized void send(int type, int id, int aux, byte[] meta, byte[] body, int loadUs, int handlerUs) {
    ByteBuffer frame = ByteBuffer.allocate(HEADER_BYTES + meta.length + body.length).order(ByteOrder.LITTLE_ENDIAN);
    frame.putInt(meta.length + body.length).putInt(meta.length).putInt(id).putInt(type).putInt(aux).putInt(loadUs).putInt(handlerUs).putInt(0).put(meta).put(body);
    try {
      out.write(frame.array());
    } catch (IOException error) {
      Runtime.getRuntime().halt(1);
    }
  }
}
