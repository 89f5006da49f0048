package org.quern.jmh;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Data cache sizes in bytes.
 *
 * @param l1 first level, of one core
 * @param l2 second level, of one core
 * @param l3 last level, as far as one core can use it
 */
record Caches(long l1, long l2, long l3) {
  private static final Path LINUX = Path.of("/sys/devices/system/cpu/cpu0/cache");

  /** What the system reports; common sizes for each level that it does not report. */
  static Caches detect() {
    return read(LINUX);
  }

  /** Reads a folder with one {@code index*} folder per cache, each with level, type and size. */
  static Caches read(Path folder) {
    long[] sizes = {32 << 10, 1 << 20, 32 << 20};
    for (int index = 0; Files.isDirectory(folder.resolve("index" + index)); index++) {
      Path cache = folder.resolve("index" + index);
      try {
        int level = Integer.parseInt(Files.readString(cache.resolve("level")).strip());
        boolean data = !Files.readString(cache.resolve("type")).strip().equals("Instruction");
        if (data && level >= 1 && level <= sizes.length) {
          sizes[level - 1] = bytes(Files.readString(cache.resolve("size")));
        }
      } catch (IOException hidden) {
        // Some virtual machines hide single caches: the common size stays.
      }
    }
    return new Caches(sizes[0], sizes[1], sizes[2]);
  }

  /** Reads a size such as {@code 32K} or {@code 1M}. */
  static long bytes(String text) {
    String size = text.strip();
    long unit =
        switch (size.charAt(size.length() - 1)) {
          case 'K' -> 1L << 10;
          case 'M' -> 1L << 20;
          case 'G' -> 1L << 30;
          default -> 1L;
        };
    return unit * Long.parseLong(unit == 1 ? size : size.substring(0, size.length() - 1));
  }

  /** Bytes that buffers used in turn must hold so that none is in a cache when its turn comes. */
  long beyond() {
    return Math.max(1L << 30, 2 * l3);
  }
}
