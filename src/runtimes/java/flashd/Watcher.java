package flashd;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import sun.misc.Unsafe;

/**
 * HotSpot frees what its compilers have used and may use again every five seconds (ChunkPoolCleaner of memory/arena.cpp). In a fork of a template that is older than that this is due at once: in each it would
 * write to some 300 pages that are shared otherwise, beside the first request. It is put off, in the template, for as long as an int of milliseconds goes.
 */
final class Watcher {
  /** struct PeriodicTask (runtime/task.hpp): its virtual table, int counter, int interval; as malloc aligns it. */
  private static final int COUNTER = 8, INTERVAL = 12, ALIGNMENT = 16, INTERVAL_MS = 5000;
  private static final long SEARCHED_BYTES_MAX = 16 << 20;

  private record Range(long start, long end) {}

  private Watcher() {}

  /** Nothing is changed unless exactly one such thing is found. */
  static void postpone(Unsafe unsafe) throws Exception {
    List<Range> tables = new ArrayList<>(), heaps = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of("/proc/self/maps"))) {
      String[] columns = line.split(" +");
      String[] ends = columns[0].split("-");
      Range range = new Range(Long.parseUnsignedLong(ends[0], 16), Long.parseUnsignedLong(ends[1], 16));
      if (line.endsWith("/libjvm.so")) tables.add(range);
      else if (columns.length == 5 && columns[1].equals("rw-p") && range.end - range.start <= SEARCHED_BYTES_MAX) heaps.add(range);
    }
    List<Long> found = new ArrayList<>();
    for (Range heap : heaps) {
      for (long at = heap.start; at < heap.end; at += ALIGNMENT) {
        long table = unsafe.getLong(at);
        int counter = unsafe.getInt(at + COUNTER);
        if (unsafe.getInt(at + INTERVAL) == INTERVAL_MS && counter >= 0 && counter <= INTERVAL_MS && tables.stream().anyMatch(each -> table >= each.start && table < each.end)) found.add(at);
      }
    }
    if (found.size() == 1) unsafe.putInt(found.get(0) + INTERVAL, Integer.MAX_VALUE);
  }
}
