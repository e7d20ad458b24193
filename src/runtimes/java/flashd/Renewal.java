package flashd;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.security.SecureRandom;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import sun.misc.Unsafe;

/**
 * What every fork of a template would repeat is renewed: the seeds of java.util's generators, of each thread and of identity hash codes, and random bytes that were read ahead. Whatever else
 * draws from SecureRandom (UUIDs, names of temporary files) reads from the kernel.
 */
final class Renewal {
  /** HotSpot's thread-local state of identity hash codes, as it is in a new thread behind one random word (runtime/thread.cpp). */
  private static final int[] HASH_STATE = {842502087, 0x8767, 273326509};
  private static final int HASH_SEARCH_BYTES = 2048, WORD = 4;

  private static Unsafe unsafe;
  private static Random mathRandom;
  private static AtomicLong randomUniquifier, splittableSeed, threadSeeder;
  private static Field threadSeed, threadProbe, threadAddress, readAhead;
  private static Object kernelRandom;
  private static long hashStateOffset = -1;
  private static Map<String, String> environment;
  private static Field processId, processStart;
  private static Object processBase;
  private static long processOffset;
  private static Method ownId, startOf;

  private Renewal() {}

  /** Once, in the template. */
  @SuppressWarnings("unchecked")
  static void prepare() throws Exception {
    unsafe = (Unsafe) field(Unsafe.class, "theUnsafe").get(null);
    mathRandom = (Random) field(Class.forName("java.lang.Math$RandomNumberGeneratorHolder"), "randomNumberGenerator").get(null);
    randomUniquifier = (AtomicLong) field(Random.class, "seedUniquifier").get(null);
    splittableSeed = (AtomicLong) field(java.util.SplittableRandom.class, "defaultGen").get(null);
    threadSeeder = (AtomicLong) field(ThreadLocalRandom.class, "seeder").get(null);
    threadSeed = field(Thread.class, "threadLocalRandomSeed");
    threadProbe = field(Thread.class, "threadLocalRandomProbe");
    threadAddress = field(Thread.class, "eetop");
    new SecureRandom().nextInt();
    kernelRandom = field(Class.forName("sun.security.provider.NativePRNG"), "INSTANCE").get(null);
    readAhead = field(kernelRandom.getClass(), "buffered");
    environment = (Map<String, String>) field(Class.forName("java.util.Collections$UnmodifiableMap"), "m").get(field(Class.forName("java.lang.ProcessEnvironment"), "theUnmodifiableEnvironment").get(null));
    Class<?> process = Class.forName("java.lang.ProcessHandleImpl", false, null);
    Field current = process.getDeclaredField("current");
    processBase = unsafe.staticFieldBase(current);
    processOffset = unsafe.staticFieldOffset(current);
    processId = process.getDeclaredField("pid");
    processStart = process.getDeclaredField("startTime");
    ownId = method(process, "getCurrentPid0");
    startOf = method(process, "isAlive0", long.class);
    System.load(new File(Renewal.class.getProtectionDomain().getCodeSource().getLocation().getPath()).getParent() + "/libflashd.so");
    Watcher.postpone(unsafe);
    Thread fresh = new Thread(Renewal::findHashState);
    fresh.start();
    fresh.join();
  }

  private static Field field(Class<?> type, String name) throws NoSuchFieldException {
    Field field = type.getDeclaredField(name);
    field.setAccessible(true);
    return field;
  }

  private static Method method(Class<?> type, String name, Class<?>... parameters) throws NoSuchMethodException {
    Method method = type.getDeclaredMethod(name, parameters);
    method.setAccessible(true);
    return method;
  }

  private static void findHashState() {
    try {
      long thread = threadAddress.getLong(Thread.currentThread());
      for (int offset = WORD; offset < HASH_SEARCH_BYTES && hashStateOffset < 0; offset += WORD) {
        boolean found = true;
        for (int index = 0; index < HASH_STATE.length; index++) found &= unsafe.getInt(thread + offset + (long) WORD * index) == HASH_STATE[index];
        if (found) hashStateOffset = offset - WORD;
      }
    } catch (IllegalAccessException absent) {
      hashStateOffset = -1;
    }
  }

  /** In every instance. */
  static void generators() {
    try (DataInputStream entropy = new DataInputStream(new FileInputStream("/dev/urandom"))) {
      mathRandom.setSeed(entropy.readLong());
      randomUniquifier.set(entropy.readLong() | 1);
      splittableSeed.set(entropy.readLong());
      threadSeeder.set(entropy.readLong());
      readAhead.setInt(kernelRandom, 0);
      Thread[] threads = new Thread[Thread.activeCount() + 8];
      int count = Thread.enumerate(threads);
      for (int index = 0; index < count; index++) renew(threads[index], entropy);
    } catch (IOException | IllegalAccessException error) {
      throw new IllegalStateException("random generators cannot be renewed", error);
    }
  }

  private static void renew(Thread thread, DataInputStream entropy) throws IOException, IllegalAccessException {
    threadSeed.setLong(thread, entropy.readLong());
    threadProbe.setInt(thread, entropy.readInt() | 1);
    long address = threadAddress.getLong(thread);
    if (hashStateOffset < 0 || address == 0) return;
    for (int index = 0; index <= HASH_STATE.length; index++) unsafe.putInt(address + hashStateOffset + (long) WORD * index, entropy.readInt() | 1);
  }

  /** In a fork of a function template whose function has asked for its process id: what ProcessHandle remembers is the id of another process. */
  static void processId() {
    Object current = unsafe.getObject(processBase, processOffset);
    if (current == null) return;
    try {
      long id = (long) ownId.invoke(null);
      unsafe.putLong(current, unsafe.objectFieldOffset(processId), id);
      unsafe.putLong(current, unsafe.objectFieldOffset(processStart), (long) startOf.invoke(null, id));
    } catch (ReflectiveOperationException error) {
      throw new IllegalStateException("the process id cannot be renewed", error);
    }
  }

  /** For System.getenv and for the C library, from which child processes have theirs. */
  static void setEnvironment(String name, String value) {
    environment.put(name, value);
    export((name + '\0').getBytes(UTF_8), (value + '\0').getBytes(UTF_8));
  }

  private static native void export(byte[] name, byte[] value);
}
