package org.quern.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CachesTest {
  @Test
  void readsDataCachesAndLeavesInstructionsOut(@TempDir Path folder) throws IOException {
    cache(folder, 0, 1, "Data", "48K");
    cache(folder, 1, 1, "Instruction", "64K");
    cache(folder, 2, 2, "Unified", "2M");
    cache(folder, 3, 3, "Unified", "491520K");
    Caches caches = Caches.read(folder);
    assertEquals(new Caches(48 << 10, 2 << 20, 480 << 20), caches);
  }

  @Test
  void keepsCommonSizesWhereNothingIsReported(@TempDir Path folder) {
    assertEquals(new Caches(32 << 10, 1 << 20, 32 << 20), Caches.read(folder));
  }

  @Test
  void goesBeyondTheLastLevel() {
    assertEquals(1L << 30, new Caches(1, 1, 32 << 20).beyond());
    assertEquals(2L << 30, new Caches(1, 1, 1L << 30).beyond());
  }

  @Test
  void setsInTurnExceedTheLastLevelForAnyNumberOfThreads() {
    Caches caches = new Caches(32 << 10, 1 << 20, 480 << 20);
    for (int threads = 1; threads <= 64; threads *= 2) {
      var place = BandwidthBenchmark.Place.DRAM;
      long bytes = threads * place.sets(caches, threads) * place.workingSet(caches, threads);
      assertTrue(bytes >= caches.beyond(), threads + " threads");
    }
  }

  private static void cache(Path folder, int index, int level, String type, String size)
      throws IOException {
    Path cache = Files.createDirectory(folder.resolve("index" + index));
    Files.writeString(cache.resolve("level"), level + "\n");
    Files.writeString(cache.resolve("type"), type + "\n");
    Files.writeString(cache.resolve("size"), size + "\n");
  }
}
